"""Where elements stand in a text."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from attrs import Factory, define

__all__ = ["Spans", "Text"]

Text = bytes | bytearray


@define
class Spans:
    """Offsets of elements in a text: where each starts, and where it ends."""

    _starts: array[int] = Factory(lambda: array("Q"))
    _ends: array[int] = Factory(lambda: array("Q"))

    def add(self, start: int, end: int) -> None:
        self._starts.append(start)
        self._ends.append(end)

    def extend(self, others: Spans) -> None:
        self._starts.extend(others._starts)
        self._ends.extend(others._ends)

    def last(self, count: int) -> Iterator[tuple[int, int]]:
        return zip(self._starts[-count:], self._ends[-count:], strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, at: int) -> tuple[int, int]:
        return self._starts[at], self._ends[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)
