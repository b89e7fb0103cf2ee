"""The blocking half of a cassette: what its file contained when last seen, and its appends.

Runs on one thread at a time. The file alone counts: before each append it is
compared with what was last seen of it, and read again if it differs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from zlib import crc32

from attrs import define, field, frozen

from buffr.errors import CassetteError
from buffr.interaction import IndexEntry, Interaction, choosing_fields
from buffr.stores.aside import move_aside, set_aside
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile, OpenCassette, Stamp, Status
from buffr.stores.cassette.format import decode_index, encode, index_entry
from buffr.stores.cassette.index import Filing
from buffr.stores.cassette.layout import TAIL, Layout, LayoutState, opening
from buffr.stores.cassette.preparing import Prepared
from buffr.stores.cassette.reading import Appended, CassetteReader, FileChange, Moved, ReadResult
from buffr.stores.cassette.recent import WINDOW_NS, Recent
from buffr.stores.cassette.requests import stored_request
from buffr.stores.cassette.seals import sealed
from buffr.stores.cassette.spans import Spans
from buffr.stores.cassette.window import Disturbed
from buffr.stores.cassette.writing import head, laid_out
from buffr.stores.interactions import Redact

__all__ = ["FileState", "Ledger", "Waiting"]

Waiting = tuple[Interaction, Prepared | None]
"""An interaction to append, and its stored form if it was prepared before."""

_PATIENCE_S = 10.0
_BETWEEN = b",\n    "
_TICK_NS = 20_000_000
"""File systems count time in ticks of up to ten milliseconds."""


@frozen
class FileState:
    """What is known about the file: its status, ``None`` if it does not exist.

    ``readings`` counts how often it was read as another one. ``fresh`` says
    that it was read so soon after a change that another change may not show in
    its status.
    """

    status: Status | None
    readings: int = 0
    fresh: bool = False


@define
class Ledger:
    """Reads and appends. The results are in ``take_changes()``, also after an error.

    ``repairs`` says that a torn end is repaired as soon as it is seen.
    ``known`` may be read from other threads.
    """

    file: CassetteFile
    bodies: BodyFiles
    reader: CassetteReader
    redact: Redact
    repairs: bool = False
    known: FileState = field(init=False, factory=lambda: FileState(None))
    _salt: str = field(init=False, factory=lambda: secrets.token_hex(16))
    _changes: list[FileChange] = field(init=False, factory=list)
    _read_once: bool = field(init=False, default=False)
    _seen: Stamp | None = field(init=False, default=None)
    _checksum: int = field(init=False, default=0)  # of the text that was seen
    _fault: CassetteError | None = field(init=False, default=None)
    _spans: Spans = field(init=False, factory=Spans)
    _layout: Layout | None = field(init=False, default=None)  # while it cannot be appended to
    _next_place: int = field(init=False, default=0)
    _recent: Recent = field(init=False, factory=Recent)
    _missing: list[bytes] = field(init=False, factory=list)
    _at_first: tuple[int, int] = field(init=False, default=(0, 0))  # size and checksum, if foreign
    _unfinished: bytes = field(init=False, default=b"")  # what a disturbed append left at the end
    _old: Status | None = field(init=False, default=None)

    @property
    def salt(self) -> bytes:
        """The salt for the pseudonyms of the file's secrets."""
        return self._salt.encode()

    @property
    def lays_out(self) -> bool:
        """Whether the next append replaces the file by a new one."""
        return self._layout is not None

    @property
    def begins_anew(self) -> bool:
        """Whether the file at the path is still to be moved aside."""
        return self._old is not None

    @property
    def owes(self) -> bool:
        """Whether another program wrote the file back without the latest appends."""
        return bool(self._missing)

    @property
    def remembers(self) -> bool:
        """Whether the latest appends are kept in memory, in case they must be appended again."""
        return bool(self._recent)

    def forget_old(self) -> None:
        """Forget what is no longer recent."""
        self._recent.forget(time.time_ns() - WINDOW_NS)

    def take_changes(self) -> list[FileChange]:
        """What was learnt about the file since the last call, in order."""
        news, self._changes = self._changes, []
        return news

    def release(self) -> None:
        """Release what an append needs; there will be none."""
        self._layout = None
        self._spans = Spans()
        self._recent = Recent()

    def begin_anew(self) -> None:
        """Move the file at the path aside at the first append, and do not look it up."""
        with suppress(CassetteError, OSError):
            self.refresh(())  # a torn end is repaired anyway
        self._forget(())
        self._old = self.file.status()
        self.known = FileState(self._old, self.known.readings)

    def refresh(self, keys: Sequence[Filing]) -> None:
        """Read the file if it differs from what was last seen; a missing one is empty.

        Raises ``CassetteError``, ``OSError``.
        """
        if self._old is not None:
            return
        try:
            with self.file.reading(known=self._seen is not None) as opened:
                self._catch_up(opened, keys)
        except (FileNotFoundError, NotADirectoryError):
            self._forget(keys)
        except Disturbed:
            raise self._too_busy() from None
        if self.repairs and self._is_damaged:
            self._repair(keys)

    def _too_busy(self) -> CassetteError:
        return CassetteError(f"{self.file.path}: other programs write to it without a pause")

    @property
    def _is_damaged(self) -> bool:
        """Whether the file is not valid JSON, as after a kill."""
        layout = self._layout
        return layout is not None and (layout.state is LayoutState.TORN or layout.blank)

    def _repair(self, keys: Sequence[Filing]) -> None:
        """Repair it before anything is appended: other programs read the file as JSON."""
        try:
            self.append((), keys)
        except OSError as error:
            why = error.strerror or str(error)
            self.file.warn(f"{self.file.path}: its unfinished end could not be set aside: {why}")

    def prepared(self, interaction: Interaction) -> Prepared:
        """An interaction as it is appended to the file as it is now. For any thread.

        Raises ``BuffrError`` and ``OSError``.
        """
        salt = self._salt
        return self._prepared(interaction, salt, self.redact(salt.encode()))

    def _prepared(
        self, interaction: Interaction, salt: str, redact: Callable[[Interaction], Interaction]
    ) -> Prepared:
        kept = self.bodies.keep(redact(interaction))
        entry = None
        if kept.whole:
            choosing = choosing_fields(kept.response.headers)
            entry = IndexEntry(stored_request(kept.request), choosing, kept.begins_after)
        return Prepared(salt, kept, sealed(encode(kept)), entry)

    def append(self, waiting: Sequence[Waiting], keys: Sequence[Filing]) -> None:
        """Append interactions, all or none; before them those that are missing from the file.

        They may be prepared; if the file has another salt now, they are prepared again. Raises
        ``CassetteError`` and ``OSError`` with the file unchanged.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            salt = self._salt
            new = head(salt, ()) + TAIL
            redact = self.redact(salt.encode())
            items = [
                ready
                if ready is not None and ready.salt == salt and self.bodies.has(ready.kept)
                else self._prepared(interaction, salt, redact)
                for interaction, ready in waiting
            ]
            try:
                with self.file.writing(known=self._seen is not None, new=new) as opened:
                    if self._moved_aside(opened):
                        continue
                    self._catch_up(opened, keys)
                    if self._fault is not None:
                        raise self._fault
                    # A process that removes interactions removes body files that are not referenced
                    # yet.
                    if self._salt != salt or not all(self.bodies.has(item.kept) for item in items):
                        continue
                    if items or self._missing or self._is_damaged:
                        self._lay_out(opened)
                    if items or self._missing:
                        texts = [(item.element, item.entry) for item in items]
                        self._put(opened, [*map(self._again, self._missing), *texts])
                    return
            except Disturbed:
                self._seen = None
            except OSError:
                # A removed file's space is only free once nothing reads it.
                if self._seen is not None and self.file.status() is None:
                    self._forget(keys)
                raise
        raise self._too_busy()

    def _again(self, element: bytes) -> tuple[bytes, IndexEntry | None]:
        """An element that was appended before, and its data for lookups."""
        return element, index_entry(decode_index(element), self.bodies.directory)

    def _put(self, opened: OpenCassette, items: list[tuple[bytes, IndexEntry | None]]) -> None:
        assert self._seen is not None
        first, end = len(self._spans) == 0, self._spans.end
        parts = [opening(first=first)[: -2 if first else -1] + items[0][0]]
        parts += [_BETWEEN + element for element, _ in items[1:]]
        spans = self._spans.after()
        for part in parts:
            spans.add(part, spans.end + len(part))
        chunk = b"".join(parts)
        self._unfinished = chunk[len(TAIL) :] + TAIL
        self._saw(opened.append(end, chunk, self._seen.status), crc32(TAIL, spans.end_sum))
        self._unfinished = b""
        self._spans.extend(spans)
        self._next_place += len(items)
        self._missing = []
        self._recent.add(self._seen.status.mtime_ns, [element for element, _ in items])
        entries = [entry for _, entry in items]
        self._changes.append(Appended(spans, entries, self._seen.status.size_bytes))

    def _saw(self, stamp: Stamp, checksum: int, *, another: bool = False) -> None:
        """Note the state of the file; ``another`` says that another program changed it."""
        self._seen, self._checksum = stamp, checksum
        readings = self.known.readings + another
        # What this ledger writes has a time of its own.
        fresh = another and abs(time.time_ns() - stamp.status.ctime_ns) < _TICK_NS
        self.known = FileState(stamp.status, readings, fresh)

    def _moved_aside(self, opened: OpenCassette) -> bool:
        """Whether the old file had to be moved first, because recording starts again."""
        if self._old is None or not self._old.is_file_of(opened.status()):
            self._old = None
            return False
        aside = move_aside(self.file.real_path, "bak", self.file.disk)
        self._old = None
        self.file.warn(f"{self.file.path}: recorded again; the old file is now {aside.name}")
        return True

    def _forget(self, keys: Sequence[Filing]) -> None:
        self._seen = self._fault = self._layout = None
        self._spans = Spans()
        self._recent = Recent()
        self._missing = []
        self.known = FileState(None, self.known.readings + 1)
        self._changes.append(self.reader.empty(keys, self._next_place))

    def _catch_up(self, opened: OpenCassette, keys: Sequence[Filing]) -> None:
        if self._seen is not None:
            if opened.stamp() == self._seen and not self.known.fresh:
                return
            if self._is_unchanged(opened) or self._grown(opened):
                return
        first, self._read_once = not self._read_once, True
        settled = opened.created or (first and not self.repairs)
        self._accept(
            self.reader.whole(opened, keys, self._next_place, settled=settled), first=first
        )

    def _is_unchanged(self, opened: OpenCassette) -> bool:
        """Whether the text is what was seen, byte for byte, whatever its status says."""
        assert self._seen is not None
        stamp, size = opened.stamp(), self._seen.status.size_bytes
        if stamp.status.size_bytes != size or self.reader.checksum(opened, size) != self._checksum:
            return False
        if opened.stamp() != stamp:
            return False
        self._follow(opened, stamp)
        self._saw(stamp, self._checksum, another=True)
        return True

    def _follow(self, opened: OpenCassette, stamp: Stamp) -> None:
        """Read the known elements from the file that is now in its place."""
        assert self._seen is not None
        if self._fault is None and not stamp.status.is_file_of(self._seen.status):
            patch = None if self._layout is None else self._layout.patch
            moved = Moved(opened.held(patch), self._spans.copy(), stamp.status.size_bytes)
            self._changes.append(moved)

    def _grown(self, opened: OpenCassette) -> bool:
        """Whether other buffr processes have appended, and nothing else happened."""
        if self._layout is not None or self._fault is not None:
            return False
        grown = self.reader.grown(opened, self._spans, head(self._salt, ()))
        if grown is None:
            return False
        appended, stamp = grown
        self._follow(opened, stamp)
        self._spans.extend(appended.spans)
        self._saw(stamp, crc32(TAIL, self._spans.end_sum), another=True)
        self._changes.append(appended)
        self._next_place += len(appended.spans)
        return True

    def _accept(self, reading: ReadResult, *, first: bool) -> None:
        layout, stamp = reading.layout, reading.stamp
        self._saw(stamp, layout.checksum, another=True)
        self._fault = reading.fault
        if reading.fault is not None:
            raise reading.fault
        if not self._is_known(layout):
            self._missing += self._recent.missing_from(layout, stamp.status.mtime_ns)
        if layout.state is LayoutState.TORN:
            self.file.warn(f"{self.file.path}: {layout.damage}")
        for line in reading.broken:
            self.file.warn(line)
        count = len(layout.spans)
        self._recent = Recent(layout.element(count - 1) if count else None)
        self._spans = layout.spans
        self._next_place = reading.loaded.elements.next_place
        self._salt = layout.salt or self._salt
        self._layout = None if layout.state is LayoutState.READY else layout
        if first and self._layout is not None:
            self._at_first = (layout.size_bytes, self._checksum)
        layout.close()
        self._changes.append(reading.loaded)

    def _is_known(self, layout: Layout) -> bool:
        """Whether the file is back in an earlier state, byte for byte, as after a checkout."""
        if layout.state is not LayoutState.READY:
            return (layout.size_bytes, self._checksum) == self._at_first
        count = len(layout.spans)
        if self._layout is not None or count > len(self._spans):
            return False
        return layout.spans.end_of(count) == self._spans.end_of(count)

    def _lay_out(self, opened: OpenCassette) -> None:
        """Rewrite a file of another layout in ours, and set a torn end aside."""
        layout = self._layout
        if layout is None:
            return
        layout.reopened(opened.read_at)
        rest = layout.rest if layout.state is LayoutState.TORN else b""
        if rest and rest.strip() != self._unfinished.strip():
            aside = set_aside(self.file.real_path, rest, "torn", self.file.disk)
            self.file.warn(f"{self.file.path}: its torn end is now in {aside.name}")
        start = head(self._salt, layout.others)
        spans = Spans(len(start), crc32(start))
        stamp = opened.replace(_relaid(layout, start, spans))
        self._layout, self._spans = None, spans
        self._saw(stamp, crc32(TAIL, spans.end_sum))
        self._changes.append(Moved(opened.held(), spans.copy(), stamp.status.size_bytes))


def _relaid(layout: Layout, start: bytes, spans: Spans) -> Iterator[bytes]:
    """A whole text in our layout, whose elements are added to the spans."""
    yield start
    for piece in laid_out(layout):
        spans.add(piece, spans.end + len(piece))
        yield piece
    yield TAIL
