"""A cassette as a store: indexed in memory, read from its file, appended to by a thread."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal, assert_never

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.python.failure import Failure

from buffr.errors import CassetteError, StoreFailed, UnsafeRecording
from buffr.interaction import BrokenInteraction, IndexEntry, Interaction, RecordedRequest
from buffr.matching.key import MatchKey, RecordedKey
from buffr.matching.rough import EVERYTHING, Rough, Sought, sought
from buffr.stores.base import Matches
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.elements import Elements
from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.index import Filing, Index, KeyOf, RoughOf, always_exact
from buffr.stores.cassette.ledger import FileState, Ledger
from buffr.stores.cassette.preparing import Append
from buffr.stores.cassette.reading import Appended, CassetteReader, FileChange, Loaded, Moved
from buffr.stores.cassette.recordings import Recordings
from buffr.stores.cassette.thread import (
    Backlog,
    CassetteThread,
    EndThread,
    JobResults,
    Refresh,
    Work,
    let_others_run,
)
from buffr.stores.disk import Disk
from buffr.stores.interactions import Redact, SetView, StoreAccess
from buffr.stores.writable import check_directory, check_file, why_not
from buffr.transport.memo import Memo
from buffr.transport.streams import Signal
from buffr.transport.turn import Turn

__all__ = ["Cassette", "CassetteStore"]

_WAITING = 4096
_WAITING_BYTES = 256 << 20
_LOOKS = 3
_PART = 256
"""So many are filed in one turn of the reactor, in about a millisecond."""
_AT_ONCE = 8
_KEY_BYTES = 400

_Keys = Sequence[RecordedKey] | CassetteError
"""The keys of the recordings with one rough key, or why one of them cannot be read."""


@define(eq=False)
class Cassette:
    """One cassette file and what is known about it. Make one per real path.

    ``call_from_thread`` runs a function on the reactor's thread, whose
    ``turn`` says when the file must be checked again; what is to be appended
    in one turn is appended together. ``warn`` is called with
    lines for the log, from any thread. With ``access`` ``replay`` nothing is
    written; with ``anew`` the existing file is not read, and is moved to
    ``name.json.bak`` by the first recording. ``durability`` ``disk`` waits for
    the medium at each append. ``quiet_s`` is how long a file that may be in
    the middle of being saved must stay unchanged before it is accepted.
    ``losses_noted`` says that the log already reports that the file cannot be
    written: losses are errors all the same, but are not logged again until a
    recording is kept.
    """

    path: Path
    redact: Redact = field(kw_only=True)
    call_from_thread: Callable[..., object] = field(kw_only=True)
    turn: Turn = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    access: StoreAccess = field(default="append", kw_only=True)
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
    _name: str = field(init=False)
    recordings: Recordings = field(init=False)
    _known: FileState = field(init=False, factory=lambda: FileState(None))
    _looked: int = field(init=False, default=-1)
    _backlog: Backlog = field(init=False, factory=lambda: Backlog(_WAITING, _WAITING_BYTES))
    _outgoing: list[Append] = field(init=False, factory=list)
    _refreshing: list[Deferred[None]] = field(init=False, factory=list)
    _closed: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=False)
    _closing: list[Deferred[None]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._name = os.fspath(self.path)
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
        self._thread = CassetteThread(self._ledger, self._keys, self._land_from_thread)
        self.recordings = Recordings(self.path, self._bodies, self._redacted, self._thread.put)

    def view(self, key_of: KeyOf, rough_of: RoughOf = always_exact) -> CassetteStore:
        """A store over this cassette with its own index.

        With ``rough_of`` most keys are computed once they may be looked up.
        """
        view = CassetteStore(self, Index(Filing(key_of, rough_of)))
        self.views.append(view)
        if self.recordings.places():
            self._build(view)
        return view

    @property
    def where(self) -> str:
        """The file, in words."""
        return str(self.path)

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path.exists()

    def request(self, place: int) -> RecordedRequest | None:
        """The request at a place, while it is in the file and can be replayed."""
        return self.recordings.request(place)

    @property
    def salt(self) -> bytes:
        """The salt for the pseudonyms of its secrets; it changes when the file is replaced."""
        return self._ledger.salt

    def open(self, *, in_steps: bool = False) -> None:
        """Read the file, and index it for the existing views. Blocks.

        ``in_steps`` is for a thread beside a running reactor, which then gets
        its turn every few milliseconds. Raises ``CassetteError``, which names
        file, line and column.
        """
        if in_steps:
            self._ledger.reader.pause = let_others_run
        with _collector_off(unless=in_steps):
            self._read_first()

    def _read_first(self) -> None:
        try:
            if self.access == "anew":
                self._ledger.begin_anew()
            else:
                self._ledger.refresh(self._keys())
        except OSError as error:
            raise CassetteError(f"{self.path} cannot be read: {why_not(error)}") from error
        self._learn(self._ledger.take_changes())
        self._known = self._ledger.known

    def check_writable(self) -> None:
        """Raise ``OSError`` if a recording could not be written now. Blocks. Call ``open`` first.

        Writes nothing; ``writable.why_not`` puts the error in words.
        """
        replaces = self.access == "anew" or self._ledger.lays_out
        check_file(self.path, replaces=replaces)
        if self._bodies.directory.is_dir():
            check_directory(self._bodies.directory)

    def _keys(self) -> Sequence[Filing]:
        return [view.index.filing for view in self.views]

    def _build(self, view: CassetteStore) -> None:
        """Make the index of a view that was created after the file was read."""
        view.building = Signal()
        elements, places = self.recordings.elements, self.recordings.places()
        made: Deferred[Index] = Deferred()
        made.addCallbacks(
            self._built,
            self._not_built,
            callbackArgs=(view, elements, places.stop),
            errbackArgs=(view,),
        )
        self._thread.put(Work(partial(self._indexed, view.index.filing, elements, places), made))

    def _built(self, index: Index, view: CassetteStore, elements: Elements, stop: int) -> None:
        if elements is not self.recordings.elements or view.building is None:
            return  # the file was read again meanwhile, for this view too
        for place in range(stop, elements.next_place):
            entry = self.recordings.entry(place, elements)
            if entry is not None:
                index.add(entry, place)
        view.take(index)

    def _not_built(self, failure: Failure, view: CassetteStore) -> None:
        self.warn(f"{self.path}: its index could not be made: {failure.getErrorMessage()}")
        view.take(view.index)

    def _indexed(self, filing: Filing, elements: Elements, places: range) -> Index:
        """An index over elements. For any thread."""
        index = Index(filing)
        for place in places:
            entry, stored = self.recordings.entry(place, elements), elements.at(place)
            if entry is not None and stored is not None:
                index.put_off(entry, place, stored.size_bytes)
            if place % 64 == 0:
                let_others_run()
        return index

    def work(self, work: Work) -> None:
        """Do something on the cassette's thread, or at once if that has ended."""
        if self._closed:
            work.done.callback(work.run())
        else:
            self._thread.put(work)

    async def append(self, interaction: Interaction) -> None:
        size = 0
        for body in interaction.bodies:
            size += len(body.data)
        if self._closed:
            raise StoreFailed(f"{self.path} is closed")
        if self.access == "replay":
            raise StoreFailed(f"{self.path} is open for replay only")
        await self._backlog.enter(size)
        done: Deferred[None] = Deferred()
        if not self._outgoing:
            self.turn.at_end(self._hand_over)
        self._outgoing.append(Append(interaction, size, done))
        await done

    def _hand_over(self) -> None:
        """Give the thread all that is to be appended since the last turn, so that it is one group.

        Given one by one, the first would wake it, and be appended alone.
        """
        outgoing, self._outgoing = self._outgoing, []
        try:
            self._thread.begin()
        except RuntimeError as error:
            for job in outgoing:
                self._backlog.leave(job.size_bytes)
                job.done.errback(StoreFailed(f"{self.path} cannot be written: {error}"))
            return
        for job in outgoing:
            self._thread.put(job)

    def _redacted(self, interaction: Interaction) -> Interaction:
        """What another program recorded, as buffr would store it.

        The file may contain credentials.
        """
        try:
            return self.redact(self.salt)(interaction)
        except UnsafeRecording:
            return interaction

    @property
    def trouble(self) -> str:
        """What is wrong with the file as a whole; empty if nothing is."""
        if self.recordings.fault:
            return f"{self.recordings.fault}; earlier recordings stay in use"
        if self._known.status is None and self.access != "anew":
            return f"{self.path} does not exist" + (" any more" if self._known.readings > 1 else "")
        return ""

    def changed(self) -> bool:
        """Whether the file has changed since it was read. Checked before each answer.

        Checks once per turn of the reactor, if turns can be distinguished.
        """
        turn, known = self.turn, self._known
        if (turn.watched and turn.number == self._looked) or self._closed:
            return False
        if self._backlog.held:  # our own appends change the file, too
            latest = self._ledger.known
            if latest.readings == known.readings:
                known = latest
        status = known.status
        try:
            now = os.stat(self._name)  # noqa: PTH116  # Path.stat takes twice as long
        except (FileNotFoundError, NotADirectoryError):
            return status is not None
        except OSError:
            return False
        if (
            status is None
            or now.st_mtime_ns != status.mtime_ns
            or now.st_size != status.size_bytes
            or now.st_ino != status.inode
            or now.st_ctime_ns != status.ctime_ns
            or now.st_dev != status.device
            or known.fresh
        ):
            return True
        if turn.watched:
            self._looked = turn.number
        return False

    async def caught_up(self) -> None:
        """Read the file again, and wait for it; again if it changed meanwhile."""
        for _ in range(_LOOKS):
            known = self._known
            await self._refresh()
            if known is self._known or not self.changed():
                return

    def _refresh(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._refreshing.append(done)
        if len(self._refreshing) == 1:
            self._thread.put(Refresh())
        return done

    async def close(self) -> None:
        """Write everything that is waiting, stop the thread, and close the file."""
        closing, self._closed = self._closed, True
        self.recordings.end()
        if self._stopped or not (self._thread.started or self._outgoing):
            self.recordings.close()
            return
        await self._backlog.all_let_in()
        done: Deferred[None] = Deferred()
        self._closing.append(done)
        if not closing:
            if self._backlog.held:  # the last of them may have yet to be handed over
                self.turn.at_end(self._end_thread)
            else:
                self._end_thread()
        await done
        self.recordings.close()

    def _end_thread(self) -> None:
        self._hand_over()
        if self._thread.started:
            self._thread.put(EndThread())
        else:  # it could not be started: nothing is left to be written
            self._end()

    def _end(self) -> None:
        self._stopped = True
        _fire(self._closing)

    @property
    def replaces(self) -> bool:
        """Whether an older file is still to be moved aside, because of ``anew``."""
        return self._ledger.begins_anew

    def release(self) -> None:
        """Free the memory, once it is closed; nothing can be looked up any more."""
        self.views.clear()
        self.recordings.release()
        self._ledger.release()

    def _land_from_thread(self, outcome: JobResults) -> None:
        self.call_from_thread(self._land, outcome)

    def _land(self, outcome: JobResults) -> None:
        self._known = outcome.known
        self._learn(outcome.news)
        if outcome.refreshed or outcome.stopped:
            if outcome.fault and outcome.fault != self.recordings.fault:
                self.warn(f"{outcome.fault}; earlier recordings stay in use")
            self.recordings.fault = outcome.fault
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
        if outcome.work is not None:
            outcome.work.done.callback(outcome.result)
        if outcome.stopped:
            self._end()

    def _learn(self, news: Sequence[FileChange]) -> None:
        for item in news:
            match item:
                case Loaded():
                    self._take(item)
                case Moved():
                    self.recordings.move(item.file, item.spans, item.file_bytes)
                case Appended():
                    self._add(item)
                case other:
                    assert_never(other)

    def _take(self, loaded: Loaded) -> None:
        self.recordings.take(loaded.elements)
        made = len(loaded.indexes)  # views may have been added since reading began
        for view, index in zip(self.views[:made], loaded.indexes, strict=True):
            view.take(index)
        for view in self.views[made:]:
            self._build(view)

    def _add(self, appended: Appended) -> None:
        elements = self.recordings.elements
        place = elements.next_place
        elements.add(appended.spans, appended.file_bytes)
        filed = appended.filed
        for number, entry in enumerate(appended.entries):
            if entry is not None:
                for view in self.views:
                    key = filed.get((number, view.index.filing.key_of)) if filed else None
                    view.index.add(entry, place, key)
            place += 1


@contextmanager
def _collector_off(*, unless: bool) -> Iterator[None]:
    """Many long-lived objects are created; collecting garbage would take a quarter of the time."""
    if unless or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _fire(waiters: list[Deferred[None]]) -> None:
    for waiter in waiters:
        waiter.callback(None)


def _no_keys() -> Memo[tuple[MatchKey, ...], bool]:
    return Memo(entries=1024, size_bytes=1 << 20)


def _size_bytes(keys: Sequence[MatchKey]) -> int:
    """How much memory keys take: one has its request's body."""
    size_bytes = 0
    for key in keys:
        size_bytes += _KEY_BYTES
        for _, value in key.parts:
            size_bytes += len(value)
    return size_bytes


@define(eq=False)
class CassetteStore(SetView[Cassette]):
    """A ``Store`` over a cassette, for one way to make match keys."""

    _settling: DeferredLock = field(init=False, factory=DeferredLock)
    _settled_keys: Memo[tuple[MatchKey, ...], bool] = field(init=False, factory=_no_keys)
    """The latest for which nothing waits in the index any more: what is to be recorded is looked
    up before, and when it was."""

    def take(self, index: Index) -> None:
        self._settled_keys = _no_keys()
        super().take(index)

    async def find_loose(self, keys: Sequence[MatchKey]) -> Matches | None:
        if keys and self.index.waiting:
            await self.settle(keys)
            if self.index.find_loose(keys) is not None:
                # It only answers if no other recording has other values of the same names.
                unread = await self._settle_all(EVERYTHING)
                if unread is not None:
                    raise unread
        return self.index.find_loose(keys)

    async def settle(self, keys: Sequence[MatchKey]) -> None:
        name = tuple(keys)
        if self._settled_keys.get(name):
            return  # what was recorded since is filed
        index, unread = await self._settled(keys)
        while self.index is not index or self.building is not None:  # it was read again meanwhile
            index, unread = await self._settled(keys)
        if unread is None:
            self._settled_keys.put(name, True, _size_bytes(keys))
        elif index.find(keys) is None:
            raise unread

    async def _settled(self, keys: Sequence[MatchKey]) -> tuple[Index, CassetteError | None]:
        """The index with all that may match, and the error for one that cannot be read."""
        while self.building is not None:
            await self.building.wait()
        index, unread = self.index, None
        for what in dict.fromkeys([sought(key.parts) for key in keys]):
            if self.index is not index:
                break
            if what.head is None or what.rest is None:
                unread = await self._settle_all(what) or unread
            else:
                rough = Rough(what.head, what.rest)
                index.settle(rough, self._keys_to_replay(index, rough))
        return index, unread

    def _keys_to_replay(self, index: Index, rough: Rough) -> Sequence[RecordedKey]:
        """As ``_keys_of``, for a lookup: the only recording probably answers it."""
        places = index.waiting.places(rough)
        if len(places) != 1:
            return self._keys_of(index, rough)
        entry = self.interactions.recordings.entry_to_replay(places[0])
        return (index.filing.key_of(entry),)

    def settle_now(self) -> None:
        """File all that can be read. Blocks."""
        index = self.index
        for rough in list(index.waiting.sought(EVERYTHING)):
            with suppress(CassetteError):
                index.settle(rough, self._keys_of(index, rough))

    async def _settle_all(self, what: Sought) -> CassetteError | None:
        """File all that may match, in parts that are read on the cassette's thread.

        Returns the error for one that cannot be read.
        """
        await self._settling.acquire()
        try:
            index, unread = self.index, dict[Rough, CassetteError]()
            while self.index is index and self.building is None:
                waiting = (one for one in index.waiting.sought(what) if one not in unread)
                part = list(islice(waiting, _PART))
                if not part:
                    break
                for rough, keys in zip(part, await self._in_thread(index, part), strict=True):
                    if isinstance(keys, CassetteError):
                        unread[rough] = keys
                    else:
                        index.settle(rough, keys)
            return next(iter(unread.values()), None)
        finally:
            self._settling.release()

    def _in_thread(self, index: Index, part: Sequence[Rough]) -> Deferred[list[_Keys]]:
        done: Deferred[list[_Keys]] = Deferred()
        self.interactions.work(Work(partial(self._keys_of_part, index, part), done))
        return done

    def _keys_of_part(self, index: Index, part: Sequence[Rough]) -> list[_Keys]:
        """For any thread."""
        found: list[_Keys] = []
        for number, rough in enumerate(part):
            try:
                found.append(self._keys_of(index, rough))
            except CassetteError as error:
                found.append(error)
            if number % _AT_ONCE == 0:
                let_others_run()
        return found

    def _keys_of(self, index: Index, rough: Rough) -> Sequence[RecordedKey]:
        """The keys of recordings with a rough key. Raises ``CassetteError``. For any thread."""
        recordings, key_of = self.interactions.recordings, index.filing.key_of
        return [key_of(recordings.sure_entry(place)) for place in index.waiting.places(rough)]

    async def load(self, place: int) -> Interaction:
        recordings = self.interactions.recordings
        return recordings.decoded.get(place) or await recordings.cold(place)

    async def places(self) -> range:
        return self.interactions.recordings.places()

    async def entries(
        self, places: Sequence[int]
    ) -> Sequence[IndexEntry | BrokenInteraction | None]:
        recordings = self.interactions.recordings
        return [await recordings.found(place) for place in places]
