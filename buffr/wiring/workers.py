"""Several processes behind the same ports: a parent that holds the sockets and minds them.

The parent opens the sockets and never accepts from them. The workers do: so a
connection that waits to be accepted outlives the worker that would have
accepted it, and a rolling restart loses none.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated, ReactorNotRunning
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import ILogObserver, LogLevel
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from buffr.config import Config
from buffr.config.caching import CacheSettings
from buffr.errors import ConfigError
from buffr.log import FORMATS, LineObserver, say
from buffr.origin import host_and_port
from buffr.policy.mode import Mode
from buffr.transport.ports import Balance, Share
from buffr.transport.streams import Signal
from buffr.wiring.access_keys import new_key, with_keys
from buffr.wiring.service import BuffrService, StartRefused

if TYPE_CHECKING:
    from buffr.wiring.workers_admin import WorkerPlace, WorkersAdmin

__all__ = ["Worker", "Workers", "check_workers", "worker_count"]

_VARIABLE = "_BUFFR_WORKER"
_BACKLOG = 1024
_FIRST_FD = 3
_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 30.0
_STEADY_S = 10.0
"""A worker that ends after so long starts again at once."""
_KILL_AFTER_S = 5.0
"""Added to the grace period of exchanges in progress, for what is still to be written."""


def worker_count(config: Config) -> int:
    """The number of processes; 0 in the settings means one for each core."""
    if config.workers:
        return config.workers
    cores = getattr(os, "sched_getaffinity", None)  # which not every system has
    return len(cores(0)) if cores is not None else os.cpu_count() or 1


def check_workers(config: Config) -> None:
    """Raise ``ConfigError`` if some route's state is not common to several processes."""
    if with_keys(config) is not config:
        raise ConfigError(
            "workers: each would make an access key of its own",
            hint="run `buffr key`, and set access.key (BUFFR_KEY)",
        )
    for name, mode, cache, limited in _rows(config):
        store = cache.store
        if store is not None and store.server is not None:
            continue
        server = "give it a store that workers share: store: redis://HOST"
        if mode.uses_cassette:
            raise ConfigError(
                f"{name}: several workers would each count the recordings that they played, and "
                "so would replay them in another order than they were recorded in",
                hint=f"{server} (buffr cassette push brings a cassette there), or workers: 1",
            )
        if limited:
            raise ConfigError(
                f"{name}.limits: several workers would each allow as many requests",
                hint=f"{server}, or workers: 1",
            )
        if mode is Mode.CACHE and store is not None and store.path is None:
            raise ConfigError(
                f"{name}.store: memory: is not common to several workers",
                hint="use sqlite:FILE or redis://HOST, or workers: 1",
            )


def _rows(config: Config) -> Iterator[tuple[str, Mode, CacheSettings, bool]]:
    for number, row in enumerate(config.reverse):
        yield f"reverse[{number}]", row.mode, row.cache, row.limits is not None
    if config.gateway is not None:
        for route in config.gateway.routes:
            name = f"gateway.routes.{route.name}"
            yield name, route.mode, route.cache, route.limits is not None
    if config.forward is not None:
        forward = config.forward
        yield "forward", forward.mode, forward.cache, forward.limits is not None
        for host in forward.hosts:
            name = f"forward.hosts ({host.host})"
            yield name, host.mode, host.cache, host.limits is not None


@define(eq=False)
class Worker:
    """What a process is told that is one ``of`` several: its number, its descriptors.

    ``balances`` belong to the ``sockets``. ``ready`` is where it says that it
    listens; standard input ends with the parent.
    """

    number: int
    of: int
    sockets: Sequence[int]
    balances: Sequence[int]
    ready: int
    token: str

    @classmethod
    def from_(cls, environ: MutableMapping[str, str]) -> Worker | None:
        """The worker that this process is, if it is one; its own children are none."""
        text = environ.pop(_VARIABLE, None)
        return None if text is None else cls(**json.loads(text))

    def mind(self, service: BuffrService, reactor: Any) -> None:
        """Have a service use the sockets, tell the parent when it listens, and end with it."""
        fds = zip(self.sockets, self.balances, strict=True)
        for listener, (fd, balance) in zip(service.listeners, fds, strict=True):
            listener.opened = [socket.socket(fileno=fd)]
            listener.share = Share(Balance(self.of, balance), self.number)
        announced = [listener.quiet() for listener in service.listeners]
        if service.admin is not None:
            service.admin.of_worker = True
        service.listening = partial(self._tell, service, announced)
        reactor.addReader(_Parent(reactor))

    def _tell(self, service: BuffrService, announced: Sequence[dict[str, str] | None]) -> None:
        lines = [
            {**fields, "addr": host_and_port(*listener.address)}
            for fields, listener in zip(announced, service.listeners, strict=True)
            if fields is not None
        ]
        admin = "" if service.admin is None else service.admin.url
        with os.fdopen(self.ready, "wb") as pipe:
            pipe.write(json.dumps({"lines": lines, "admin": admin}).encode() + b"\n")

    def settings(self, config: Config) -> Config:
        """The settings of this worker: its admin listener is for the parent."""
        address = evolve(config.admin.address, host="127.0.0.1", port=0, chosen=True)
        admin = evolve(config.admin, address=address, token=self.token.encode("ascii"))
        return evolve(config, workers=1, admin=admin)


