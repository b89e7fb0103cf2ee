"""Finished exchanges in the order in which they ended, up to a number of bytes."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from attrs import define, field

from buffr.admin.stories import SHARED, Beside, Kept, Told, apart, beside_of, bytes_of, put_together

__all__ = ["Ring"]

_MOST_TOLD = 256
_PARTS = 16
"""The oldest sixteenth goes at once, or as many exchanges as are in a chunk."""
_TOLD_BYTES = 32
_SHARED_BYTES = 1000
_BESIDE_BYTES = 1500
"""The sizes of Python's objects, measured with CPython 3.11."""
_LONG_BYTES = 8192
"""Longer bodies are not copied."""
_AGAIN = -1.0
_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder().decode
_start_of = attrgetter("start")


@define(eq=False)
class _Chunk:
    """Exchanges from a position on, packed one behind the other: nothing of them is an object.

    ``times_s`` has the end and the duration of each, ``places`` where it
    begins in ``packed``, or the complement of its place in ``shared``. What is
    packed of a repeated hit is its place there and its own values.
    ``apart`` is what cannot be packed, by the number of the exchange.
    """

    start: int
    packed: bytearray = field(factory=bytearray)
    times_s: array[float] = field(factory=lambda: array("d"))
    places: array[int] = field(factory=lambda: array("q"))
    shared: list[Kept] = field(factory=list)
    apart: dict[int, tuple[Beside | None, bytes | None, bytes | None]] = field(factory=dict)
    apart_bytes: int = 0
    numbers: dict[int, int] = field(factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def size_bytes(self) -> int:
        return len(self.packed) + self.apart_bytes + _TOLD_BYTES * len(self.places)

    def share(self, one: Kept) -> int:
        """The place of what some repeated hits share; ``numbers`` has it by its id."""
        number = self.numbers[id(one)] = len(self.shared)
        self.shared.append(one)
        return number

    def at(self, number: int) -> Told:
        """One of its exchanges."""
        at_s, dur_s = self.times_s[2 * number : 2 * number + 2]
        place = self.places[number]
        if place < 0:
            return at_s, None if dur_s == _AGAIN else dur_s, self.shared[~place], ()
        one: Any = _decode(memoryview(self.packed)[place : self._end(number)])
        if dur_s == _AGAIN:
            return at_s, None, self.shared[one[0]], one[1]
        return at_s, dur_s, put_together(one, self.apart.get(number)), ()

    def _end(self, number: int) -> int:
        for place in self.places[number + 1 :]:
            if place >= 0:
                return place
        return len(self.packed)


@define(eq=False)
class Ring:
    """Keeps the latest ones. Positions count from the start of the process.

    What repeated hits share is counted once, as long as one of them is kept.
    """

    most_bytes: int
    _chunks: deque[_Chunk] = field(init=False, factory=lambda: deque([_Chunk(0)]))
    _older_bytes: int = field(init=False, default=0)
    """The size of all chunks but the last, and of what is shared in them."""
    _shared: dict[int, int] = field(init=False, factory=dict)
    """By the ids of what repeated hits share: in how many chunks it is."""

    @property
    def start(self) -> int:
        """The position of the oldest one that is kept."""
        return self._chunks[0].start

    @property
    def end(self) -> int:
        """The position after the last one."""
        return self._chunks[-1].start + len(self._chunks[-1])

    @property
    def size_bytes(self) -> int:
        """About how much memory they take."""
        return self._older_bytes + self._chunks[-1].size_bytes

    def __len__(self) -> int:
        return self.end - self.start

    def extend(self, told: Sequence[Told]) -> None:
        """Keep some more, and let the oldest go that there is no room for."""
        most = self.most_bytes // _PARTS
        chunk = self._chunks[-1]
        packed, places, times_s = chunk.packed, chunk.places, chunk.times_s
        numbers = chunk.numbers
        for at_s, dur_s, one, values in told:
            if len(places) == _MOST_TOLD or len(packed) + chunk.apart_bytes > most:
                chunk = self._next_chunk(chunk)
                packed, places, times_s = chunk.packed, chunk.places, chunk.times_s
                numbers = chunk.numbers
            times_s.append(at_s)
            if dur_s is None or values is SHARED:
                times_s.append(_AGAIN if dur_s is None else dur_s)
                number = numbers.get(id(one))
                if number is None:
                    number = chunk.share(one)
                if values:
                    places.append(len(packed))
                    _encode_into((number, values), packed, -1)
                else:
                    places.append(~number)
                continue
            times_s.append(dur_s)
            places.append(len(packed))
            if beside_of(one) is not None or bytes_of(one) > _LONG_BYTES:
                chunk.apart_bytes += bytes_of(one) + _BESIDE_BYTES
                one, chunk.apart[len(places) - 1] = apart(one)  # noqa: PLW2901
            try:
                _encode_into(one, packed, -1)
            except UnicodeEncodeError:  # half of a surrogate pair, which a message quotes
                del packed[places[-1] :]
                _encode_into(_printable(one), packed, -1)
        while len(self._chunks) > 1 and self.size_bytes > self.most_bytes:
            self._forget(self._chunks.popleft())

    def _next_chunk(self, full: _Chunk) -> _Chunk:
        full.packed = bytearray(full.packed)  # which had room to grow
        for one in full.shared:
            chunks = self._shared.get(id(one), 0)
            self._shared[id(one)] = chunks + 1
            if not chunks:
                self._older_bytes += _SHARED_BYTES + bytes_of(one)
        self._older_bytes += full.size_bytes
        chunk = _Chunk(full.start + len(full))
        self._chunks.append(chunk)
        return chunk

    def _forget(self, chunk: _Chunk) -> None:
        self._older_bytes -= chunk.size_bytes
        for one in chunk.shared:
            self._shared[id(one)] -= 1
            if not self._shared[id(one)]:
                del self._shared[id(one)]
                self._older_bytes -= _SHARED_BYTES + bytes_of(one)

    def at(self, position: int) -> Told:
        """The one at a position between ``start`` and ``end``."""
        chunk = self._chunks[bisect_right(self._chunks, position, key=_start_of) - 1]
        return chunk.at(position - chunk.start)

    def forwards(self, position: int, most: int) -> list[Told]:
        """Up to so many from a position on, which is not before ``start``."""
        return [self.at(one) for one in range(position, min(position + most, self.end))]

    def backwards(self, position: int) -> Iterator[tuple[int, Told]]:
        """Those before a position with theirs, the newest first, as long as they are kept."""
        at = min(position, self.end) - 1
        while at >= self.start:
            yield at, self.at(at)
            at -= 1


def _printable(one: Kept) -> Kept:
    return tuple(
        [
            value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
            for value in one
        ]
    )
