"""The thread of a cassette: appends in groups, and work that requests wait for before them.

Its backlog is bounded: writers that are faster than the disk are held back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, assert_never

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.stores.cassette.index import Filing
from buffr.stores.cassette.ledger import FileState, Ledger, Waiting
from buffr.stores.cassette.preparing import Append, Preparations
from buffr.stores.cassette.reading import Appended, FileChange
from buffr.stores.interactions import in_words, not_recorded
from buffr.transport.streams import Signal

__all__ = [
    "Backlog",
    "CassetteThread",
    "EndThread",
    "JobResults",
    "Refresh",
    "Work",
    "let_others_run",
]

_GROUP_BYTES = 8 << 20
_IDLE_S = 3.0


@frozen(eq=False)
class Refresh:
    """Read the file again if it changed."""


@frozen(eq=False)
class Work:
    """Run a function that takes too long for the reactor. ``done`` gets its result, or failure."""

    run: Callable[[], Any]
    done: Deferred[Any]


@frozen(eq=False)
class EndThread:
    """End the thread, after everything that was requested before."""


CassetteJob = Append | Refresh | Work | EndThread


@frozen(eq=False)
class JobResults:
    """The results of jobs: what is now known about the file, and which jobs are done.

    ``news`` are in order. All of ``appends`` have the same result:
    ``failure``, or success. ``fault`` says why a refresh failed. ``result`` is
    that of ``work``.
    """

    news: Sequence[FileChange]
    known: FileState
    appends: Sequence[Append] = ()
    failure: StoreFailed | None = None
    refreshed: bool = False
    fault: str = ""
    work: Work | None = None
    result: object = None
    stopped: bool = False


class CassetteThread:
    """Owns the ledger once started. ``land`` is called on this thread, with each result.

    Refreshes and work precede waiting appends: requests wait for them. Large
    interactions come from the threads that have searched them.
    """

    def __init__(
        self,
        ledger: Ledger,
        keys: Callable[[], Sequence[Filing]],
        land: Callable[[JobResults], None],
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._land = land
        self._urgent: deque[Refresh | Work] = deque()
        self._jobs: SimpleQueue[Append | EndThread | None] = SimpleQueue()
        self._preparations = Preparations(ledger.prepared, self._jobs.put)
        self._thread: Thread | None = None
        self._landed = FileState(None)

    @property
    def started(self) -> bool:
        return self._thread is not None

    def begin(self) -> None:
        """Start it, if that was not done. Raises ``RuntimeError`` if the system has none left."""
        if self._thread is not None:
            return
        self._ledger.reader.pause = let_others_run
        self._landed = self._ledger.known
        # A daemon, so that a process that forgot to close still ends.
        thread = Thread(target=self._run, name=f"cassette {self._ledger.file.path}", daemon=True)
        thread.start()
        self._thread = thread

    def put(self, job: CassetteJob) -> None:
        self.begin()
        match job:
            case Append():
                self._preparations.put(job)
            case EndThread():
                self._jobs.put(job)
            case Refresh() | Work():
                self._urgent.append(job)
                self._jobs.put(None)  # to wake it
            case other:
                assert_never(other)

    def _run(self) -> None:
        self._work()
        # What was still being prepared is in the queue then, behind the job that ended the work.
        self._preparations.finish()
        self._jobs.put(EndThread())
        self._work()
        self._refresh(stopped=True)
        self._ledger.release()

    def _work(self) -> None:
        job = self._next()
        while not isinstance(job, EndThread):
            while self._urgent:
                self._hurry(self._urgent.popleft())
            if job is None:
                job = self._next()
                continue
            group, job = self._group(job)
            self._append(group)

    def _next(self) -> Append | EndThread | None:
        """The next job; ``None`` if there may be urgent ones."""
        while self._ledger.remembers:
            try:
                return self._jobs.get(timeout=_IDLE_S)
            except Empty:
                self._ledger.forget_old()
        return self._jobs.get()

    def _group(self, first: Append) -> tuple[list[Append], Append | EndThread | None]:
        """The waiting appends, up to a size, and the job after them."""
        group = [first]
        size = first.size_bytes
        while size < _GROUP_BYTES and not self._jobs.empty():
            job = self._jobs.get()
            if not isinstance(job, Append):
                return group, job
            group.append(job)
            size += job.size_bytes
        return group, None

    def _hurry(self, job: Refresh | Work) -> None:
        if isinstance(job, Refresh):
            self._refresh(refreshed=True)
            return
        try:
            result = job.run()
        except Exception:  # noqa: BLE001  # the thread must live on
            result = Failure()
        self._land(JobResults(self._take_changes(), self._ledger.known, work=job, result=result))

    def _append(self, group: list[Append]) -> None:
        failure = None
        try:
            self._ledger.append([_waiting(job) for job in group], self._keys())
        except Exception as error:  # noqa: BLE001  # the thread must live on
            if len(group) > 1:
                for job in group:  # one failure must not affect the others
                    self._append([job])
                return
            failure = not_recorded(self._ledger.redact, group[0].interaction, error)
        news, known = self._take_changes(), self._ledger.known
        self._land(JobResults(news, known, appends=group, failure=failure))

    def _take_changes(self) -> list[FileChange]:
        """The changes, in parts that the reactor handles one by one.

        All but the last part are handled before this returns. Until then the
        file counts as unchanged, so that nothing looks for what is still to
        come.
        """
        keys, changes = self._keys(), list[FileChange]()
        for item in self._ledger.take_changes():
            for part in item.parts(keys) if isinstance(item, Appended) else (item,):
                changes.append(part)
                if len(changes) > 1:
                    self._land(JobResults([changes.pop(0)], self._landed))
                    let_others_run()
        self._landed = self._ledger.known
        return changes

    def _refresh(self, *, refreshed: bool = False, stopped: bool = False) -> None:
        fault = ""
        try:
            self._ledger.refresh(self._keys())
            if self._ledger.owes:
                self._ledger.append((), self._keys())
        except Exception as error:  # noqa: BLE001  # the thread must live on
            fault = in_words(error)
        self._land(
            JobResults(
                self._take_changes(),
                self._ledger.known,
                refreshed=refreshed,
                fault=fault,
                stopped=stopped,
            )
        )


def _waiting(job: Append) -> Waiting:
    """An interaction for the ledger. Raises the error of its preparation."""
    if isinstance(job.outcome, Exception):
        raise job.outcome
    return job.interaction, job.outcome


def let_others_run() -> None:
    """A sleep, however short, releases the interpreter's lock to a waiting reactor at once."""
    time.sleep(0.0005)


@define(eq=False)
class Backlog:
    """Admits as many as fit into ``most`` and ``most_bytes``; a single one whatever its size.

    None is rejected: rejecting a recording would lose it.
    """

    most: int
    most_bytes: int
    held: int = field(init=False, default=0)
    """The number of admitted items."""
    _bytes: int = field(init=False, default=0)
    _outside: int = field(init=False, default=0)
    _news: Signal = field(init=False, factory=Signal)

    async def enter(self, size_bytes: int) -> None:
        """Return once there is space, and take it."""
        self._outside += 1
        try:
            while self.held and (
                self.held >= self.most or self._bytes + size_bytes > self.most_bytes
            ):
                await self._news.wait()
            self.held += 1
            self._bytes += size_bytes
        finally:
            self._outside -= 1
            if not self._outside:
                self._news.notify()

    def leave(self, size_bytes: int) -> None:
        """Release space."""
        self.held -= 1
        self._bytes -= size_bytes
        self._news.notify()

    async def all_let_in(self) -> None:
        """Return once nothing is waiting."""
        while self._outside:
            await self._news.wait()
