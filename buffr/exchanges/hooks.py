"""Runs the hooks of a route: the user's own functions, on a thread, and for a limited time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar, cast

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from buffr.errors import HookFailed
from buffr.interaction import HTTPInteraction, Interaction, RecordedRequest, WebSocketInteraction

__all__ = ["HookThread", "Hooks"]

_MOST_WAITING = 1024
_MOST_STUCK = 8
_LONGEST_WHY = 200

T = TypeVar("T")
Recording = TypeVar("Recording", bound=Interaction)


@define(eq=False)
class _Job:
    """A call that waits for its turn, or runs. ``done`` is fired once."""

    name: str
    run: Callable[[], Any]
    done: Deferred[Any] = field(factory=Deferred)
    limit: IDelayedCall | None = None


class HookThread:
    """Runs one call after the other, so that hooks need no locks.

    A call that exceeds ``limit_s`` seconds fails, and is left to itself: a new
    thread goes on with the others. ``reactor`` is where results are awaited.
    """

    def __init__(self, reactor: Any, limit_s: float) -> None:
        self._reactor = reactor
        self._limit_s = limit_s
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stuck = 0

    async def run(self, name: str, call: Callable[[], T]) -> T:
        """The result of a call. Raises ``HookFailed`` with the hook's name."""
        if self._stuck >= _MOST_STUCK:
            raise HookFailed(f"{name}: {_MOST_STUCK} earlier calls of hooks have not ended")
        job = _Job(name, call)
        with self._news:
            if len(self._jobs) >= _MOST_WAITING:
                raise HookFailed(f"{name}: {_MOST_WAITING} calls of hooks are waiting")
            self._jobs.append(job)
            self._news.notify()
        if self._thread is None:
            self._begin()
        return cast("T", await job.done)

    def _begin(self) -> None:
        # A daemon: a hook that never ends does not keep buffr from ending.
        self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            with self._news:
                while not self._jobs:
                    self._news.wait()
                if threading.current_thread() is not self._thread:
                    self._news.notify()  # another has taken over
                    return
                job = self._jobs.popleft()
            self._reactor.callFromThread(self._started, job)
            try:
                result, failure = job.run(), None
            except Exception as error:  # noqa: BLE001  # the user's code
                result, failure = None, _failed(job.name, error)
            self._reactor.callFromThread(self._ended, job, result, failure)

    def _started(self, job: _Job) -> None:
        if not job.done.called:
            job.limit = self._reactor.callLater(self._limit_s, self._too_long, job)

    def _too_long(self, job: _Job) -> None:
        self._stuck += 1
        self._begin()
        with self._news:
            self._news.notify_all()
        text = f"{job.name} took longer than {self._limit_s:g}s (limits.hook)"
        job.done.errback(HookFailed(text, hint="make it faster, or raise the limit"))

    def _ended(self, job: _Job, result: Any, failure: HookFailed | None) -> None:
        if job.limit is not None and job.limit.active():
            job.limit.cancel()
        elif job.limit is not None:  # it was given up
            self._stuck -= 1
            return
        if job.done.called:  # its client has left
            return
        if failure is None:
            job.done.callback(result)
        else:
            job.done.errback(failure)


def _failed(name: str, error: Exception) -> HookFailed:
    """The error, with the last line at which it passed."""
    last = extract_tb(error.__traceback__)[-1]
    why = str(error)[:_LONGEST_WHY]
    text = f"{type(error).__name__}: {why}" if why else type(error).__name__
    return HookFailed(f"{name} raised {text} ({Path(last.filename).name}:{last.lineno})")


@frozen(eq=False)
class Hooks:
    """The hooks of one module; a function that it does not have is ``None``."""

    path: Path
    thread: HookThread
    before_match: Callable[[RecordedRequest], Any] | None = None
    before_record: Callable[[Interaction], Any] | None = None
    before_replay: Callable[[Interaction, RecordedRequest], Any] | None = None

    async def matched(self, request: RecordedRequest) -> RecordedRequest:
        """The request as it is looked up and recorded."""
        hook = self.before_match
        if hook is None:
            return request
        name = self._named("before_match")
        changed = await self.thread.run(name, lambda: hook(request))
        return self._checked(name, changed, RecordedRequest)

    async def recorded(self, interaction: Recording) -> Recording | None:
        """The interaction to keep; ``None`` for none."""
        hook = self.before_record
        if hook is None:
            return interaction
        name = self._named("before_record")
        changed = await self.thread.run(name, lambda: hook(interaction))
        return None if changed is None else self._checked(name, changed, type(interaction))

    async def replayed(self, interaction: Recording, request: RecordedRequest) -> Recording:
        """The interaction to replay to this request."""
        hook = self.before_replay
        if hook is None:
            return interaction
        name = self._named("before_replay")
        changed = await self.thread.run(name, lambda: hook(interaction, request))
        return self._checked(name, changed, type(interaction))

    def _named(self, hook: str) -> str:
        return f"the hook {hook} of {self.path}"

    def _checked(self, name: str, changed: object, kind: type[T]) -> T:
        if not isinstance(changed, kind):
            allowed = (HTTPInteraction, WebSocketInteraction, RecordedRequest)
            known = kind.__name__ if kind in allowed else "an interaction"
            raise HookFailed(f"{name} returned {type(changed).__name__}; must be {known}")
        return changed
