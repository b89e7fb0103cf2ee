"""Header fields that have a new value in each request, and what is left of a request without them.

Clients put trace and request ids into each request, so no two have the same
bytes. Without the values of such fields they have.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buffr.message import Headers

__all__ = ["Cut", "Rest", "VolatileFields", "names_in"]

_MOST_NAMES = 32
_LONGEST_NAME = 64
_MOST_JUDGED = 4096
_VISIBLE = rb"[!-~]+"
_is_visible = re.compile(_VISIBLE).fullmatch

Rest = tuple[bytes | tuple[bytes, bytes], ...]
"""What is left of a request. The names of the fields whose values are missing are still there.

In HTTP/1.1 they are between the parts around the values. In HTTP/2 each one
stands in the place of its field.
"""
Cut = tuple[Rest, tuple[bytes, ...]]
"""What is left of a request, and the values that were cut out, in order."""


def names_in(rest: Rest) -> tuple[bytes, ...]:
    """The names of the fields whose values were cut out, in lower case."""
    if isinstance(rest[0], bytes):
        return tuple([name.lower() for name in rest[1::2] if isinstance(name, bytes)])
    return tuple([name for name in rest if isinstance(name, bytes)])


class VolatileFields:
    """Cuts the values of volatile fields out of requests.

    ``is_volatile`` judges a name. Only names that were met are looked for, as
    they were sent, and only the first 32: nobody can make that slow. A value
    is cut out only if it is visible ASCII and nothing else. Any other such
    value that is no longer makes a request that is as valid.
    """

    def __init__(self, is_volatile: Callable[[bytes], bool]) -> None:
        self._is_volatile = is_volatile
        self.judged: set[bytes] = set()
        """The names that were met."""
        self._met: set[bytes] = set()
        self._pattern: re.Pattern[bytes] | None = None

    def meet(self, headers: Headers) -> None:
        """Look for the volatile ones of these fields from now on."""
        judged = self.judged
        for name, _ in headers:
            if name not in judged:
                self._judge(name)

    def _judge(self, name: bytes) -> None:
        if len(self.judged) >= _MOST_JUDGED or len(name) > _LONGEST_NAME:
            return
        self.judged.add(name)
        if len(self._met) < _MOST_NAMES and self._is_volatile(name):
            self._met.add(name)
            names = b"|".join(map(re.escape, sorted(self._met)))
            self._pattern = re.compile(rb"\r\n(" + names + rb"): (" + _VISIBLE + rb")(?=\r\n)")

    def cut(self, request: bytes) -> Cut | None:
        """Of a request in HTTP/1.1: a whole head, and whatever follows it. ``None`` if it has none.

        A field is found in one form only: its name, a colon, a space, and the
        value.
        """
        pattern = self._pattern
        if pattern is None:
            return None
        end = request.find(b"\r\n\r\n") + 2
        parts = pattern.split(request[:end])
        if len(parts) == 1:
            return None
        values = tuple(parts[2::3])
        del parts[2::3]
        parts[-1] += request[end:]
        return tuple(parts), values

    def cut_fields(self, fields: Headers) -> Cut | None:
        """Of the fields of a request in HTTP/2, as received. ``None`` if it has none."""
        met = self._met
        rest: list[bytes | tuple[bytes, bytes]] = []
        values: list[bytes] = []
        for field in fields:
            name, value = field
            if name in met and _is_visible(value):
                rest.append(name)
                values.append(value)
            else:
                rest.append(field)
        return (tuple(rest), tuple(values)) if values else None