class _Parent:
    """Standard input, which ends when the parent is gone."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def fileno(self) -> int:
        return 0

    def logPrefix(self) -> str:
        return "parent"

    def doRead(self) -> None:
        """The parent writes nothing."""
        os.read(0, 4096)

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002  # there is one reason
        with suppress(ReactorNotRunning):
            self._reactor.stop()


class _Running(ProcessProtocol):
    """One worker's process, from its start to its end."""

    def __init__(self, ready_fd: int, seconds: Callable[[], float]) -> None:
        self.lines: list[dict[str, str]] | None = None
        self.admin = ""
        self.status: int | None = None
        self.pid = 0
        self.started_s = seconds()
        self.news = Signal()
        self._ready_fd = ready_fd
        self._data = b""

    @property
    def over(self) -> bool:
        return self.status is not None

    def makeConnection(self, process: Any) -> None:
        self.pid = process.pid
        super().makeConnection(process)

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  # Twisted's
        if childFD == self._ready_fd:
            self._data += data
            if self._data.endswith(b"\n"):
                told = json.loads(self._data)
                self.lines, self.admin = told["lines"], told["admin"]
                self.news.notify()

    def processEnded(self, reason: Failure) -> None:
        error = reason.value
        self.status = 1
        if isinstance(error, ProcessDone | ProcessTerminated):
            self.status = error.status or 0
        self.news.notify()

    def send(self, number: signal.Signals) -> None:
        if self.pid and not self.over:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def why(self) -> str:
        status = self.status or 0
        if os.WIFSIGNALED(status):
            return f"signal {os.WTERMSIG(status)}"
        return f"exit code {os.waitstatus_to_exitcode(status)}"


