"""The blocking half of a cassette: what its file held when last seen, and how it goes on.

One thread at a time. Nothing here is believed that the file does not hold:
before each append the file is compared with what was last seen of it, and
read again when it differs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256

from attrs import define, field

from buffr.errors import CassetteError
from buffr.interaction import IndexEntry, Interaction, choosing_fields
from buffr.stores.aside import move_aside, set_aside
from buffr.stores.body_files import BodyFiles
from buffr.stores.cassette_file import CassetteFile, Disturbed, OpenCassette, Stamp, Status
from buffr.stores.cassette_format import encode
from buffr.stores.cassette_layout import TAIL, Layout, Shape, opening
from buffr.stores.cassette_reading import Appended, CassetteReader, News, Reading
from buffr.stores.cassette_recent import Recent, Written
from buffr.stores.cassette_relayout import head, laid_out
from buffr.stores.cassette_requests import stored_request
from buffr.stores.disk import Part, blocks
from buffr.stores.elements import KeyOf
from buffr.stores.spans import Spans

__all__ = ["Ledger", "Redact"]

Redact = Callable[[bytes], Callable[[Interaction], Interaction]]
"""Makes, of a cassette's salt, what takes the credentials out of an interaction."""

_PATIENCE_S = 10.0
_BETWEEN = b",\n    "


