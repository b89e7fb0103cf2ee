"""Recordings in an SQLite file: looked up in memory, appended to by a thread.

A file has any number of named sets, beside the answers of a cache. An
interaction is stored as its cassette element, compressed, so that both stores
contain the same facts; a large body is in a separate file, as with a cassette.
The next lookup finds what other processes have appended.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from array import array
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import zstandard
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.errors import CassetteError, StoreFailed
from buffr.interaction import BrokenInteraction, IndexEntry, Interaction, RecordedRequest
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.format import (
    broken_request,
    decode,
    decode_index,
    encode,
    index_entry,
)
from buffr.stores.cassette.index import Filing, Index, KeyOf, RoughOf, always_exact
from buffr.stores.cassette.recordings import Decoded
from buffr.stores.cassette.thread import Backlog, let_others_run
from buffr.stores.disk import Disk
from buffr.stores.interactions import InteractionView, Redact, SetName, StoreAccess, not_recorded
from buffr.stores.sqlite.elements import TABLES, StoredRow, body_files_of, coded, plain
from buffr.stores.sqlite.file import CacheFile, said
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.thread import Stop, Work, WriterResults, WriterThread
from buffr.stores.writable import check_beside, check_directory
from buffr.transport.streams import Signal
from buffr.transport.turn import Turn

__all__ = ["SQLiteInteractions"]

_DECODED_BYTES = 64 << 20
_WAITING = 4096
_WAITING_BYTES = 256 << 20
_LARGE_BYTES = 65536
"""Larger elements are decoded off the reactor's thread."""
_STEP = 200
"""The number of other processes' elements that are read in one turn of the reactor."""
_NEVER_S = 1e6
_READER_PATIENCE_S = 5.0

_SET = "SELECT id, salt FROM recordings WHERE name = ?"
_NEW_SET = "INSERT INTO recordings (name, salt) VALUES (?, ?)"
_FORGET_SET = (
    "DELETE FROM interactions WHERE recording = (SELECT id FROM recordings WHERE name = ?)"
)
_INSERT = "INSERT INTO interactions (recording, element, coding, element_bytes) VALUES (?, ?, ?, ?)"
_AFTER = """
SELECT place, element, coding, element_bytes FROM interactions
WHERE recording = ? AND place > ? ORDER BY place LIMIT ?"""
_ONE = "SELECT element, coding, element_bytes FROM interactions WHERE place = ?"


def _at_once(function: Callable[[], Interaction]) -> Awaitable[Interaction]:
    done: Deferred[Interaction] = Deferred()
    try:
        done.callback(function())
    except CassetteError:
        done.errback(Failure())
    return done


