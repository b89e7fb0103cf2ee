"""Replaces recorded values in a replayed answer by those of the live request.

The values are what an ignore rule with ``sync_response`` matched in the
recorded request, and what it matches in the live one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from attrs import field, frozen

__all__ = ["LONGEST", "MOST", "SHORTEST", "Replacements", "ReplacingStream"]

SHORTEST = 4
"""Shorter recorded values, in bytes, are not replaced: they would be found by chance."""

LONGEST = 1024
"""Longer recorded values are not replaced: as many bytes of a stream may be retained."""

MOST = 64
"""Pairs beyond these are ignored."""

_NOT_IN_A_FIELD = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@frozen(eq=False)
class Replacements:
    """Pairs of a recorded value and the live one that replaces it.

    All are replaced at once: replacements are not searched again, so two
    values can swap places. If several values begin at the same byte, the
    longest counts; of several pairs with the same recorded value the first.
    Values are also found, and inserted, as JSON strings spell them. ``bool()``
    says whether anything would change.
    """

    pairs: tuple[tuple[bytes, bytes], ...]
    _live: dict[bytes, bytes] = field(init=False)
    _pattern: re.Pattern[bytes] = field(init=False)
    _first_bytes: re.Pattern[bytes] = field(init=False)
    _longest: int = field(init=False)

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Replacements:
        """The pairs that are safe to replace; none if all recorded values equal the live ones."""
        kept: dict[bytes, bytes] = {}
        for recorded, live in pairs:
            if SHORTEST <= len(recorded) <= LONGEST and len(kept) < MOST:
                kept.setdefault(recorded, live)
        if all(recorded == live for recorded, live in kept.items()):
            return cls(())
        return cls(tuple(kept.items()))

    @_live.default
    def _live_of_all_spellings(self) -> dict[bytes, bytes]:
        spelled: dict[bytes, bytes] = dict(self.pairs)
        for recorded, live in self.pairs:
            for one, other in _spelled(recorded, live):
                if len(one) >= SHORTEST:
                    spelled.setdefault(one, other)
        return spelled

    @_pattern.default
    def _any_of_them(self) -> re.Pattern[bytes]:
        longest_first = sorted(self._live, key=len, reverse=True)
        return re.compile(b"|".join(map(re.escape, longest_first)))

    @_first_bytes.default
    def _first_of_any(self) -> re.Pattern[bytes]:
        first = sorted({value[:1] for value in self._live})
        return re.compile(b"|".join(map(re.escape, first)))

    @_longest.default
    def _longest_value(self) -> int:
        return max(map(len, self._live), default=0)

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def whole(self, data: bytes) -> bytes:
        """A whole text with its values replaced."""
        return self._pattern.sub(self._live_value, data) if self.pairs else data

    def in_field(self, value: bytes) -> bytes:
        """A header field's value; unchanged if the result would not be valid (RFC 9110 5.5)."""
        replaced = self.whole(value)
        return value if _NOT_IN_A_FIELD.search(replaced) else replaced.strip(b" \t")

    def stream(self) -> ReplacingStream:
        """A stream for a text that comes in pieces, split anywhere."""
        return ReplacingStream(self)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """The text that can be replaced already, replaced, and the rest unchanged.

        The rest is no more than the beginning of a value, which the next piece
        may complete.
        """
        if not self.pairs:
            return data, b""
        out: list[bytes] = []
        done = 0
        undecided = self._undecided(data, done)
        for found in self._pattern.finditer(data):
            if found.start() >= undecided:
                break
            out += data[done : found.start()], self._live[found[0]]
            done = found.end()
            if done > undecided:
                undecided = self._undecided(data, done)
        out.append(data[done:undecided])
        return b"".join(out), data[undecided:]

    def _undecided(self, data: bytes, start: int) -> int:
        """Where the first value begins that may continue after the end."""
        size = len(data)
        for first in self._first_bytes.finditer(data, max(start, size - self._longest + 1)):
            tail = data[first.start() :]
            if any(value.startswith(tail) and value != tail for value in self._live):
                return first.start()
        return size

    def _live_value(self, found: re.Match[bytes]) -> bytes:
        return self._live[found[0]]


class ReplacingStream:
    """Replaces in pieces; the total equals ``Replacements.whole`` of all of them.

    ``changed`` says whether anything was replaced so far.
    """

    def __init__(self, replacements: Replacements) -> None:
        self.changed = False
        self._replacements = replacements
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result, without an end that may become a value."""
        data = self._held + data
        out, self._held = self._replacements.split(data)
        self.changed = self.changed or out + self._held != data
        return out

    def end(self) -> bytes:
        """The rest."""
        held, self._held = self._held, b""
        out = self._replacements.whole(held)
        self.changed = self.changed or out != held
        return out


def _plain(text: str) -> str:
    return text


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _escaped_where_needed(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _with_slashes(text: str) -> str:
    return _escaped(text).replace("/", "\\/")


_SPELLINGS: tuple[Callable[[str], str], ...] = (
    _plain,
    _escaped_where_needed,
    _escaped,
    _with_slashes,
)


def _spelled(recorded: bytes, live: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Both values in each spelling of JSON strings (RFC 8259 7) that clients and servers use."""
    try:
        old, new = recorded.decode(), live.decode()
    except UnicodeDecodeError:
        return
    if "\\" in old or "\\" in new:
        old, new = _unescaped(old), _unescaped(new)
    for spell in _SPELLINGS:
        yield (
            spell(old).encode("utf-8", "surrogatepass"),
            spell(new).encode("utf-8", "surrogatepass"),
        )


def _unescaped(text: str) -> str:
    """The value of a JSON string; the text itself if it is not one."""
    try:
        meant = json.loads(f'"{text}"')
    except ValueError:
        return text
    return meant if isinstance(meant, str) else text
