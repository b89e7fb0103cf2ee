"""The service tree's root: what starts together, and stops in order."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.logger import LogLevel

from buffr.engine import Engine
from buffr.errors import BuffrError
from buffr.listeners.listener import HTTPListener
from buffr.log import say

__all__ = ["BuffrService", "stop_on_signals"]


class BuffrService(MultiService):
    """Listeners, the engine behind them, and what it holds.

    Stopping closes the ports, lets running exchanges finish within
    ``grace_s`` seconds, keeps what was recorded, and lets go of the rest.
    """

    def __init__(
        self,
        listeners: Sequence[HTTPListener],
        engine: Engine,
        closers: Sequence[Callable[[], Awaitable[None]]],
        grace_s: float,
    ) -> None:
        super().__init__()
        self.listeners = tuple(listeners)
        self.engine = engine
        self._closers = tuple(closers)
        self._grace_s = grace_s
        for listener in listeners:
            listener.setServiceParent(self)

    def stopService(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await gatherResults(
            [Deferred.fromCoroutine(listener.stop(self._grace_s)) for listener in self.listeners]
        )
        await self.engine.stop()
        for close in self._closers:
            try:
                await close()
            except BuffrError as error:
                say(LogLevel.error, "closing failed", err=str(error))
        await super().stopService()


class IReactorToStop(IReactorCore, IReactorFromThreads):
    """A reactor that a signal's handler can ask to stop."""


def stop_on_signals(reactor: IReactorToStop) -> None:
    """Stop in order, with exit code 0, on SIGTERM and SIGINT; at once on a second one.

    Twisted's own handlers make the process die of the signal afterwards.
    """

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(reactor.stop)

    reactor.callWhenRunning(install)