@define(eq=False)
class SQLiteInteractions:
    """One set of interactions in a file: an ``InteractionSet``. Call ``open`` first.

    ``call_from_thread`` runs a function on the reactor's thread, whose
    ``turn`` says when to check the file for changes again; ``aside`` runs a
    function on another thread. ``warn`` is called with lines for the log, from
    any thread. ``access`` ``replay`` opens the file read-only; ``anew``
    renames the existing set to ``NAME.bak`` when the first recording is made.
    ``durability`` ``disk`` waits for the medium at each append.
    """

    name: SetName
    path: Path
    redact: Redact = field(kw_only=True)
    call_from_thread: Callable[..., object] = field(kw_only=True)
    turn: Turn = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    aside: Callable[[Callable[[], Interaction]], Awaitable[Interaction]] = field(
        default=_at_once, kw_only=True
    )
    access: StoreAccess = field(default="append", kw_only=True)
    durability: Literal["process", "disk"] = field(default="process", kw_only=True)
    file_mode: int = field(default=0o600, kw_only=True)
    disk: Disk = field(factory=Disk, kw_only=True)
    views: list[InteractionView] = field(init=False, factory=list)
    salt: bytes = field(init=False, factory=lambda: secrets.token_hex(16).encode())
    losses_noted: bool = field(init=False, default=False)
    replaces: bool = field(init=False, default=False)
    trouble: str = field(init=False, default="")
    _bodies: BodyFiles = field(init=False)
    _file: CacheFile = field(init=False)
    _thread: WriterThread = field(init=False)
    _reader: sqlite3.Connection | None = field(init=False, default=None)
    _version: int = field(init=False, default=-1)
    _looked: int = field(init=False, default=-1)
    _set: int | None = field(init=False, default=None)
    _first: int = field(init=False, default=0)
    _rows: array[int] = field(init=False, factory=lambda: array("q"))
    _decoded: Decoded = field(init=False, factory=lambda: Decoded(_DECODED_BYTES))
    _backlog: Backlog = field(init=False, factory=lambda: Backlog(_WAITING, _WAITING_BYTES))
    _writing: sqlite3.Connection | None = field(init=False, default=None)
    _closed: bool = field(init=False, default=False)
    _stopped: bool = field(init=False, default=True)

    def __attrs_post_init__(self) -> None:
        sync = self.durability == "disk"
        self._bodies = BodyFiles(
            body_files_of(self.path),
            file_mode=self.file_mode,
            sync=sync,
            disk=self.disk,
        )
        self._file = CacheFile(self.path, self.warn, self.disk, sync=sync, sets_aside=False)
        self.replaces = self.access == "anew"
        self._thread = WriterThread(
            self._file, Bounds(0, 0, 0), lambda: 0.0, self._land_from_thread, _NEVER_S
        )

    @property
    def where(self) -> str:
        return str(self.name)

    def exists(self) -> bool:
        return self.path.exists()

    def view(self, key_of: KeyOf, rough_of: RoughOf = always_exact) -> InteractionView:
        view = InteractionView(self, Index(Filing(key_of, rough_of)))
        self.views.append(view)
        if self._rows:
            view.building = Signal()
            Deferred.fromCoroutine(self._build(view)).addErrback(self._not_built, view)
        return view

    async def _build(self, view: InteractionView) -> None:
        """Make the index of a view that was created after the set was read."""
        rows, index = self._rows, Index(view.index.filing)
        at = 0
        while at < len(rows) and rows is self._rows:
            entry = self.entry(self._first + at)
            if entry is not None:
                index.add(entry, self._first + at)
            at += 1
            if at % _STEP == 0:
                await self._turn()
        if view.building is not None:
            view.take(index)

    def _not_built(self, failure: Failure, view: InteractionView) -> None:
        self.warn(f"{self.where}: its index could not be made: {failure.getErrorMessage()}")
        view.take(view.index)

    def open(self, *, in_steps: bool = False) -> None:
        try:
            if self.access == "replay":
                self._open_for_reading()
            else:
                self._file.prepare()
                with closing(self._file.writer()) as connection:
                    self._write_set(connection)
                self._reader = self._file.reader()
                self._thread.start()
                self._stopped = False
            if not self.replaces:
                for _ in self._learn():
                    if in_steps:
                        let_others_run()
        except sqlite3.Error as error:
            raise StoreFailed(f"{self.where}: {said(error)}") from error

    def _open_for_reading(self) -> None:
        if not self.path.exists():
            return
        name = quote(os.fspath(self.path.absolute()))
        for options in ("mode=ro", "mode=ro&immutable=1"):
            connection = sqlite3.connect(
                f"file:{name}?{options}",
                timeout=_READER_PATIENCE_S,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            try:
                connection.execute("SELECT count(*) FROM sqlite_master")
            except sqlite3.OperationalError:
                # In a read-only directory, a file in WAL mode cannot create its index.
                connection.close()
                if options != "mode=ro":
                    raise
            else:
                self._reader = connection
                return

    def check_writable(self) -> None:
        check_beside(self.path)
        if self._bodies.directory.is_dir():
            check_directory(self._bodies.directory)

    # Existing interactions.

    def changed(self) -> bool:
        turn = self.turn
        if (turn.watched and turn.number == self._looked) or self._reader is None or self.replaces:
            return False
        if self._version_now() != self._version:
            return True
        if turn.watched:
            self._looked = turn.number
        return False

    def _version_now(self) -> int:
        if self._reader is None:
            return self._version
        version: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
        return version

    async def caught_up(self) -> None:
        try:
            for _ in self._learn():
                await self._turn()
        except sqlite3.Error as error:
            self._troubled(error)

    async def _turn(self) -> None:
        """Let other work run."""
        waiter: Deferred[None] = Deferred()
        self.call_from_thread(waiter.callback, None)
        await waiter

    def _troubled(self, error: sqlite3.Error) -> None:
        trouble = f"{self.where}: {said(error)}; earlier recordings stay in use"
        if trouble != self.trouble:
            self.warn(trouble)
        self.trouble = trouble

    def _learn(self) -> Iterator[None]:
        """Read what is new, and yield if there is more. Raises ``sqlite3.Error``."""
        while self._reader is not None:
            version = self._version_now()
            self._find_set(self._reader)
            last = self._rows[-1] if self._rows else 0
            rows = []
            if self._set is not None:
                rows = self._reader.execute(_AFTER, (self._set, last, _STEP)).fetchall()
            for place, *kept in rows:
                self._rows.append(place)
                entry = self._entry(kept)
                if entry is not None:
                    self._index(entry, self._first + len(self._rows) - 1)
            if len(rows) < _STEP:
                self._version, self.trouble = version, ""
                return
            yield

    def _find_set(self, reader: sqlite3.Connection) -> None:
        """Find the set that has the name now: another process may have replaced it."""
        row = None
        with suppress(sqlite3.OperationalError):  # the table does not exist yet
            row = reader.execute(_SET, (self.name.name,)).fetchone()
        found = None if row is None else row[0]
        if row is not None:
            self.salt = row[1]
        if found != self._set:
            self._set = found
            self._forget()

    def _forget(self) -> None:
        self._first += len(self._rows)
        self._rows = array("q")
        self._decoded.clear()
        for view in self.views:
            view.take(Index(view.index.filing))

    def _index(self, entry: IndexEntry, place: int) -> None:
        for view in self.views:
            if view.building is None:
                view.index.add(entry, place)

    def _entry(self, kept: StoredRow) -> IndexEntry | None:
        with suppress(ValueError, zstandard.ZstdError):
            return index_entry(decode_index(plain(kept)), self._bodies.directory)
        return None

    def places(self) -> range:
        return range(self._first, self._first + len(self._rows))

    def _element(self, place: int) -> StoredRow | None:
        at = place - self._first
        if self._reader is None or not 0 <= at < len(self._rows):
            return None
        found: StoredRow | None = self._reader.execute(_ONE, (self._rows[at],)).fetchone()
        return found

    def entry(self, place: int) -> IndexEntry | None:
        with suppress(sqlite3.Error):
            kept = self._element(place)
            return None if kept is None else self._entry(kept)
        return None

    def request(self, place: int) -> RecordedRequest | None:
        entry = self.entry(place)
        return None if entry is None else entry.request

    def broken(self, place: int) -> BrokenInteraction | None:
        with suppress(ValueError, zstandard.ZstdError, sqlite3.Error):
            kept = self._element(place)
            if kept is not None:
                return broken_request(decode_index(plain(kept)), self._bodies.directory)
        return None

    def warm(self, place: int) -> Interaction | None:
        return self._decoded.get(place)

    async def cold(self, place: int) -> Interaction:
        try:
            kept = self._element(place)
        except sqlite3.Error as error:
            raise CassetteError(f"{self.where} cannot be read: {said(error)}") from error
        if kept is None:
            raise CassetteError(f"{self.where}: there is no recording {place}")
        read = partial(self._read, place, kept)
        interaction = read() if kept[2] <= _LARGE_BYTES else await self.aside(read)
        if place in self.places() and all(body.file is None for body in interaction.bodies):
            self._decoded.keep(place, interaction, kept[2])
        return interaction

    def _read(self, place: int, kept: StoredRow) -> Interaction:
        """For any thread. Raises ``CassetteError``."""
        try:
            interaction = decode(plain(kept), self._bodies.directory)
        except (CassetteError, zstandard.ZstdError) as error:
            raise CassetteError(f"{self.where}: interaction {place}: {error}") from error
        for body in interaction.bodies:
            self._bodies.check(body)
        return interaction

    # Appending.

    async def append(self, interaction: Interaction) -> None:
        size_bytes = sum([len(body.data) for body in interaction.bodies])
        if self._closed:
            raise StoreFailed(f"{self.where} is closed")
        if self.access == "replay":
            failure = StoreFailed(f"{self.where} is open for replay only")
            failure.noted = self.losses_noted
            raise failure
        await self._backlog.enter(size_bytes)
        done: Deferred[Any] = Deferred()
        self._thread.put(Work(partial(self._append, interaction), done))
        try:
            await done
        except Exception as error:
            store_error = StoreFailed(said(error)) if isinstance(error, sqlite3.Error) else error
            failure = not_recorded(self.redact, interaction, store_error)
            failure.noted = self.losses_noted and isinstance(error, OSError | sqlite3.Error)
            raise failure from error
        finally:
            self._backlog.leave(size_bytes)
        self.losses_noted = False
        await self.caught_up()

    def _append(self, interaction: Interaction, connection: sqlite3.Connection) -> None:
        """Store an interaction.

        Called on the thread. Raises ``sqlite3.Error``, ``OSError`` and others.
        """
        if connection is not self._writing:
            self._write_set(connection)
            self._writing = connection
        while True:
            salt = self.salt
            kept = self._bodies.keep(self.redact(salt)(interaction))
            element = encode(kept)
            if self._insert(connection, element, salt):
                return

    def _insert(self, connection: sqlite3.Connection, element: bytes, salt: bytes) -> bool:
        """Insert an element. Returns false if the salt of the set has changed."""
        coding, data = coded(element)
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self.replaces:
                self._move_aside(connection, salt)
            number, self.salt = connection.execute(_SET, (self.name.name,)).fetchone()
            if self.salt == salt:
                connection.execute(_INSERT, (number, data, coding, len(element)))
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        self.replaces = False
        return self.salt == salt

    def _move_aside(self, connection: sqlite3.Connection, salt: bytes) -> None:
        """Rename the set with the older recordings, and create a new one."""
        name = self.name.name
        aside = f"{name}.bak"
        count = connection.execute(
            "SELECT count(*) FROM interactions JOIN recordings ON recording = id WHERE name = ?",
            (name,),
        ).fetchone()[0]
        if count:
            connection.execute(_FORGET_SET, (aside,))
            connection.execute("DELETE FROM recordings WHERE name = ?", (aside,))
            connection.execute("UPDATE recordings SET name = ? WHERE name = ?", (aside, name))
            connection.execute(_NEW_SET, (name, salt))
            self.warn(f"{self.where}: {name} is recorded again; the old set is now {aside}")

    def _write_set(self, connection: sqlite3.Connection) -> None:
        """Make sure that the tables and the set exist; use its salt from now on."""
        connection.executescript(TABLES)
        connection.execute(
            "INSERT INTO recordings (name, salt) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (self.name.name, self.salt),
        )
        self.salt = connection.execute(_SET, (self.name.name,)).fetchone()[1]

    def _land_from_thread(self, outcome: WriterResults) -> None:
        self.call_from_thread(self._land, outcome)

    def _land(self, outcome: WriterResults) -> None:
        if outcome.reopened and not self._closed:
            self._reopen()
        for job, result in outcome.results:
            if isinstance(job, Work | Stop):
                done: Deferred[Any] = job.done
                if isinstance(result, Failure):
                    done.errback(result)
                else:
                    done.callback(result)

    def _reopen(self) -> None:
        """Another file is at the path now."""
        if self._reader is not None:
            self._reader.close()
        self._reader, self._version, self._set = None, -1, None
        self._forget()
        try:
            self._reader = self._file.reader()
        except sqlite3.Error as error:
            self._troubled(error)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._backlog.all_let_in()
        if self._reader is not None:
            # First: the last connection to close moves the write-ahead log into the file.
            self._reader.close()
            self._reader = None
        if not self._stopped:
            self._stopped = True
            done: Deferred[None] = Deferred()
            self._thread.put(Stop(done))
            await done

    def release(self) -> None:
        self.views.clear()
        self._decoded.clear()
        self._rows = array("q")
