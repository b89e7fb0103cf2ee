"""Which stored variant answers a request (RFC 9111 4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from buffr.message import Headers
from buffr.policy.cache.freshness import joined
from buffr.stores.cache import Cached

__all__ = ["Conceal", "select", "selecting_fields"]

Conceal = Callable[[bytes, bytes], bytes]
"""What is kept of a selecting field's value: given its lower-case name and its value."""

_COMMAS = re.compile(rb"[ \t]*,[ \t]*")
_IN_ANY_CASE = frozenset((b"accept-encoding", b"accept-charset", b"accept-language"))
"""Lists of names that RFC 9110 12.5 compares without case."""
_IN_ANY_ORDER = frozenset((b"accept-encoding", b"accept-charset"))
"""Not so ``Accept-Language``: many upstreams prefer the language that comes first (12.5.4)."""


def selecting_fields(response: Headers, request: Headers, conceal: Conceal) -> Headers:
    """The request's fields that the response's ``Vary`` names, alike for alike requests.

    A field that was not sent is as one that is empty.
    """
    vary = joined(response, b"vary")
    if vary is None:
        return ()
    names = sorted({name.strip().lower() for name in vary.split(b",")} - {b""})
    return tuple((name, _selecting(request, name, conceal)) for name in names)


def _selecting(request: Headers, name: bytes, conceal: Conceal) -> bytes:
    value = joined(request, name)
    return conceal(name, _normal(name, value)) if value else b""


def _normal(name: bytes, value: bytes) -> bytes:
    value = _COMMAS.sub(b",", value.strip())
    if name in _IN_ANY_CASE:
        value = value.lower()
    if name in _IN_ANY_ORDER:
        value = b",".join(sorted(value.split(b",")))
    return value


def select(
    found: Sequence[Cached], method: bytes, request: Headers, conceal: Conceal
) -> Cached | None:
    """The variant that a request selects; the last one stored if there are several.

    A stored answer to ``GET`` answers ``HEAD``, not the other way round.
    """
    for cached in found:
        entry = cached.entry
        if entry.method != method and (method != b"HEAD" or entry.method != b"GET"):
            continue
        if all(_selecting(request, name, conceal) == value for name, value in entry.vary):
            return cached
    return None
