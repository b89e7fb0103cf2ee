"""The root of the service tree: starts everything, and stops it in order."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from twisted.application.service import IServiceCollection, MultiService, Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, LogLevel
from twisted.python.components import Componentized

from buffr.errors import BuffrError
from buffr.exchanges.engine import Engine
from buffr.exchanges.explain import Explainer
from buffr.exchanges.route import Route
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.listener import HTTPListener
from buffr.log import say
from buffr.upstream.hops import Announced, announce_port
from buffr.wiring.scoped_routes import ScopedRoutes
from buffr.wiring.upstreams import Upstreams

if TYPE_CHECKING:
    from buffr.wiring.admin_listener import AdminListener
    from buffr.wiring.fleet_messages import FleetMessages
    from buffr.wiring.live_gateway import LiveGateway

__all__ = ["BuffrService", "Repeated", "stop_on_signals"]


class Stores(Protocol):
    """The stores of one kind."""

    def open_all(self) -> None:
        """Open all that are known so far. Blocks. Raises a ``BuffrError``."""

    async def close(self) -> None:
        """Write pending data, and close the files."""


class StartRefused(SystemExit, Exception):  # a refusal, not a BuffrError
    """Ends the process with exit code 1, after the log has said why.

    It is also an ``Exception``: twistd's daemon reports nothing else to the
    process that waits for its start, which would wait forever.
    """

    def __init__(self, why: str) -> None:
        super().__init__(1)
        self.why = why

    def __str__(self) -> str:
        return self.why


class Repeated(Service):
    """Calls a function at an interval, while it runs.

    As Twisted's ``TimerService``, whose module takes as long to import as a
    quarter of the rest of Twisted that serves, since it makes a state machine.
    """

    def __init__(self, function: Callable[[], object], every_s: float, clock: IReactorTime) -> None:
        self._every_s = every_s
        self._loop = LoopingCall(function)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(self._every_s, now=False).addErrback(_failed)

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()


def _failed(failure: object) -> None:
    say(LogLevel.error, "defect", err=str(failure))


class BuffrService(MultiService):
    """The listeners, their engine, stores and upstreams.

    Starting opens the cassettes, then the ports; an error ends the process
    with a line and exit code 1. Stopping closes the ports, lets exchanges in
    progress finish within ``grace_s`` seconds, writes pending recordings, and
    releases the rest. ``observer`` receives the process's log events.
    ``explainers`` prepare for misses once the ports are open.
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
        self.reverse_routes: tuple[Route, ...] = ()
        self.engine = engine
        self.gateway: LiveGateway | None = None
        self.scopes: ScopedRoutes | None = None
        self.admin: AdminListener | None = None
        self.fleet: FleetMessages | None = None
        self.forward: ForwardProxy | None = None
        self.listening: Callable[[], None] = lambda: None
        """Called when everything listens."""
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
        """Join an application, and set its log observer."""
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        try:
            self.open()
            # Loaded data stays: later collections need not examine it.
            gc.collect()
            gc.freeze()
            # What is kept of each exchange is no garbage: looked through less often, it costs less.
            gc.set_threshold(2_000, 10, 10)
            self.listen()
        except BuffrError as error:
            say(LogLevel.critical, str(error))
            raise StartRefused(error.message) from None

    def open(self) -> None:
        """Read the cassettes, open the caches, check whether they can be written.

        Raises a ``BuffrError``.
        """
        for warning in self._warnings:
            say(LogLevel.warn, warning)
        for stores in self._stores:
            stores.open_all()

    def listen(self) -> None:
        """Open the ports, and announce them on this machine. Raises ``ConfigError``."""
        super().startService()
        self._announced = [announce_port(listener.port) for listener in self.listeners]
        for explainer in self._explainers:
            explainer.begin()
        if self.fleet is not None:
            self.fleet.begin()
        if self.admin is not None:
            self.admin.start()
        self.listening()

    def stopService(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.engine.close_sessions()
        if self.admin is not None:
            await self.admin.stop()
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

    With Twisted's own handlers the process would die of the signal afterwards.
    """
    stopping = False

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            reactor.callFromThread(reactor.stop)
            return
        # Not at the first one: if the handler is gone when a pending signal is handled,
        # Python raises an OSError at an arbitrary point in the reactor.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    # At once, since the ports listen before the reactor runs. As it begins to run, it keeps a
    # handler of SIGINT that is there, and installs this method for SIGTERM.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    reactor.sigTerm = stop
