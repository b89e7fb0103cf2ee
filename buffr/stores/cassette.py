"""A cassette as a store: looked up in memory, appended to by a thread of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from attrs import define, field
from twisted.internet.defer import Deferred

from buffr.errors import CassetteError, StoreFailed, UnsafeRecording
from buffr.interaction import Broken, IndexEntry, Interaction, RecordedRequest
from buffr.matching.key import MatchKey
from buffr.stores.backlog import Backlog
from buffr.stores.base import Found
from buffr.stores.body_files import BodyFiles
from buffr.stores.cassette_file import CassetteFile, Status
from buffr.stores.cassette_format import broken_request, decode, decode_index, index_entry
from buffr.stores.cassette_ledger import Ledger, Redact
from buffr.stores.cassette_reading import Appended, CassetteReader, Loaded, News
from buffr.stores.cassette_thread import (
    Append,
    CassetteThread,
    Free,
    Outcome,
    Refresh,
    Stop,
    let_others_run,
)
from buffr.stores.disk import Disk
from buffr.stores.elements import Elements, Index, KeyOf, LateIndex
from buffr.writable import check_directory, check_file, why_not

__all__ = ["Access", "Cassette", "CassetteStore"]

_DECODED_BYTES = 64 << 20
_WAITING = 4096
_WAITING_BYTES = 256 << 20
_LOOK_EVERY_S = 1.0

Access = Literal["append", "replay", "anew"]


@define(eq=False)
class Cassette:
    """One cassette file and what is known of it. Make one per real path.

    ``call_from_thread`` runs a function on the reactor's thread, ``now`` is
    the reactor's clock in seconds, ``warn`` takes lines for the log from any
    thread. ``access`` ``replay`` never writes; ``anew`` reads nothing, and
    moves the file that stands there to ``name.json.bak`` when the first
    recording comes. ``durability`` ``disk`` waits for the medium at each
    append. ``quiet_s`` is how long a file that someone seems to be just
    saving must stay as it is before it is taken for what it is. ``losses_noted``
    says that the log has it already that the file cannot be written: losses
    are errors all the same, but no news, until one recording is kept.
    """

    path: Path
    redact: Redact = field(kw_only=True)
    call_from_thread: Callable[..., object] = field(kw_only=True)
    now: Callable[[], float] = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    access: Access = field(default="append", kw_only=True)
    durability: Literal["process", "disk"] = field(default="process", kw_only=True)
    file_mode: int = field(default=0o600, kw_only=True)
    disk: Disk = field(factory=Disk, kw_only=True)
    quiet_s: float = field(default=0.2, kw_only=True)
    losses_noted: bool = field(default=False, init=False)
    _file: CassetteFile = field(init=False)
    _bodies: BodyFiles = field(init=False)
    _ledger: Ledger = field(init=False)
    _thread: CassetteThread = field(init=False)
    views: list[CassetteStore] = field(init=False, factory=list)
    _elements: Elements = field(init=False, factory=lambda: Elements(0))
    _decoded: OrderedDict[int, tuple[Interaction, int]] = field(init=False, factory=OrderedDict)
    _decoded_bytes: int = field(init=False, default=0)
    _known: Status | None = field(init=False, default=None)
    _backlog: Backlog = field(init=False, factory=lambda: Backlog(_WAITING, _WAITING_BYTES))
    _refreshing: list[Deferred[None]] = field(init=False, factory=list)
    _closed: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _closing: list[Deferred[None]] = field(init=False, factory=list)
    _next_look_s: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        sync = self.durability == "disk"
        self._file = CassetteFile(
            self.path, self.file_mode, sync, self.disk, self.warn, self.quiet_s
        )
        self._bodies = BodyFiles(
            self._file.real_path, file_mode=self.file_mode, sync=sync, disk=self.disk
        )
        reader = CassetteReader(self.path, self._bodies.directory)
        repairs = self.access != "replay"
        self._ledger = Ledger(self._file, self._bodies, reader, self.redact, repairs)
        self._thread = CassetteThread(self._ledger, self._digests, self._land_from_thread)

    def view(self, key_of: KeyOf) -> CassetteStore:
        """A store over this cassette with an index of its own."""
        view = CassetteStore(self, self._indexed(key_of))
        self.views.append(view)
        return view

    @property
    def salt(self) -> bytes:
        """What the pseudonyms of its secrets are made with; another one when the file is."""
        return self._ledger.salt

    def open(self, *, in_steps: bool = False) -> None:
        """Read the file, and index it for the views made so far. Blocks.

        ``in_steps`` is for a thread beside a running reactor, which then gets
        its turn every few milliseconds. Raises ``CassetteError``, which names
        file, line and column.
        """
        if in_steps:
            self._ledger.reader.pause = let_others_run
        try:
            if self.access == "anew":
                self._ledger.begin_anew()
            else:
                self._ledger.refresh(self._digests())
        except OSError as error:
            raise CassetteError(f"{self.path} cannot be read: {why_not(error)}") from error
        self._learn(self._ledger.take_news())
        self._known = self._ledger.seen

    def check_writable(self) -> None:
        """Raise ``OSError`` when a recording could not be kept now. Blocks. Call ``open`` first.

        Writes nothing; ``writable.why_not`` puts the error in words.
        """
        replaces = self.access == "anew" or self._ledger.lays_out
        check_file(self.path, replaces=replaces)
        if self._bodies.directory.is_dir():
            check_directory(self._bodies.directory)

    def _digests(self) -> Sequence[KeyOf]:
        return [view.index.key_of for view in self.views]

    def _indexed(self, key_of: KeyOf) -> Index:
        """An index over the elements in memory."""
        index = Index(key_of)
        for place in self.places():
            entry = self.entry(place)
            if entry is not None:
                index.add(entry, place)
        return index

    async def append(self, interaction: Interaction) -> None:
        size = sum([len(body.data) for body in interaction.bodies])
        if self._closed:
            raise StoreFailed(f"{self.path} is closed")
        if self.access == "replay":
            raise StoreFailed(f"{self.path} is open for replay only")
        await self._backlog.enter(size)
        done: Deferred[None] = Deferred()
        self._thread.put(Append(interaction, size, done))
        await done

    def interaction(self, place: int) -> Interaction:
        """The interaction at a place. Raises ``CassetteError``."""
        held = self._decoded.get(place)
        if held is not None:
            self._decoded.move_to_end(place)
            return held[0]
        element = self._elements.slice(place)
        if element is None:
            raise CassetteError(f"{self.path}: the recording was taken out of the file meanwhile")
        try:
            interaction = decode(element, self._bodies.directory)
        except CassetteError as error:
            number = place - self._elements.first_place
            raise CassetteError(f"{self.path}: interaction {number}: {error.message}") from error
        for body in interaction.bodies:
            self._bodies.check(body)
        if interaction.recorded_at is None:
            interaction = self._redacted(interaction)
        if all(body.file is None for body in interaction.bodies):
            self._remember(place, interaction, len(element))
        return interaction

    def _redacted(self, interaction: Interaction) -> Interaction:
        """What another program recorded, as it would be stored here: it keeps credentials."""
        try:
            return self.redact(self.salt)(interaction)
        except UnsafeRecording:
            return interaction

    def _remember(self, place: int, interaction: Interaction, size_bytes: int) -> None:
        self._decoded[place] = (interaction, size_bytes)
        self._decoded_bytes += size_bytes
        while self._decoded_bytes > _DECODED_BYTES:
            _, (_, freed) = self._decoded.popitem(last=False)
            self._decoded_bytes -= freed

    def places(self) -> range:
        """The places of the elements in memory."""
        return range(self._elements.first_place, self._elements.next_place)

    def request(self, place: int) -> RecordedRequest | None:
        """The request at a place, while it is in the file and can be replayed."""
        entry = self.entry(place)
        return None if entry is None else entry.request

    def entry(self, place: int) -> IndexEntry | None:
        """What the interaction at a place is looked up by, while it can be."""
        element = self._elements.slice(place)
        if element is None:
            return None
        with suppress(ValueError):
            return index_entry(decode_index(element), self._bodies.directory)
        return None

    def broken(self, place: int) -> Broken | None:
        """The request at a place that cannot be replayed, if it can be read at least."""
        element = self._elements.slice(place)
        if element is None:
            return None
        with suppress(ValueError):
            return broken_request(decode_index(element), self._bodies.directory)
        return None

    def look(self) -> None:
        """Have the file read again if it changed; at most once a second."""
        now = self.now()
        if now >= self._next_look_s:
            self._next_look_s = now + _LOOK_EVERY_S
            if self.changed() and not self._refreshing:
                self._refresh()

    def changed(self) -> bool:
        """Whether the file is another than the one that is known."""
        if self._backlog.held or self._closed:
            return False  # each append looks for itself
        try:
            return self._file.status() != self._known
        except OSError:
            return False

    async def refreshed(self) -> None:
        """Read the file again, and wait for it."""
        await self._refresh()

    def _refresh(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._refreshing.append(done)
        if len(self._refreshing) == 1:
            self._thread.put(Refresh())
        return done

    async def close(self) -> None:
        """Write everything that waits, then stop the thread."""
        closing, self._closed = self._closed, True
        if self._stopped or not self._thread.started:
            return
        await self._backlog.all_let_in()
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        if not closing:
            self._thread.put(Stop())
        await done

    @property
    def replaces(self) -> bool:
        """Whether a file from before is still to be moved aside, as ``anew`` has it."""
        return self._ledger.begins_anew

    def release(self) -> None:
        """Give the memory back, once it is closed; nothing can be looked up any more."""
        self.views.clear()
        self._elements.give_up()
        self._decoded.clear()
        self._ledger.release()

    def _land_from_thread(self, outcome: Outcome) -> None:
        self.call_from_thread(self._land, outcome)

    def _land(self, outcome: Outcome) -> None:
        self._known = outcome.status
        self._learn(outcome.news)
        if outcome.fault:
            self.warn(f"{outcome.fault}; what was read before is used on")
        for job in outcome.appends:
            self._backlog.leave(job.size_bytes)
            if outcome.failure is None:
                self.losses_noted = False
                job.done.callback(None)
            else:
                of_disk = isinstance(outcome.failure.__cause__, OSError)
                outcome.failure.noted = self.losses_noted and of_disk
                job.done.errback(outcome.failure)
        if outcome.refreshed:
            waiters, self._refreshing = self._refreshing, []
            _fire(waiters)
        if outcome.stopped:
            self._stopped = True
            _fire(self._closing)

    def _learn(self, news: Sequence[News]) -> None:
        for item in news:
            if isinstance(item, Loaded):
                self._take(item)
            else:
                self._add(item)

    def _take(self, loaded: Loaded) -> None:
        old, self._elements = self._elements, loaded.elements
        if self._thread.started and not self._closed:
            self._thread.put(Free(old.give_up()))
        self._decoded.clear()
        self._decoded_bytes = 0
        made = len(loaded.indexes)  # views may have come since the reading began
        for view, index in zip(self.views[:made], loaded.indexes, strict=True):
            view.index = index
        for view in self.views[made:]:
            view.index = self._indexed(view.index.key_of)

    def _add(self, appended: Appended) -> None:
        place = self._elements.next_place
        self._elements.add(appended.text, appended.spans)
        for entry in appended.entries:
            if entry is not None:
                for view in self.views:
                    view.index.add(entry, place)
            place += 1


def _fire(waiters: list[Deferred[None]]) -> None:
    for waiter in waiters:
        waiter.callback(None)


@define(eq=False)
class CassetteStore:
    """A ``Store`` over a cassette, for one way to make match keys."""

    cassette: Cassette
    index: Index
    closed: bool = False

    async def find(self, keys: Sequence[MatchKey]) -> Found | None:
        cassette = self.cassette
        cassette.look()
        found = self.index.find(keys)
        if found is None and cassette.changed():
            await cassette.refreshed()
            found = self.index.find(keys)
        return found

    def find_loose(self, keys: Sequence[MatchKey]) -> Found | None:
        return self.index.find_loose(keys)

    @property
    def late(self) -> LateIndex:
        return self.index.late

    async def load(self, place: int) -> Interaction:
        return self.cassette.interaction(place)

    def places(self) -> range:
        return self.cassette.places()

    def entry(self, place: int) -> IndexEntry | None:
        return self.cassette.entry(place)

    def request(self, place: int) -> RecordedRequest | None:
        return self.cassette.request(place)

    def broken(self, place: int) -> Broken | None:
        return self.cassette.broken(place)

    async def append(self, interaction: Interaction) -> None:
        await self.cassette.append(interaction)

    async def close(self) -> None:
        """The last view to close closes the cassette."""
        self.closed = True
        if all(view.closed for view in self.cassette.views):
            await self.cassette.close()
