"""The thread of a cassette: appends in groups, and re-reads, in the order they were asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from attrs import frozen
from twisted.internet.defer import Deferred

from buffr.errors import BuffrError, StoreFailed
from buffr.interaction import HTTPInteraction, Interaction, RecordedRequest
from buffr.message import ResponseHead
from buffr.stores.cassette_file import Status
from buffr.stores.cassette_ledger import Ledger
from buffr.stores.cassette_reading import News
from buffr.stores.elements import KeyOf
from buffr.stores.spans import Text

__all__ = ["Append", "CassetteThread", "Free", "Outcome", "Refresh", "Stop", "let_others_run"]

_GROUP_BYTES = 8 << 20


@frozen(eq=False)
class Append:
    """Keep an interaction, whose bodies take so many bytes of memory."""

    interaction: Interaction
    size_bytes: int
    done: Deferred[None]


@frozen(eq=False)
class Refresh:
    """Read the file again if it changed."""


@frozen(eq=False)
class Free:
    """Give the memory of texts back."""

    texts: list[Text]


@frozen(eq=False)
class Stop:
    """End the thread, after all that was asked for before."""


Job = Append | Refresh | Free | Stop


@frozen(eq=False)
class Outcome:
    """What came of some jobs: what is now known of the file, and which jobs are done.

    ``news`` are in order. All of ``appends`` share one fate: ``failure``, or
    none. ``fault`` says why a refresh came to nothing.
    """

    news: Sequence[News]
    status: Status | None
    appends: Sequence[Append] = ()
    failure: StoreFailed | None = None
    refreshed: bool = False
    fault: str = ""
    stopped: bool = False


class CassetteThread:
    """Owns the ledger from its start on. ``land`` is called on this thread, per outcome."""

    def __init__(
        self,
        ledger: Ledger,
        digests: Callable[[], Sequence[KeyOf]],
        land: Callable[[Outcome], None],
    ) -> None:
        self._ledger = ledger
        self._digests = digests
        self._land = land
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._thread: Thread | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def put(self, job: Job) -> None:
        if self._thread is None:
            self._ledger.reader.pause = let_others_run
            # A daemon, so that a process which forgot to close still ends.
            self._thread = Thread(target=self._run, name=f"cassette {self._ledger.file.path}")
            self._thread.daemon = True
            self._thread.start()
        self._jobs.put(job)

    def _run(self) -> None:
        job = self._jobs.get()
        while not isinstance(job, Stop):
            if isinstance(job, Append):
                group, following = self._group(job)
                self._append(group)
                job = following or self._jobs.get()
                continue
            if isinstance(job, Free):
                _free(job.texts)
            else:
                self._refresh(refreshed=True)
            job = self._jobs.get()
        self._refresh(stopped=True)

    def _group(self, first: Append) -> tuple[list[Append], Job | None]:
        """The appends that wait, up to a size, and the job behind them that is none."""
        group = [first]
        size = first.size_bytes
        while size < _GROUP_BYTES and not self._jobs.empty():
            job = self._jobs.get()
            if not isinstance(job, Append):
                return group, job
            group.append(job)
            size += job.size_bytes
        return group, None

    def _append(self, group: list[Append]) -> None:
        failure = None
        try:
            self._ledger.append([job.interaction for job in group], self._digests())
        except Exception as error:  # noqa: BLE001  # the thread must live on
            if len(group) > 1:
                for job in group:  # one that cannot be written must not take others with it
                    self._append([job])
                return
            failure = self._failure(group[0].interaction, error)
        self._land(
            Outcome(self._ledger.take_news(), self._ledger.seen, appends=group, failure=failure)
        )

    def _failure(self, interaction: Interaction, error: Exception) -> StoreFailed:
        old = interaction.request
        bare = RecordedRequest(old.method, old.target, old.headers)
        head = ResponseHead(interaction.response.status, b"", ())
        request = self._ledger.redact(b"")(HTTPInteraction(bare, head)).request
        name = f"{request.method.decode('latin-1')} {request.target.decode('latin-1')}"
        failure = StoreFailed(f"{name} was not recorded: {_said(error)}")
        failure.__cause__ = error
        return failure

    def _refresh(self, *, refreshed: bool = False, stopped: bool = False) -> None:
        fault = ""
        try:
            self._ledger.refresh(self._digests())
            if self._ledger.owes:
                self._ledger.append((), self._digests())
        except Exception as error:  # noqa: BLE001  # the thread must live on
            fault = _said(error)
        self._land(
            Outcome(
                self._ledger.take_news(),
                self._ledger.seen,
                refreshed=refreshed,
                fault=fault,
                stopped=stopped,
            )
        )


def let_others_run() -> None:
    """A sleep, however short, hands the interpreter to a waiting reactor at once."""
    time.sleep(0.0005)


def _free(texts: list[Text]) -> None:
    """By halves: to free a large text at once holds the interpreter for long."""
    for text in texts:
        with suppress(BufferError):
            while isinstance(text, bytearray) and len(text) > _GROUP_BYTES:
                del text[len(text) // 2 - 1 :]
                let_others_run()


def _said(error: Exception) -> str:
    if isinstance(error, BuffrError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return f"{type(error).__name__}: {error}"
