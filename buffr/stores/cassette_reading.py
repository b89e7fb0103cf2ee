"""Reading a cassette's file into slices and indexes, whole or as far as it grew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, frozen

from buffr.errors import CassetteError
from buffr.interaction import IndexEntry
from buffr.stores.cassette_file import OpenCassette, Stamp
from buffr.stores.cassette_format import index_entry
from buffr.stores.cassette_layout import TAIL, Layout, Shape
from buffr.stores.disk import Part, blocks
from buffr.stores.elements import Elements, Index, KeyOf
from buffr.stores.spans import Spans, Text

__all__ = ["Appended", "CassetteReader", "Loaded", "News", "Reading"]

_WORK_S = 0.001
_MOST_BROKEN = 20


@frozen(eq=False)
class Loaded:
    """The elements of the whole file, and an index for each digest that was asked for."""

    elements: Elements
    indexes: tuple[Index, ...]


@frozen(eq=False)
class Appended:
    """Interactions that the file now holds as its last ones.

    ``entries`` are as stored; ``None`` where nothing is to be looked up.
    """

    text: Text
    spans: Spans
    entries: Sequence[IndexEntry | None]


News = Loaded | Appended


@frozen(eq=False)
class Reading:
    """A whole file as it was at ``stamp``. With a ``fault`` it is no cassette.

    ``broken`` names the interactions that cannot be replayed, a line each.
    """

    text: Text
    stamp: Stamp
    layout: Layout
    loaded: Loaded
    fault: CassetteError | None
    broken: Sequence[str] = ()


def _go_on() -> None:
    pass


@define
class CassetteReader:
    """Reads in short steps, with a ``pause`` between. ``bodies`` is where the body files are."""

    path: Path
    bodies: Path
    pause: Callable[[], None] = _go_on

    def empty(self, digests: Sequence[KeyOf], first_place: int) -> Loaded:
        return Loaded(Elements(first_place), tuple(Index(key_of) for key_of in digests))

    def whole(
        self,
        opened: OpenCassette,
        digests: Sequence[KeyOf],
        first_place: int,
        *,
        settled: bool,
    ) -> Reading:
        """Read until the file is whole, or for sure not going to be.

        A text that is empty, torn or faulty may be one that an editor is
        just saving. Unless the file is ``settled``, it counts only if it
        stays as it is.
        """
        while True:
            reading = self._whole(opened, self.empty(digests, first_place))
            torn = reading.layout.shape is Shape.TORN
            if settled or not (torn or reading.fault or not reading.text):
                return reading
            time.sleep(opened.quiet_s)
            if opened.stamp() == reading.stamp:
                return reading

    def _whole(self, opened: OpenCassette, loaded: Loaded) -> Reading:
        text, stamp = opened.read()
        layout = Layout(text, self.path)
        place = loaded.elements.first_place
        broken: list[str] = []
        try:
            for entry in self._entries(layout, broken):
                if entry is not None:
                    for index in loaded.indexes:
                        index.add(entry, place)
                place += 1
        except CassetteError as fault:
            return Reading(text, stamp, layout, loaded, fault)
        loaded.elements.add(text, layout.spans)
        return Reading(text, stamp, layout, loaded, None, broken)

    def _entries(self, layout: Layout, broken: list[str]) -> Iterator[IndexEntry | None]:
        deadline = time.perf_counter() + _WORK_S
        for start, _, element in layout.elements():
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

    def grown(
        self, opened: OpenCassette, known: Sequence[Part], start: bytes, *, first: bool
    ) -> tuple[Appended, Stamp] | None:
        """What was appended in our layout to a file that else is as it was.

        ``known`` is its text up to its last element, ``start`` that up to its
        list; ``first`` says that the list was empty. ``None`` when the file did
        not merely grow.
        """
        stamp = opened.stamp()
        offset = 0
        for block in blocks(known):
            if opened.read_at(offset, len(block)) != block:
                return None
            offset += len(block)
            self.pause()
        suffix = opened.read_at(offset, stamp.status.size_bytes - offset)
        if not suffix.endswith(TAIL) or suffix.startswith(b",") is first:
            return None
        layout = Layout(start + suffix.removeprefix(b","), self.path)
        broken: list[str] = []
        try:
            entries = list(self._entries(layout, broken))
        except CassetteError:
            return None
        if broken or layout.shape is not Shape.READY or opened.stamp() != stamp:
            return None
        return Appended(layout.text, layout.spans, entries), stamp
