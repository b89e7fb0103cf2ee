"""The blocking half of a cassette: what its file held when last seen, and how it goes on.

One thread at a time. Nothing here is remembered that the file does not hold:
before each append the file is compared with what was last seen of it, and
read anew when it differs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from buffr.errors import CassetteError
from buffr.interaction import HTTPInteraction, RecordedRequest
from buffr.stores.body_files import BodyFiles
from buffr.stores.cassette_file import CassetteFile, Disturbed, OpenCassette, Stamp, Status
from buffr.stores.cassette_format import encode, indexed_request, stored_request
from buffr.stores.cassette_layout import TAIL, Layout, Shape, Spans, Text, opening
from buffr.stores.cassette_relayout import head, laid_out
from buffr.stores.elements import DigestOf, Elements, Index

__all__ = ["Appended", "Ledger", "Loaded"]

Redact = Callable[[bytes], Callable[[HTTPInteraction], HTTPInteraction]]
"""Makes, of a cassette's salt, what takes the credentials out of an interaction."""

_TRIES = 8


@frozen
class Loaded:
    """A reading of the whole file: its elements, and an index for each digest asked for."""

    elements: Elements
    indexes: tuple[Index, ...]


@frozen
class Appended:
    """Interactions that the file now holds as its last ones.

    ``requests`` are as stored; ``None`` where nothing is to be looked up.
    """

    text: bytes
    spans: Spans
    requests: tuple[RecordedRequest | None, ...]


def _no_pause() -> None:
    pass


def _indexes(digests: Sequence[DigestOf]) -> tuple[Index, ...]:
    return tuple(Index(digest_of) for digest_of in digests)


