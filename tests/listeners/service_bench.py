"""A whole forward proxy in memory: real settings, stores and threads; sockets and time are not."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.threadpool import ThreadPool

from buffr.config import load
from buffr.testing.wire import Wire
from buffr.wiring.build import build

__all__ = ["Made", "ServiceBench", "service"]

PATIENCE_S = 120.0
ADDRESS = IPv4Address("TCP", "10.0.0.1", 80)


class Reactor(MemoryReactorClock):
    """Its time is the test's; what other threads ask for is done while the test waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.pool = ThreadPool(1, 4)
        self.pool.start()

    def callFromThread(self, function: Callable[..., object], *args: Any, **named: Any) -> None:
        self.waiting.put(lambda: function(*args, **named))

    def getThreadPool(self) -> ThreadPool:
        return self.pool

    def settle(self) -> None:
        """Do what is due without waiting for anything."""
        self.advance(0)
        while not self.waiting.empty():
            self.waiting.get()()
            self.advance(0)

    def until(self, done: Callable[[], bool]) -> None:
        """Go on until this is so; other threads are waited for."""
        patience = monotonic() + PATIENCE_S
        self.settle()
        while not done():
            assert monotonic() < patience, "it does not come about"
            if not self._is_due():
                with suppress(Empty):
                    self.waiting.get(timeout=0.05)()
            self.settle()

    def _is_due(self) -> bool:
        return any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())


@define(eq=False)
class Origin:
    """The upstream's end of a connection."""

    wire: Wire
    protocol: Protocol

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def leave(self) -> None:
        self.wire.hang_up()


@define(eq=False)
class Client:
    """A client's connection to the proxy."""

    wire: Wire
    protocol: Protocol

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def half_close(self) -> None:
        """Send no more; what the client closes arrives like this, too."""
        closable: Any = self.protocol
        closable.readConnectionLost()

    def leave(self) -> None:
        self.wire.hang_up()


class ServiceBench:
    """Clients ask, and every origin answers with ``answer`` unless it is ``held``."""

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        self.directory = directory
        file = directory / "buffr.yaml"
        file.write_text(json.dumps(settings))
        config = load(file, {"NO_PROXY": ""}, {"data_dir": str(directory)})
        self.reactor = Reactor()
        self.lines: list[str] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.held = False
        self.origins: list[Origin] = []
        """Connections to origins, in the order in which they were made."""
        self.asked: list[bytes] = []
        """What origins that are not held were asked, and have answered."""
        self._service = build(
            config,
            self.reactor,
            on_console=False,
            write=self.lines.append,
            admin=(lambda path: load(path, {}, {})) if "admin" in settings else None,
        )
        self._service.open()
        self._service.listen()

    @property
    def factory(self) -> Any:
        """The listener that accepts clients."""
        return self._service.listeners[-1]

    @property
    def admin(self) -> Any:
        """The admin listener, if the settings have one."""
        assert self._service.admin is not None
        return self._service.admin._listener

    def client(self, listener: Any = None) -> Client:
        """One of the forward proxy, or of another listener."""
        protocol = (listener or self.factory).buildProtocol(None)
        wire = Wire(self.reactor, protocol)
        wire.peerAddr = IPv4Address("TCP", "127.0.0.1", 40_000)
        protocol.makeConnection(wire)
        return Client(wire, protocol)

    def connect(self, authority: str) -> bytes:
        """What a CONNECT is answered with, by a client that then leaves."""
        client = self.client()
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        answer = client.wire.taken()
        client.leave()
        return answer

    def asking(self, host: str, target: str = "/") -> Client:
        """A client whose request is under way."""
        client = self.client()
        client.send(f"GET http://{host}{target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return client

    def ask(self, host: str, target: str = "/") -> bytes:
        """The answer to a request."""
        client = self.asking(host, target)
        self.until(lambda: bool(client.wire.value()))
        client.leave()
        return client.wire.taken()

    def until(self, done: Callable[[], bool]) -> None:
        def served() -> bool:
            self._serve()
            return done()

        self.reactor.until(served)

    def _serve(self) -> None:
        for number in range(len(self.origins), len(self.reactor.tcpClients)):
            protocol: Any = self.reactor.tcpClients[number][2].buildProtocol(ADDRESS)
            assert protocol is not None
            self.origins.append(Origin(Wire(self.reactor, protocol), protocol))
            protocol.makeConnection(self.origins[-1].wire)
        for origin in self.origins:
            if not self.held and origin.wire.value().endswith(b"\r\n\r\n"):
                self.asked.append(origin.wire.taken())
                origin.send(self.answer)

    def forget_origins(self) -> None:
        """Hold no connection any more, and nothing that it holds."""
        self.origins.clear()
        self.reactor.tcpClients.clear()
        self.reactor.connectors.clear()

    def idle(self, seconds: float) -> None:
        """Time goes by in which nobody asks anything; and what comes of that is done."""
        for _ in range(int(seconds)):
            self.reactor.advance(1)
            self.reactor.settle()

    def recorded(self, cassette: str) -> list[str]:
        """The paths of the requests in a cassette's file."""
        elements = json.loads((self.directory / cassette).read_bytes())["interactions"]
        return [element["http"]["request"]["path"] for element in elements]

    def log(self) -> str:
        self.reactor.advance(0)
        return "".join(self.lines)

    def stop(self) -> None:
        over: list[object] = []
        self._service.stopService().addBoth(over.append)
        while not over:
            self.reactor.advance(1)
            self.reactor.settle()
        self.reactor.pool.stop()


@contextmanager
def service(directory: Path, settings: Mapping[str, Any]) -> Iterator[ServiceBench]:
    bench = ServiceBench(directory, settings)
    try:
        yield bench
    finally:
        bench.stop()


class Made:
    """Counts the objects of some kinds that were made since, and are not gone.

    What an earlier test of this process has left behind may go at any time.
    """

    def __init__(self, *kinds: type) -> None:
        self._kinds = kinds
        self._before = self._all()

    def _all(self) -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if type(each) in self._kinds]

    def count(self) -> Counter[type]:
        """How many there are of each kind."""
        known = {id(each) for each in self._before}
        return Counter(type(each) for each in self._all() if id(each) not in known)
