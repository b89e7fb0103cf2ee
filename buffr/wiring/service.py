"""The service tree's root: what starts together, and stops in order."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import ILogObserver, LogLevel
from twisted.python.components import Componentized

from buffr.errors import BuffrError
from buffr.exchanges.engine import Engine
from buffr.exchanges.explain import Explainer
from buffr.listeners.listener import HTTPListener
from buffr.log import say
from buffr.upstream.hops import Announced, announce_port
from buffr.wiring.live_gateway import LiveGateway
from buffr.wiring.scoped_routes import ScopedRoutes
from buffr.wiring.upstreams import Upstreams

__all__ = ["BuffrService", "stop_on_signals"]


class Stores(Protocol):
    """The stores of one kind."""

    def open_all(self) -> None:
        """Open all that are known so far. Blocks. Raises a ``BuffrError``."""

    async def close(self) -> None:
        """Keep what waits, and let go of the files."""


class StartRefused(SystemExit, Exception):  # it refuses, and is no error of ours
    """Ends the process with exit code 1, after the log has said why.

    It is an ``Exception``, too: of nothing else does twistd's daemon tell the
    process that waits for its start, which then waits for good.
    """

    def __init__(self, why: str) -> None:
        super().__init__(1)
        self.why = why

    def __str__(self) -> str:
        return self.why


class BuffrService(MultiService):
    """Listeners, the engine behind them, and what it holds.

    Starting opens the cassettes, then the ports; a fault ends the process
    with a line and exit code 1. Stopping closes the ports, lets running
    exchanges finish within ``grace_s`` seconds, keeps what was recorded, and
    lets go of the rest. ``observer`` takes the process's log events.
    ``explainers`` get ready for misses once the ports are open.
    """

    def __init__(
        self,
        listeners: Sequence[HTTPListener],
        engine: Engine,
        *,
        stores: Sequence[Stores],
        upstreams: Upstreams,
        grace_s: float,
        warnings: Sequence[str],
        observer: ILogObserver | None,
        explainers: Iterable[Explainer] = (),
    ) -> None:
        super().__init__()
        self.listeners = tuple(listeners)
        self.engine = engine
        self.gateway: LiveGateway | None = None
        self.scopes: ScopedRoutes | None = None
        self._stores = tuple(stores)
        self._upstreams = upstreams
        self._grace_s = grace_s
        self._warnings = tuple(warnings)
        self._observer = observer
        self._explainers = explainers
        self._announced: list[Announced | None] = []
        for listener in listeners:
            listener.setServiceParent(self)

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Join an application, and give it the log's observer."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        try:
            self.open()
            # What was loaded stays for good: no later collection need look at it.
            gc.collect()
            gc.freeze()
            self.listen()
        except BuffrError as error:
            say(LogLevel.critical, str(error))
            raise StartRefused(error.message) from None

    def open(self) -> None:
        """Read the cassettes, open the caches, see whether they can be written.

        Raises a ``BuffrError``.
        """
        for warning in self._warnings:
            say(LogLevel.warn, warning)
        for stores in self._stores:
            stores.open_all()

    def listen(self) -> None:
        """Open the ports, and tell other buffrs on this machine. Raises ``ConfigError``."""
        super().startService()
        self._announced = [announce_port(listener.port) for listener in self.listeners]
        for explainer in self._explainers:
            explainer.begin()

    def stopService(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.engine.close_sessions()
        await gatherResults(
            [Deferred.fromCoroutine(listener.stop(self._grace_s)) for listener in self.listeners]
        )
        for announced in filter(None, self._announced):
            announced.close()
        await self.engine.stop()
        self._upstreams.close()
        for stores in self._stores:
            await stores.close()
        await maybeDeferred(super().stopService)


def stop_on_signals(reactor: Any) -> None:
    """Stop in order, with exit code 0, on SIGTERM and SIGINT; at once on a second one.

    Twisted's own handlers make the process die of the signal afterwards.
    """
    stopping = False

    def install() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            reactor.callFromThread(reactor.stop)
            return
        # Not at the first one: of a signal that came meanwhile, and finds its handler
        # gone, Python makes an OSError wherever the reactor is.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    reactor.callWhenRunning(install)