@define
class Ledger:
    """Reads and appends. ``pause`` is called often while a file is read."""

    file: CassetteFile
    bodies: BodyFiles
    redact: Redact
    quiet_s: float = 0.2
    pause: Callable[[], None] = _no_pause
    _salt: str = field(factory=lambda: secrets.token_hex(16))
    _seen: Stamp | None = None
    _fault: CassetteError | None = None
    _loaded: Loaded | None = None
    _layout: Layout | None = None
    _end: int = 0
    _count: int = 0
    _next_place: int = 0
    _old: Status | None = None

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def seen(self) -> Status | None:
        """The status of the file when it was last read or written; the old one's before that."""
        return self._old if self._seen is None else self._seen.status

    def begin_anew(self) -> None:
        """What stands at the path now is moved aside at the first append, and not read."""
        self._old = self.file.status()

    def take_loaded(self) -> Loaded | None:
        """The last reading of the whole file, if it was not taken yet. It may come of any call."""
        loaded, self._loaded = self._loaded, None
        return loaded

    def refresh(self, digests: Sequence[DigestOf]) -> None:
        """Read the file if it is not as it was last seen; a missing one is empty.

        Raises ``CassetteError``, ``OSError``.
        """
        if self._old is not None:
            return
        self._wait_for_replacement()
        try:
            with self.file.reading() as opened:
                self._catch_up(opened, digests)
        except FileNotFoundError:
            self._seen = self._fault = self._layout = None
            self._end = self._count = 0
            self._loaded = Loaded(Elements(self._next_place), _indexes(digests))

    def append(
        self, interactions: Sequence[HTTPInteraction], digests: Sequence[DigestOf]
    ) -> Appended:
        """Put interactions at the end, all or none.

        Raises ``CassetteError`` and ``OSError`` with the file as it was.
        """
        for _ in range(_TRIES):
            salt = self._salt
            redact = self.redact(salt.encode())
            kept = [self.bodies.keep(redact(interaction)) for interaction in interactions]
            elements = [encode(interaction) for interaction in kept]
            self._wait_for_replacement()
            try:
                with self.file.writing() as opened:
                    if self._moved_aside(opened):
                        continue
                    self._catch_up(opened, digests)
                    if self._salt != salt:
                        continue
                    self._lay_out(opened)
                    return self._put(opened, kept, elements)
            except Disturbed:
                self._seen = None
        raise CassetteError(f"{self.path}: other programs write to it without a pause")

    def _put(
        self, opened: OpenCassette, kept: list[HTTPInteraction], elements: list[bytes]
    ) -> Appended:
        first = self._count == 0
        before, between = opening(first=first)[: -2 if first else -1], b",\n    "
        chunk = before + between.join(elements)
        spans = Spans()
        at = len(before)
        for element in elements:
            spans.add(at, at + len(element))
            at += len(element) + len(between)
        self._seen = opened.append(self._end, chunk + TAIL)
        self._end += len(chunk)
        self._count += len(elements)
        self._next_place += len(elements)
        requests = [stored_request(one.request) if one.truncated is None else None for one in kept]
        return Appended(chunk, spans, tuple(requests))

    def _moved_aside(self, opened: OpenCassette) -> bool:
        """Whether the old file of a recording that begins anew had to be moved first."""
        old, self._old = self._old, None
        now = opened.status()
        if old is None or (old.device, old.inode) != (now.device, now.inode):
            return False
        aside = self.file.move_aside("bak")
        self.file.warn(f"{self.path}: recording anew; what was there is now {aside.name}")
        return True

    def _wait_for_replacement(self) -> None:
        """Whoever replaces a file may remove it first; git does."""
        if self._seen is not None and self._old is None and self.file.status() is None:
            time.sleep(self.quiet_s)

    def _catch_up(self, opened: OpenCassette, digests: Sequence[DigestOf]) -> None:
        if self._seen is None or opened.stamp() != self._seen:
            self._read(opened, digests)
        elif self._fault is not None:
            raise self._fault

    def _read(self, opened: OpenCassette, digests: Sequence[DigestOf]) -> None:
        """Read the open file until it is whole, or for sure not going to be.

        A text that changed under us and is empty, torn or faulty may be one
        that an editor is just saving: it counts only if it stays as it is.
        """
        settled = self._seen is None or opened.created
        while True:
            text, stamp = opened.read()
            fault: CassetteError | None = None
            layout = Layout(text, self.path)
            loaded = Loaded(Elements(self._next_place), _indexes(digests))
            try:
                self._index(layout, loaded)
            except CassetteError as error:
                fault = error
            doubtful = fault is not None or layout.shape is Shape.TORN or not text
            if settled or not doubtful:
                self._accept(loaded, layout, text, stamp, fault)
                return
            time.sleep(self.quiet_s)
            settled = opened.stamp() == stamp

    def _index(self, layout: Layout, loaded: Loaded) -> None:
        place = self._next_place
        directory = self.bodies.directory
        deadline = time.perf_counter() + 0.002
        for start, _, element in layout.elements():
            try:
                request = indexed_request(element, directory)
            except ValueError as error:
                raise layout.error(start, str(error)) from None
            if request is not None:
                for index in loaded.indexes:
                    index.add(request, place)
            place += 1
            if time.perf_counter() > deadline:
                self.pause()
                deadline = time.perf_counter() + 0.002

    def _accept(
        self,
        loaded: Loaded,
        layout: Layout,
        text: Text,
        stamp: Stamp,
        fault: CassetteError | None,
    ) -> None:
        self._seen, self._fault = stamp, fault
        if fault is not None:
            raise fault
        if layout.shape is Shape.TORN:
            self.file.warn(
                f"{self.path}: it ends in the middle of interaction {len(layout.spans) + 1};"
                " those before it are used"
            )
        loaded.elements.add(text, layout.spans)
        self._layout, self._end, self._count = layout, layout.end, len(layout.spans)
        self._next_place = loaded.elements.next_place
        if layout.salt is not None:
            self._salt = layout.salt
        self._loaded = loaded

    def _lay_out(self, opened: OpenCassette) -> None:
        """Give a file of another layout ours, and set a torn end aside."""
        layout, self._layout = self._layout, None
        if layout is None or layout.shape is Shape.READY:
            return
        try:
            if layout.shape is Shape.TORN and (rest := layout.rest):
                aside = self.file.set_aside(rest, "torn")
                self.file.warn(f"{self.path}: its torn end is now in {aside.name}")
            start = head(self._salt, layout.others)
            self._end = len(start)
            self._seen = opened.replace(self._written(start, layout))
        except BaseException:
            self._layout = layout
            raise

    def _written(self, start: bytes, layout: Layout) -> Iterator[bytes]:
        yield start
        for piece in laid_out(layout):
            self._end += len(piece)
            yield piece
        yield TAIL
