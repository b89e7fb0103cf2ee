"""Where the elements of a list stand in a file's text, and by what their bytes are known again."""

from __future__ import annotations

from array import array
from zlib import crc32

from attrs import define, field

from buffr.stores.cassette.window import Disturbed, ReadAt

__all__ = ["Spans"]


@define
class Spans:
    """Offsets behind each element, and the CRC-32 of the text from its start up to there.

    An element begins where the one before it ends, or at ``start``, behind
    white space and a comma; ``start_sum`` is the checksum up to ``start``.
    Arrays: twelve bytes an element, and nothing for the garbage collector.
    """

    start: int = 0
    start_sum: int = 0
    _ends: array[int] = field(factory=lambda: array("Q"))
    _sums: array[int] = field(factory=lambda: array("I"))

    def add(self, text: bytes | memoryview, end: int) -> None:
        """One more element, with the text from the end of the one before it to its own."""
        sums = self._sums
        sums.append(crc32(text, sums[-1] if sums else self.start_sum))
        self._ends.append(end)

    def extend(self, others: Spans) -> None:
        """Take in the elements of spans that begin where these end."""
        self._ends.extend(others._ends)
        self._sums.extend(others._sums)

    def copy(self) -> Spans:
        return Spans(self.start, self.start_sum, self._ends[:], self._sums[:])

    def after(self) -> Spans:
        """Spans that go on behind these, without any elements yet."""
        return Spans(*self.end_of(len(self)))

    def part(self, first: int, end: int) -> Spans:
        """Those of the elements from ``first`` up to ``end``."""
        return Spans(*self.end_of(first), self._ends[first:end], self._sums[first:end])

    def end_of(self, count: int) -> tuple[int, int]:
        """Offset and checksum behind the first so many elements."""
        if count == 0:
            return self.start, self.start_sum
        return self._ends[count - 1], self._sums[count - 1]

    def element(self, number: int, read_at: ReadAt) -> bytes:
        """The JSON of an element. Raises ``Disturbed`` when the text is another by now."""
        start, before = self.end_of(number)
        end, checksum = self.end_of(number + 1)
        text = read_at(start, end - start)
        if crc32(text, before) != checksum:
            raise Disturbed
        return text[text.index(b"{") :]

    @property
    def end(self) -> int:
        """The offset behind the last element, or behind the bracket of an empty list."""
        return self._ends[-1] if self._ends else self.start

    @property
    def end_sum(self) -> int:
        """The checksum up to ``end``."""
        return self._sums[-1] if self._sums else self.start_sum

    def __len__(self) -> int:
        return len(self._ends)