class Workers(Service):
    """Starts ``count`` workers and minds them until the end.

    ``command`` starts one, with the same settings as this process. A worker
    that ends by itself is started again, with a growing pause if it does not
    live long. SIGHUP replaces one after the other.
    """

    def __init__(
        self, config: Config, command: Sequence[str], reactor: Any, *, on_console: bool
    ) -> None:
        self.exit_code = 0
        self._config = config
        self._count = worker_count(config)
        self._command = command
        self._reactor = reactor
        self._on_console = on_console
        self._sockets: list[socket.socket] = []
        chosen = config.admin.token
        self._token = new_key() if chosen is None else chosen.decode("ascii")
        self._admin: WorkersAdmin | None = None
        if config.admin.address.enabled:
            from buffr.wiring.workers_admin import WorkersAdmin  # noqa: PLC0415  # few need it

            self._admin = WorkersAdmin(
                config.admin, self._count, self._token, self._places, reactor
            )
        self._balances: list[Balance] = []
        self._running: dict[int, _Running] = {}
        self._back_off: dict[int, float] = {}
        self._timers: set[IDelayedCall] = set()
        self._listening = False
        self._stopping = False
        self._rolling: Deferred[None] | None = None

    def setServiceParent(self, parent: Any) -> None:
        if self._on_console and isinstance(parent, Componentized):
            observer = LineObserver(sys.stderr, FORMATS[self._config.log_format])
            parent.setComponent(ILogObserver, observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        try:
            self._sockets = [self._bound(port) for port in _ports(self._config)]
        except ConfigError as error:
            say(LogLevel.critical, str(error))
            raise StartRefused(error.message) from None
        self._balances = [Balance.new(self._count) for _ in self._sockets]
        signal.signal(signal.SIGHUP, self._asked_to_roll)
        self._reactor.callWhenRunning(self._start_all)

    def _bound(self, port: int) -> socket.socket:
        host = "127.0.0.1" if self._config.listen == "localhost" else self._config.listen
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, port))
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            raise ConfigError(
                f"cannot listen on {host_and_port(host, port)}: {error.strerror}",
                hint="choose another port, or stop what listens there",
            ) from error
        return made

    def _start_all(self) -> None:
        for number in range(self._count):
            self._start(number)

    def _start(self, number: int) -> _Running:
        ports = len(self._sockets)
        sockets = list(range(_FIRST_FD, _FIRST_FD + ports))
        balances = list(range(_FIRST_FD + ports, _FIRST_FD + 2 * ports))
        ready = _FIRST_FD + 2 * ports
        told = {
            "number": number,
            "of": self._count,
            "sockets": sockets,
            "balances": balances,
            "ready": ready,
            "token": self._token,
        }
        held = [*[one.fileno() for one in self._sockets], *[one.fd for one in self._balances]]
        running = _Running(ready, self._reactor.seconds)
        self._reactor.spawnProcess(
            running,
            self._command[0],
            list(self._command),
            env={**os.environ, _VARIABLE: json.dumps(told)},
            childFDs={
                0: "w",
                1: 1,
                2: 2,
                **dict(zip([*sockets, *balances], held, strict=True)),
                ready: "r",
            },
        )
        self._running[number] = running
        Deferred.fromCoroutine(self._mind(number, running)).addErrback(_defect)
        return running

    async def _mind(self, number: int, running: _Running) -> None:
        """Wait for a worker's end, and start it again unless it was to end."""
        while not running.over:
            self._announce()
            await running.news.wait()
        if self._stopping or self._running.get(number) is not running:
            return
        for balance in self._balances:
            balance.away(number)
        if not self._listening:
            # What is wrong is wrong for all, and that worker has said it.
            self.exit_code = 1
            self._stopping = True
            self._reactor.stop()
            return
        lived_s = self._reactor.seconds() - running.started_s
        wait_s = 0.0 if lived_s > _STEADY_S else self._back_off.get(number, _BACK_OFF_S)
        self._back_off[number] = min(2 * max(wait_s, _BACK_OFF_S / 2), _LONGEST_BACK_OFF_S)
        say(
            LogLevel.warn,
            "a worker ended and is started again",
            worker=str(number),
            ended=running.why(),
            after=f"{wait_s:g}s",
        )
        timer = self._reactor.callLater(wait_s, self._again, number)
        self._timers.add(timer)

    def _again(self, number: int) -> None:
        self._timers = {timer for timer in self._timers if timer.active()}
        if not self._stopping:
            self._start(number)

    def _announce(self) -> None:
        """Once all are ready, say where they listen."""
        lines = [running.lines for running in self._running.values()]
        first = lines[0] if lines else None
        if self._listening or len(lines) < self._count or None in lines or first is None:
            return
        self._listening = True
        for fields in first:
            say(LogLevel.info, "listening", **fields, workers=str(self._count))
        if self._admin is not None:
            self._start_admin(self._admin)

    def _start_admin(self, admin: WorkersAdmin) -> None:
        try:
            admin.start()
        except ConfigError as error:
            address = admin.settings.address
            if address.chosen:
                say(LogLevel.critical, str(error))
                self.exit_code = 1
                self._reactor.stop()
                return
            admin.settings = evolve(admin.settings, address=evolve(address, port=0))
            admin.start()

    def _places(self) -> Sequence[WorkerPlace]:
        from buffr.wiring.workers_admin import WorkerPlace  # noqa: PLC0415

        return [
            WorkerPlace(number, running.pid, running.admin)
            for number, running in sorted(self._running.items())
            if running.lines is not None and not running.over and running.admin
        ]

    def _asked_to_roll(self, *_: object) -> None:
        self._reactor.callFromThread(self.roll)

    def roll(self) -> None:
        """Replace the workers, one after the other; connections notice nothing."""
        if self._rolling is None and self._listening and not self._stopping:
            self._rolling = Deferred.fromCoroutine(self._rolled())
            self._rolling.addErrback(_defect).addCallback(self._has_rolled)

    def _has_rolled(self, _: object) -> None:
        self._rolling = None

    async def _rolled(self) -> None:
        say(LogLevel.info, "replacing the workers", workers=str(self._count))
        for number in range(self._count):
            old = self._running[number]
            new = self._start(number)
            while new.lines is None and not new.over:
                await new.news.wait()
            if new.over:
                say(LogLevel.warn, "a new worker does not start; the others stay")
                self._running[number] = old
                Deferred.fromCoroutine(self._mind(number, old)).addErrback(_defect)
                return
            await self._ended(old)
        say(LogLevel.info, "the workers are replaced", workers=str(self._count))

    async def _ended(self, running: _Running) -> None:
        """Ask a worker to end, and wait; kill it if it takes longer than it may."""
        running.send(signal.SIGTERM)
        most_s = self._config.limits.shutdown_s + _KILL_AFTER_S
        timer = self._reactor.callLater(most_s, running.send, signal.SIGKILL)
        while not running.over:
            await running.news.wait()
        if timer.active():
            timer.cancel()

    def stopService(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        if self._admin is not None:
            await self._admin.stop()
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        running = list(self._running.values())
        for each in running:
            each.send(signal.SIGTERM)
        for each in running:
            await self._ended(each)
        for one in self._sockets:
            one.close()


def _ports(config: Config) -> Iterator[int]:
    """The ports in the order in which a service has its listeners."""
    for row in config.reverse:
        yield row.port
    if config.gateway is not None:
        yield config.gateway.port
    if config.forward is not None:
        yield config.forward.port


def _defect(failure: Failure) -> None:
    say(LogLevel.error, "defect", err=f"{type(failure.value).__name__}: {failure.value}")
