"""Finished exchanges in the order in which they ended, up to a number of bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from operator import attrgetter

from attrs import define, field

from buffr.admin.stories import Kept, Told, size_of

__all__ = ["Ring"]

_MOST_TOLD = 256
_PARTS = 16
"""The oldest sixteenth goes at once, or as many exchanges as are in a chunk."""
_TOLD_BYTES = 120
_VALUE_BYTES = 50
_start_of = attrgetter("start")


@define(eq=False)
class _Chunk:
    """Exchanges from a position on, in a tuple that the garbage collector need not look into."""

    start: int
    told: tuple[Told, ...]
    size_bytes: int


@define(eq=False)
class Ring:
    """Keeps the latest ones. Positions count from the start of the process.

    What repeated hits share is counted once, as long as one of them is kept,
    and once with the exchange that was not yet a repetition.
    """

    most_bytes: int
    _chunks: deque[_Chunk] = field(init=False, factory=deque)
    _latest: list[Told] = field(init=False, factory=list)
    _latest_bytes: int = field(init=False, default=0)
    _older_bytes: int = field(init=False, default=0)
    _closed: int = field(init=False, default=0)
    _shared: dict[int, int] = field(init=False, factory=dict)
    """By the ids of what repeated hits share: in how many chunks it is."""

    @property
    def start(self) -> int:
        """The position of the oldest one that is kept."""
        return self._chunks[0].start if self._chunks else self._closed

    @property
    def end(self) -> int:
        """The position after the last one."""
        return self._closed + len(self._latest)

    @property
    def size_bytes(self) -> int:
        """About how much memory they take."""
        return self._older_bytes + self._latest_bytes

    def __len__(self) -> int:
        return self.end - self.start

    def extend(self, told: Sequence[Told]) -> None:
        """Keep some more, and let the oldest go that there is no room for."""
        latest, size_bytes, most = self._latest, self._latest_bytes, self.most_bytes // _PARTS
        for one in told:
            latest.append(one)
            size_bytes += _TOLD_BYTES if one[1] is None else size_of(one[2])
            if one[3]:
                size_bytes += sum(map(len, one[3])) + _VALUE_BYTES * len(one[3])
            if size_bytes > most or len(latest) == _MOST_TOLD:
                self._latest_bytes = size_bytes
                self._close()
                latest, size_bytes = self._latest, 0
        self._latest_bytes = size_bytes
        while len(self._chunks) > 1 and self.size_bytes > self.most_bytes:
            self._forget(self._chunks.popleft())

    def _close(self) -> None:
        """Begin a new chunk."""
        chunk = _Chunk(self._closed, tuple(self._latest), self._latest_bytes)
        for number, one in _shared_in(chunk).items():
            chunks = self._shared.get(number, 0)
            self._shared[number] = chunks + 1
            if not chunks:
                self._older_bytes += size_of(one)
        self._chunks.append(chunk)
        self._older_bytes += chunk.size_bytes
        self._closed += len(chunk.told)
        self._latest, self._latest_bytes = [], 0

    def _forget(self, chunk: _Chunk) -> None:
        self._older_bytes -= chunk.size_bytes
        for number, one in _shared_in(chunk).items():
            self._shared[number] -= 1
            if not self._shared[number]:
                del self._shared[number]
                self._older_bytes -= size_of(one)

    def at(self, position: int) -> Told:
        """The one at a position between ``start`` and ``end``."""
        if position >= self._closed:
            return self._latest[position - self._closed]
        chunk = self._chunks[bisect_right(self._chunks, position, key=_start_of) - 1]
        return chunk.told[position - chunk.start]

    def forwards(self, position: int, most: int) -> list[Told]:
        """Up to so many from a position on, which is not before ``start``."""
        return [self.at(one) for one in range(position, min(position + most, self.end))]

    def backwards(self, position: int) -> Iterator[tuple[int, Told]]:
        """Those before a position with theirs, the newest first, as long as they are kept."""
        at = min(position, self.end) - 1
        while at >= self.start:
            yield at, self.at(at)
            at -= 1


def _shared_in(chunk: _Chunk) -> dict[int, Kept]:
    """What repeated hits in a chunk share, by its id, which is its own while it is kept."""
    return {id(one): one for _, dur_s, one, _ in chunk.told if dur_s is None}
