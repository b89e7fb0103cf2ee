"""Reads a cassette's file into spans and indexes, as a whole or only what was added."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from attrs import define, field, frozen

from buffr.errors import CassetteError
from buffr.interaction import IndexEntry
from buffr.matching.key import RecordedKey
from buffr.stores.cassette.elements import Elements, HeldFile
from buffr.stores.cassette.file import OpenCassette, Stamp
from buffr.stores.cassette.format import index_entry
from buffr.stores.cassette.index import Filing, Index, KeyOf
from buffr.stores.cassette.layout import TAIL, Layout, LayoutState
from buffr.stores.cassette.spans import Spans
from buffr.stores.cassette.window import Disturbed

__all__ = ["Appended", "CassetteReader", "FileChange", "Loaded", "Moved", "ReadResult"]

_WORK_S = 0.001
_MOST_BROKEN = 20
_READ_TRIES = 10
_BLOCK_BYTES = 1 << 20
_AT_ONCE_BYTES = 8192
_FEW = 16
_PART = 256
"""This many are filed in a millisecond or two, if their keys are known."""


@frozen(eq=False)
class Loaded:
    """The elements of the whole file, and an index for each requested way to file them."""

    elements: Elements
    indexes: tuple[Index, ...]


@frozen(eq=False)
class Moved:
    """The same elements, in another file or at other offsets."""

    file: HeldFile
    spans: Spans
    file_bytes: int


@frozen(eq=False)
class Appended:
    """Interactions that were appended to the file.

    ``entries`` are as stored; ``None`` if nothing is to be looked up.
    ``filed`` has keys that were computed before, by their numbers here.
    """

    spans: Spans
    entries: Sequence[IndexEntry | None]
    file_bytes: int
    filed: Mapping[tuple[int, KeyOf], RecordedKey] = field(factory=dict)

    def parts(self, keys: Sequence[Filing]) -> Iterator[Appended]:
        """The same in parts that the reactor can each file in a moment.

        With the keys that would take it longer: those of long bodies, and all
        if there are many.
        """
        total = len(self.entries)
        for first in range(0, total, _PART):
            end = min(first + _PART, total)
            spans = self.spans if total <= _PART else self.spans.part(first, end)
            entries = self.entries[first:end]
            yield Appended(spans, entries, self.file_bytes, _filed(entries, keys))


def _filed(
    entries: Sequence[IndexEntry | None], keys: Sequence[Filing]
) -> dict[tuple[int, KeyOf], RecordedKey]:
    filed: dict[tuple[int, KeyOf], RecordedKey] = {}
    few = len(entries) <= _FEW
    for number, entry in enumerate(entries):
        if entry is None or (few and entry.request.body.size_bytes <= _AT_ONCE_BYTES):
            continue
        for filing in keys:
            with suppress(Exception):  # reported when it is filed
                filed[number, filing.key_of] = filing.key_of(entry)
    return filed


FileChange = Loaded | Moved | Appended


@frozen(eq=False)
class ReadResult:
    """A whole file as it was at ``stamp``. With a ``fault`` it is not a cassette.

    ``broken`` lists the interactions that cannot be replayed, a line each.
    """

    stamp: Stamp
    layout: Layout
    loaded: Loaded
    fault: CassetteError | None
    broken: Sequence[str] = ()


def _go_on() -> None:
    pass


@define
class CassetteReader:
    """Reads in short steps, with a ``pause`` between them.

    ``bodies`` is the body files' directory.
    """

    path: Path
    bodies: Path
    pause: Callable[[], None] = _go_on

    def empty(self, keys: Sequence[Filing], first_place: int) -> Loaded:
        return Loaded(Elements(first_place), tuple(map(Index, keys)))

    def whole(
        self,
        opened: OpenCassette,
        keys: Sequence[Filing],
        first_place: int,
        *,
        settled: bool,
    ) -> ReadResult:
        """Read until the file is whole, or certainly not going to be. Raises ``Disturbed``.

        A text that is empty, torn or faulty may be in the middle of being
        saved. Unless the file is ``settled``, it only counts if it stays
        unchanged.
        """
        while True:
            reading = self._undisturbed(opened, keys, first_place)
            torn = reading.layout.state is LayoutState.TORN
            if settled or not (torn or reading.fault or reading.layout.blank):
                return reading
            time.sleep(opened.quiet_s)
            if opened.stamp() == reading.stamp:
                return reading

    def _undisturbed(
        self, opened: OpenCassette, keys: Sequence[Filing], first_place: int
    ) -> ReadResult:
        for _ in range(_READ_TRIES):
            stamp = opened.stamp()
            try:
                reading = self._whole(opened, stamp, keys, first_place)
            except Disturbed:
                continue
            if opened.stamp() == stamp:
                return reading
        raise Disturbed

    def _whole(
        self, opened: OpenCassette, stamp: Stamp, keys: Sequence[Filing], first_place: int
    ) -> ReadResult:
        layout = Layout(opened.read_at, stamp.status.size_bytes, self.path)
        loaded = self.empty(keys, first_place)
        broken: list[str] = []
        place, end = first_place, 0
        try:
            for entry in self._entries(layout, broken):
                start, end = end, layout.end
                if entry is not None:
                    for index in loaded.indexes:
                        index.put_off(entry, place, end - start)
                place += 1
        except CassetteError as fault:
            return ReadResult(stamp, layout, loaded, fault)
        loaded.elements.move(
            opened.held(layout.patch), layout.spans.copy(), stamp.status.size_bytes
        )
        return ReadResult(stamp, layout, loaded, None, broken)

    def _entries(self, layout: Layout, broken: list[str]) -> Iterator[IndexEntry | None]:
        deadline = time.perf_counter() + _WORK_S
        for start, element in layout.elements():
            try:
                if isinstance(element, str):
                    raise ValueError(element)  # noqa: TRY004  # handled with the others
                entry = index_entry(element, self.bodies)
            except ValueError as error:
                entry = None
                if len(broken) < _MOST_BROKEN:
                    number = len(layout.spans) - 1
                    where = f"{self.path}:{layout.line(start)}"
                    broken.append(f"{where}: interaction {number} cannot be replayed: {error}")
            yield entry
            if time.perf_counter() > deadline:
                self.pause()
                deadline = time.perf_counter() + _WORK_S

    def checksum(self, opened: OpenCassette, size_bytes: int) -> int:
        """The CRC-32 of the file's first bytes, or of all if it is shorter."""
        checksum = at = 0
        while at < size_bytes:
            block = opened.read_at(at, min(_BLOCK_BYTES, size_bytes - at))
            if not block:
                break
            checksum = crc32(block, checksum)
            at += len(block)
            self.pause()
        return checksum

    def grown(
        self, opened: OpenCassette, known: Spans, head: bytes
    ) -> tuple[Appended, Stamp] | None:
        """What was appended in our layout to an otherwise unchanged file.

        ``head`` is a text up to its list. ``None`` if the file did not merely
        grow.
        """
        stamp = opened.stamp()
        end, size = known.end, stamp.status.size_bytes
        if size <= end + len(TAIL) or self.checksum(opened, end) != known.end_sum:
            return None
        suffix = opened.read_at(end, size - end)
        comma = suffix[:1] == b","
        if len(suffix) != size - end or not suffix.endswith(TAIL) or comma is (len(known) == 0):
            return None
        layout = Layout.of(head + suffix[comma:], self.path)
        broken: list[str] = []
        try:
            entries = list(self._entries(layout, broken))
        except CassetteError:
            return None
        if broken or layout.state is not LayoutState.READY or opened.stamp() != stamp:
            return None
        spans, last = known.after(), 0
        for number in range(len(layout.spans)):
            at = layout.spans.end_of(number + 1)[0] - len(head) + comma
            spans.add(suffix[last:at], end + at)
            last = at
        return Appended(spans, entries, size), stamp