@define
class Ledger:
    """Reads and appends. What came of it is in ``take_news()``, also after an error.

    ``repairs`` says that a torn end is set right as soon as it is seen.
    """

    file: CassetteFile
    bodies: BodyFiles
    reader: CassetteReader
    redact: Redact
    repairs: bool = False
    _salt: str = field(factory=lambda: secrets.token_hex(16))
    _news: list[News] = field(factory=list)
    _read_once: bool = False
    _seen: Stamp | None = None
    _fault: CassetteError | None = None
    _layout: Layout | None = None  # of a file that cannot be appended to in place yet
    _parts: list[Part] | None = None  # the file's text up to its last element
    _end: int = 0
    _count: int = 0
    _next_place: int = 0
    _recent: Recent = field(factory=Recent)
    _missing: list[Written] = field(factory=list)
    _at_first: bytes = b""  # the digest of the text at first, in another layout
    _unfinished: bytes = b""  # what an append left behind the end when it was disturbed
    _old: Status | None = None

    @property
    def salt(self) -> bytes:
        """What pseudonyms of the file's secrets are made with."""
        return self._salt.encode()

    @property
    def seen(self) -> Status | None:
        """The status of the file when it was last read or written; the old one's before that."""
        return self._old if self._seen is None else self._seen.status

    @property
    def lays_out(self) -> bool:
        """Whether the next append puts a new file in the place of this one."""
        return self._layout is not None

    @property
    def begins_anew(self) -> bool:
        """Whether what stands at the path is still to be moved aside."""
        return self._old is not None

    @property
    def owes(self) -> bool:
        """Whether another program wrote the file back without what was just appended."""
        return bool(self._missing)

    def take_news(self) -> list[News]:
        """What became known of the file since the last call, in order."""
        news, self._news = self._news, []
        return news

    def release(self) -> None:
        """Give the memory of the file's text back; nothing is appended any more."""
        self._layout = self._parts = None
        self._recent = Recent()

    def begin_anew(self) -> None:
        """What stands at the path now is moved aside at the first append, and not looked up."""
        with suppress(CassetteError, OSError):
            self.refresh(())  # a torn end is set right all the same
        self._forget(())
        self._old = self.file.status()

    def refresh(self, digests: Sequence[KeyOf]) -> None:
        """Read the file if it is not as it was last seen; a missing one is empty.

        Raises ``CassetteError``, ``OSError``.
        """
        if self._old is not None:
            return
        try:
            with self.file.reading(known=self._seen is not None) as opened:
                self._catch_up(opened, digests)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(digests)
        if self.repairs and self._is_damaged:
            self._repair(digests)

    @property
    def _is_damaged(self) -> bool:
        """Whether the file is not JSON, as a kill leaves it."""
        layout = self._layout
        return layout is not None and (layout.shape is Shape.TORN or layout.blank)

    def _repair(self, digests: Sequence[KeyOf]) -> None:
        """Set it right before anything is appended: others read the file as JSON."""
        try:
            self.append((), digests)
        except OSError as error:
            why = error.strerror or str(error)
            self.file.warn(f"{self.file.path}: its unfinished end could not be set aside: {why}")

    def append(self, interactions: Sequence[Interaction], digests: Sequence[KeyOf]) -> None:
        """Put interactions at the end, all or none; before them what the ledger owes.

        Raises ``CassetteError`` and ``OSError`` with the file as it was.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            salt = self._salt
            new = head(salt, ()) + TAIL
            redact = self.redact(salt.encode())
            kept = [self.bodies.keep(redact(one)) for one in interactions]
            items = [_written(one) for one in kept]
            try:
                with self.file.writing(known=self._seen is not None, new=new) as opened:
                    if self._moved_aside(opened):
                        continue
                    self._catch_up(opened, digests)
                    if self._fault is not None:
                        raise self._fault
                    # Who takes interactions out removes body files that nothing names yet.
                    if self._salt != salt or not all(map(self.bodies.has, kept)):
                        continue
                    if items or self._missing or self._is_damaged:
                        self._lay_out(opened)
                    if items or self._missing:
                        self._put(opened, self._missing + items)
                    return
            except Disturbed:
                self._seen = None
        raise CassetteError(f"{self.file.path}: other programs write to it without a pause")

    def _put(self, opened: OpenCassette, items: list[Written]) -> None:
        first = self._count == 0
        before = opening(first=first)[: -2 if first else -1]
        chunk = before + _BETWEEN.join([item.element for item in items])
        spans = Spans()
        at = len(before)
        for item in items:
            spans.add(at, at + len(item.element))
            at += len(item.element) + len(_BETWEEN)
        assert self._seen is not None
        self._unfinished = chunk[len(TAIL) :] + TAIL
        self._seen = opened.append(self._end, chunk, self._seen.status)
        self._unfinished = b""
        self._end += len(chunk)
        self._count += len(items)
        self._next_place += len(items)
        if self._parts is not None:
            self._parts.append(chunk)
        self._missing = []
        self._recent.add(self._seen.status.mtime_ns, items)
        self._news.append(Appended(chunk, spans, [item.entry for item in items]))

    def _moved_aside(self, opened: OpenCassette) -> bool:
        """Whether the old file of a recording that begins anew had to be moved first."""
        now = opened.status()
        if self._old is None or (self._old.device, self._old.inode) != (now.device, now.inode):
            self._old = None
            return False
        aside = move_aside(self.file.real_path, "bak", self.file.disk)
        self._old = None
        self.file.warn(f"{self.file.path}: recorded anew; what was there is now {aside.name}")
        return True

    def _forget(self, digests: Sequence[KeyOf]) -> None:
        self._seen = self._fault = self._layout = self._parts = None
        self._end = self._count = 0
        self._recent = Recent()
        self._missing = []
        self._news.append(self.reader.empty(digests, self._next_place))

    def _catch_up(self, opened: OpenCassette, digests: Sequence[KeyOf]) -> None:
        if self._seen is not None and opened.stamp() == self._seen:
            return
        if not self._grown(opened):
            first, self._read_once = not self._read_once, True
            reading = self.reader.whole(
                opened,
                digests,
                self._next_place,
                settled=opened.created or (first and not self.repairs),
            )
            self._accept(reading, first=first)

    def _grown(self, opened: OpenCassette) -> bool:
        """Whether other buffrs have appended, and nothing else happened."""
        if self._parts is None or self._fault is not None:
            return False
        start = head(self._salt, ())
        grown = self.reader.grown(opened, self._parts, start, first=self._count == 0)
        if grown is None:
            return False
        appended, self._seen = grown
        self._news.append(appended)
        added = memoryview(appended.text)[len(start) : -len(TAIL)]
        self._parts += [_BETWEEN[:1], added] if self._count else [added]
        self._end = self._seen.status.size_bytes - len(TAIL)
        self._count += len(appended.spans)
        self._next_place += len(appended.spans)
        return True

    def _accept(self, reading: Reading, *, first: bool) -> None:
        self._seen, self._fault = reading.stamp, reading.fault
        if reading.fault is not None:
            raise reading.fault
        layout = reading.layout
        if not self._is_known(reading):
            self._missing += self._recent.missing_from(layout, reading.stamp.status.mtime_ns)
        if layout.shape is Shape.TORN:
            self.file.warn(f"{self.file.path}: {layout.damage}")
        for line in reading.broken:
            self.file.warn(line)
        self._recent = Recent(layout.slice(*layout.spans[-1]) if len(layout.spans) else None)
        self._end, self._count = layout.end, len(layout.spans)
        self._next_place = reading.loaded.elements.next_place
        self._salt = layout.salt or self._salt
        ready = layout.shape is Shape.READY
        self._layout = None if ready else layout
        self._parts = [memoryview(layout.text)[: layout.end]] if ready else None
        if first and not ready:
            self._at_first = sha256(reading.text).digest()
        self._news.append(reading.loaded)

    def _is_known(self, reading: Reading) -> bool:
        """Whether the file is back in a state that it had, byte for byte: a checkout, say."""
        if reading.layout.shape is not Shape.READY:
            return sha256(reading.text).digest() == self._at_first
        at = 0
        text = memoryview(reading.text)[: reading.layout.end]
        for block in blocks(self._parts or ()):
            if at < len(text) and text[at : at + len(block)] != block[: len(text) - at]:
                return False
            at += len(block)
        return at >= len(text)

    def _lay_out(self, opened: OpenCassette) -> None:
        """Give a file of another layout ours, and set a torn end aside."""
        layout = self._layout
        if layout is None:
            return
        rest = layout.rest if layout.shape is Shape.TORN else b""
        if rest and rest.strip() != self._unfinished.strip():
            aside = set_aside(self.file.real_path, rest, "torn", self.file.disk)
            self.file.warn(f"{self.file.path}: its torn end is now in {aside.name}")
        written: list[int] = []
        start = head(self._salt, layout.others)
        self._seen = opened.replace(_counted(layout, start, written))
        self._end = sum(written)
        self._layout = None
        self._parts = None if self._count else [start]


def _written(kept: Interaction) -> Written:
    entry = None
    if kept.whole:
        choosing = choosing_fields(kept.response.headers)
        entry = IndexEntry(stored_request(kept.request), choosing)
    return Written(encode(kept), entry)


def _counted(layout: Layout, start: bytes, written: list[int]) -> Iterator[bytes]:
    """A whole text, and the size of each piece of it but the tail."""
    written.append(len(start))
    yield start
    for piece in laid_out(layout):
        written.append(len(piece))
        yield piece
    yield TAIL
