"""Where the elements of a list are in a file's text, and the checksums of their bytes."""

from __future__ import annotations

from array import array
from zlib import crc32

from attrs import define, field

from buffr.stores.cassette.window import Disturbed, ReadAt

__all__ = ["Spans"]


@define
class Spans:
    """The end of each element, and the CRC-32 of the text up to there.

    An element begins where the one before it ends, or at ``start``, after
    white space and a comma; ``start_sum`` is the checksum up to ``start``.
    Arrays: twelve bytes an element, and nothing for the garbage collector.
    """

    start: int = 0
    start_sum: int = 0
    _ends: array[int] = field(factory=lambda: array("Q"))
    _sums: array[int] = field(factory=lambda: array("I"))

    def add(self, text: bytes | memoryview, end: int) -> None:
        """Add an element, with the text from the end of the one before it to its own."""
        sums = self._sums
        sums.append(crc32(text, sums[-1] if sums else self.start_sum))
        self._ends.append(end)

    def extend(self, others: Spans) -> None:
        """Add the elements of spans that begin where these end."""
        self._ends.extend(others._ends)
        self._sums.extend(others._sums)

    def copy(self) -> Spans:
        return Spans(self.start, self.start_sum, self._ends[:], self._sums[:])

    def after(self) -> Spans:
        """Spans that continue after these, without elements so far."""
        return Spans(*self.end_of(len(self)))

    def part(self, first: int, end: int) -> Spans:
        """The spans of the elements from ``first`` up to ``end``."""
        return Spans(*self.end_of(first), self._ends[first:end], self._sums[first:end])

    def end_of(self, count: int) -> tuple[int, int]:
        """Offset and checksum at the end of the first ``count`` elements."""
        if count == 0:
            return self.start, self.start_sum
        return self._ends[count - 1], self._sums[count - 1]

    def element(self, number: int, read_at: ReadAt) -> bytes:
        """The JSON of an element. Raises ``Disturbed`` if the text has changed."""
        start, before = self.end_of(number)
        end, checksum = self.end_of(number + 1)
        text = read_at(start, end - start)
        if crc32(text, before) != checksum:
            raise Disturbed
        return text[text.index(b"{") :]

    @property
    def end(self) -> int:
        """The offset after the last element, or after the bracket of an empty list."""
        return self._ends[-1] if self._ends else self.start

    @property
    def end_sum(self) -> int:
        """The checksum up to ``end``."""
        return self._sums[-1] if self._sums else self.start_sum

    def __len__(self) -> int:
        return len(self._ends)
