"""The thread of a cache file: writes in groups, and long removals in slices between them."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import zstandard
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.stores.cache import CacheEntry
from buffr.stores.sqlite.file import CacheFile, is_broken, said
from buffr.stores.sqlite.ledger import Bounds, Change, Criteria, EntryWriter, Refreshed, Removed
from buffr.stores.sqlite.rows import EntryRow, body_of, row_of

__all__ = [
    "Clear",
    "Damaged",
    "Load",
    "Put",
    "Stop",
    "Sweep",
    "Uses",
    "Work",
    "Write",
    "WriterJob",
    "WriterResults",
    "WriterThread",
]

_GROUP_BYTES = 8 << 20
_GROUP_JOBS = 1024

_BODY = "SELECT body, coding, body_bytes FROM entries WHERE place = ?"


@frozen(eq=False)
class Put:
    """Store an entry at a place."""

    place: int
    entry: CacheEntry


@frozen(eq=False)
class Write:
    """One change, with its time."""

    change: Put | Refreshed | Removed
    now: float
    done: Deferred[None]


@frozen(eq=False)
class Uses:
    """When places were last used."""

    at: Mapping[int, float]


@frozen(eq=False)
class Load:
    """Read a large body."""

    place: int
    done: Deferred[bytes | None]


@frozen(eq=False)
class Clear:
    """Remove entries."""

    criteria: Criteria
    done: Deferred[int]


@frozen(eq=False)
class Sweep:
    """Remove useless entries."""

    done: Deferred[int] | None


@frozen(eq=False)
class Damaged:
    """A lookup found the file damaged."""

    why: str
    inode: int


@frozen(eq=False)
class Work:
    """Run a function with the writing connection; again with a new file if this one is damaged."""

    act: Callable[[sqlite3.Connection], object]
    done: Deferred[Any]


@frozen(eq=False)
class Stop:
    """End the thread, after everything that was requested before."""

    done: Deferred[None]


WriterJob = Write | Uses | Load | Clear | Sweep | Damaged | Work | Stop


@frozen(eq=False)
class WriterResults:
    """The results of jobs. ``reopened`` says that another file is at the path now.

    ``compressed`` counts the bodies that were stored compressed.
    """

    results: Sequence[tuple[WriterJob, object]] = ()
    compressed: int = 0
    reopened: bool = False


@define(eq=False)
class WriterThread:
    """Owns the writing connection. ``land`` is called on this thread.

    ``wall`` is the clock in seconds since the epoch. Expired entries are
    removed every ``sweep_every_s``.
    """

    file: CacheFile
    bounds: Bounds
    wall: Callable[[], float]
    land: Callable[[WriterResults], None]
    sweep_every_s: float
    _jobs: SimpleQueue[WriterJob] = field(init=False, factory=SimpleQueue)
    _chores: deque[Iterator[None]] = field(init=False, factory=deque)
    _compressor: zstandard.ZstdCompressor = field(init=False, factory=zstandard.ZstdCompressor)
    _decompressor: zstandard.ZstdDecompressor = field(
        init=False, factory=zstandard.ZstdDecompressor
    )
    _connection: sqlite3.Connection | None = field(init=False, default=None)
    _thread: Thread = field(init=False)

    def start(self) -> None:
        # A daemon, so that a process that forgot to close still ends.
        self._thread = Thread(target=self._run, name=f"cache {self.file.path}", daemon=True)
        self._thread.start()

    def put(self, job: WriterJob) -> None:
        self._jobs.put(job)

    def _run(self) -> None:
        swept_at = self.wall()
        while True:
            group = self._group()
            if not self._chores and abs(self.wall() - swept_at) >= self.sweep_every_s:
                swept_at = self.wall()
                self._look()
                self._chores.append(self._swept(Sweep(None)))
            for job in self._after_writes(group):
                match job:
                    case Load():
                        self._load(job)
                    case Clear():
                        self._chores.append(self._cleared(job))
                    case Sweep():
                        self._chores.append(self._swept(job))
                    case Damaged(why, inode):
                        if inode == self.file.inode:
                            self._begin_anew(why)
                    case Work():
                        self._work(job)
                    case Stop():
                        self._stop(job)
                        return
            self._step()

    def _group(self) -> list[WriterJob]:
        """The waiting jobs, up to a size."""
        jobs: list[WriterJob] = []
        size = 0
        with suppress(Empty):
            if not self._chores:
                jobs.append(self._jobs.get(timeout=self.sweep_every_s))
                size += _size(jobs[-1])
            while len(jobs) < _GROUP_JOBS and size < _GROUP_BYTES:
                jobs.append(self._jobs.get_nowait())
                size += _size(jobs[-1])
        return jobs

    def _after_writes(self, group: list[WriterJob]) -> Iterator[WriterJob]:
        """Perform all writes at once; yield the other jobs, in their order among the writes."""
        writes: list[Write] = []
        uses: dict[int, float] = {}
        for job in group:
            match job:
                case Write():
                    writes.append(job)
                case Uses(at):
                    uses.update(at)
                case _:
                    self._write(writes, uses)
                    writes, uses = [], {}
                    yield job
        self._write(writes, uses)

    def _write(self, writes: Sequence[Write], uses: Mapping[int, float]) -> None:
        results: list[tuple[WriterJob, object]] = []
        changes: list[tuple[Change, float]] = []
        ready: list[Write] = []
        for job in writes:
            try:
                changes.append((self._change(job), job.now))
                ready.append(job)
            except Exception as error:  # noqa: BLE001  # the thread must live on
                results.append((job, self._failure(error)))
        compressed = 0
        if changes or uses:
            try:
                self._tried(lambda ledger: ledger.write(changes, uses))
                results += [(job, None) for job in ready]
                rows = [change for change, _ in changes if isinstance(change, EntryRow)]
                compressed = sum(row.compressed for row in rows)
            except Exception as error:  # noqa: BLE001  # as above
                if len(ready) > 1 and not _passes(error):
                    for job in ready:  # one failure must not affect the others
                        self._write([job], {})
                else:
                    results += [(job, self._failure(error)) for job in ready]
        if results:
            self.land(WriterResults(results, compressed))

    def _change(self, job: Write) -> Change:
        change = job.change
        if isinstance(change, Put):
            return row_of(change.entry, change.place, self._compressor)
        return change

    def _tried(self, action: Callable[[EntryWriter], None]) -> None:
        """Act on the file; again on a new one if it turns out to be damaged."""
        try:
            action(self._ledger())
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            self._begin_anew(said(error))
            action(self._ledger())

    def _ledger(self) -> EntryWriter:
        if self._connection is None:
            self._connection = self.file.writer()
        return EntryWriter(self._connection, self.bounds)

    def _look(self) -> None:
        """Open the file at the path, if it was replaced."""
        if self.file.replaced():
            self.file.warn(f"cache {self.file.path}: the file was replaced; it is opened again")
            self._reopen()

    def _begin_anew(self, why: str) -> None:
        self._let_go()
        self.file.begin_anew(why)
        self._reopen()

    def _reopen(self) -> None:
        self._let_go()
        try:
            self.file.prepare()
        except StoreFailed as error:
            self.file.warn(str(error))
        else:
            self.land(WriterResults(reopened=True))

    def _let_go(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _work(self, job: Work) -> None:
        results: list[object] = []
        try:
            self._tried(lambda ledger: results.append(job.act(ledger.connection)))
        except Exception as error:  # noqa: BLE001  # as above
            results.append(Failure(error))
        self.land(WriterResults([(job, results[-1])]))

    def _load(self, job: Load) -> None:
        try:
            row = self._ledger().connection.execute(_BODY, (job.place,)).fetchone()
            if row is not None:
                kept, coding, body_bytes = row
                row = body_of(kept, coding, body_bytes, self._decompressor)
            self.land(WriterResults([(job, row)]))
        except Exception as error:  # noqa: BLE001  # as above
            self.land(WriterResults([(job, self._failure(error))]))

    def _cleared(self, job: Clear) -> Iterator[None]:
        return self._chore(job, lambda: self._ledger().clear(job.criteria))

    def _swept(self, job: Sweep) -> Iterator[None]:
        return self._chore(job, lambda: self._ledger().sweep(self.wall()))

    def _chore(self, job: Clear | Sweep, begin: Callable[[], Iterator[int]]) -> Iterator[None]:
        removed = 0
        try:
            for count in begin():
                removed += count
                yield
            self.land(WriterResults([(job, removed)]))
        except Exception as error:  # noqa: BLE001  # as above
            if isinstance(error, sqlite3.DatabaseError) and is_broken(error):
                self._begin_anew(said(error))
            self.land(WriterResults([(job, self._failure(error))]))

    def _step(self) -> None:
        if self._chores:
            chore = self._chores.popleft()
            for _ in chore:
                self._chores.append(chore)
                break

    def _stop(self, job: Stop) -> None:
        while self._chores:
            self._step()
        self._let_go()
        self.land(WriterResults([(job, None)]))

    def _failure(self, error: Exception) -> StoreFailed:
        if isinstance(error, StoreFailed):
            return error
        return StoreFailed(f"cache {self.file.path}: {said(error)}")


def _size(job: WriterJob) -> int:
    if isinstance(job, Write) and isinstance(job.change, Put):
        return job.change.entry.body.size_bytes
    return 0


def _passes(error: Exception) -> bool:
    """Whether an error is temporary, and not about the data to write."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY)
