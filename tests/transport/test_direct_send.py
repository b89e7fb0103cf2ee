"""Transports that send at once, held to the behaviour of Twisted's own over real sockets."""

from __future__ import annotations

import ast
import inspect
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from closing import close_reactor
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IPushProducer
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.transport import direct_send
from buffr.transport.direct_send import send_at_once
from buffr.transport.ports import new_port
from buffr.transport.streams import IStreamTransport

_PATIENCE_S = 120.0


@implementer(IHalfCloseableProtocol, IPushProducer)
class Server(Protocol):
    """Notes what happens to it."""

    transport: IStreamTransport

    def __init__(self, *, direct: bool) -> None:
        self.seen: list[str] = []
        self.got = b""
        self.then: Callable[[], object] = lambda: None
        """What it does when something came, and when the client sends no more."""
        self._direct = direct

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        if self._direct:
            send_at_once(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        self.then()

    def pauseProducing(self) -> None:
        self.seen.append("pause")

    def resumeProducing(self) -> None:
        self.seen.append("resume")

    def stopProducing(self) -> None:
        self.seen.append("stop")

    def readConnectionLost(self) -> None:
        self.seen.append("read lost")
        self.then()

    def writeConnectionLost(self) -> None:
        self.seen.append("write lost")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.seen.append(f"lost: {type(reason.value).__name__}")


class Loopback:
    """A server on a port of its own reactor, and one client with a plain socket."""

    def __init__(self, kind: str = "accepted") -> None:
        self.reactor = SelectReactor()
        self.server = Server(direct=kind != "stock")
        factory = ServerFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: self.server  # type: ignore[method-assign,assignment]
        self.port: IListeningPort
        if kind == "accepted":
            self.port = new_port(self.reactor, 0, factory, 50, "127.0.0.1", lambda _: None)
        else:
            self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        host = self.port.getHost()
        assert isinstance(host, IPv4Address)
        self.client = socket.create_connection(("127.0.0.1", host.port))
        self.client.setblocking(False)
        self.until(lambda: self.server.connected == 1)

    def until(self, happened: Callable[[], bool]) -> None:
        """Turn the reactor until this is so."""
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, self.server.seen
            self.reactor.iterate(0.01)

    def turns(self, count: int = 5) -> None:
        for _ in range(count):
            self.reactor.iterate(0.001)

    def received(self) -> bytes:
        """What is there for the client without any turn of the reactor."""
        try:
            return self.client.recv(1 << 20)
        except BlockingIOError:
            return b""

    def read(self, size: int) -> bytes:
        """So many bytes, or all before the end."""
        data = bytearray()
        ended = False

        def enough() -> bool:
            nonlocal ended
            try:
                part = self.client.recv(1 << 20)
            except BlockingIOError:
                return len(data) >= size
            data.extend(part)
            ended = not part
            return ended or len(data) >= size

        self.until(enough)
        return bytes(data)

    def fill(self) -> int:
        """Write until the client, who does not read, holds the producer; how much that was."""
        written = 0
        while self.server.seen[-1:] != ["pause"]:
            self.server.transport.write(b"x" * 100_000)
            written += 100_000
            assert written < 50_000_000
            self.turns()
        return written

    def reset(self) -> None:
        """The client goes away without a word."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def close(self) -> None:
        self.client.close()
        self.port.stopListening()
        if self.server.connected and not any(each.startswith("lost") for each in self.server.seen):
            self.server.transport.abortConnection()
        self.turns()
        close_reactor(self.reactor)
        for reader in self.reactor.removeAll():
            reader.connectionLost(Failure(ConnectionDone()))


@pytest.fixture(params=["accepted", "direct", "stock"])
def loopback(request: pytest.FixtureRequest) -> Iterator[Loopback]:
    """One over what buffr accepts, one over Twisted's own that sends at once, and one over that."""
    made = Loopback(request.param)
    yield made
    made.close()


class TestBytes:
    SIZES = (1, 0, 5, 65536, 131073, 3_000_000, 2, 70_000, 1)

    def test_all_in_order(self, loopback: Loopback) -> None:
        """Writes of any size in one turn arrive as one stream."""
        parts = [bytes([65 + number]) * size for number, size in enumerate(self.SIZES)]
        for part in parts:
            loopback.server.transport.write(part)
        assert loopback.read(sum(self.SIZES)) == b"".join(parts)

    def test_in_many_turns(self, loopback: Loopback) -> None:
        """Turns in between make no difference."""
        for number in range(50):
            loopback.server.transport.write(bytes([number]) * 1000)
            loopback.turns(number % 3)
        assert loopback.read(50_000) == b"".join(bytes([number]) * 1000 for number in range(50))

    def test_before_a_close(self, loopback: Loopback) -> None:
        """What was written before the close arrives, all of it, and then the end."""
        loopback.server.transport.unregisterProducer()
        loopback.server.transport.write(b"a" * 3_000_000)
        loopback.server.transport.loseConnection()
        assert loopback.read(1 << 30) == b"a" * 3_000_000
        loopback.until(lambda: loopback.server.seen[-1:] == ["lost: ConnectionDone"])

    def test_before_a_half_close(self, loopback: Loopback) -> None:
        """So it does before our side is closed, and the client can still speak."""
        loopback.server.transport.unregisterProducer()
        loopback.server.transport.write(b"a" * 3_000_000)
        loopback.server.transport.loseWriteConnection()
        assert loopback.read(1 << 30) == b"a" * 3_000_000
        loopback.client.send(b"still here")
        loopback.until(lambda: loopback.server.got == b"still here")
        loopback.server.transport.write(b"too late")
        loopback.turns()
        assert loopback.received() == b""

    def test_behind_a_cut(self, loopback: Loopback) -> None:
        """Nothing more goes out, and the client sees that it was cut."""
        loopback.server.transport.abortConnection()
        loopback.server.transport.write(b"too late")
        loopback.until(lambda: bool(loopback.server.seen))
        with pytest.raises(ConnectionResetError):
            loopback.client.recv(10)


class TestBackPressure:
    def test_a_slow_reader(self, loopback: Loopback) -> None:
        """The producer is paused while the client does not read, and resumed when it does."""
        written = loopback.fill()
        loopback.turns(20)
        assert loopback.server.seen[-1] == "pause"
        assert loopback.read(written) == b"x" * written
        loopback.until(lambda: loopback.server.seen[-1] == "resume")

    def test_a_quick_reader(self, loopback: Loopback) -> None:
        """Small answers to a client that reads never pause anybody."""
        for _ in range(100):
            loopback.server.transport.write(b"x" * 500)
            assert loopback.read(500) == b"x" * 500
        assert loopback.server.seen == []


class TestLoss:
    def test_an_orderly_close(self, loopback: Loopback) -> None:
        """The client sends no more: that half is over, the other is not."""
        loopback.client.shutdown(socket.SHUT_WR)
        loopback.until(lambda: bool(loopback.server.seen))
        assert loopback.server.seen == ["read lost"]
        loopback.server.transport.write(b"answer")
        assert loopback.read(6) == b"answer"

    def test_a_reset(self, loopback: Loopback) -> None:
        """A client that vanishes is noticed once, also by writes to it."""
        server = loopback.server
        loopback.reset()
        for _ in range(3):
            server.transport.write(b"x" * 1000)
        loopback.until(lambda: any(each.startswith("lost") for each in server.seen))
        server.transport.write(b"x")
        loopback.turns()
        assert [each for each in server.seen if each.startswith("lost")] == ["lost: ConnectionLost"]

    def test_a_reset_of_a_slow_reader(self, loopback: Loopback) -> None:
        """What waited is given up, and whoever produces is told to stop."""
        server = loopback.server
        loopback.fill()
        loopback.reset()
        loopback.until(lambda: server.seen[-1].startswith("lost"))
        loopback.turns()
        assert server.seen[-3:] == ["pause", "stop", "lost: ConnectionLost"]

    def test_our_own_cut(self, loopback: Loopback) -> None:
        """It is told as such."""
        loopback.server.transport.write(b"x" * 5_000_000)
        loopback.server.transport.abortConnection()
        loopback.until(lambda: bool(loopback.server.seen))
        loopback.turns()
        assert loopback.server.seen[-1] == "lost: ConnectionAborted"


class TestClosing:
    """By what came on the connection, where buffr's own is closed in the same turn."""

    @pytest.mark.parametrize("size", [0, 1, 3_000_000])
    def test_behind_an_answer(self, loopback: Loopback, size: int) -> None:
        def then() -> None:
            loopback.server.transport.write(b"x" * size)
            loopback.server.transport.loseConnection()

        loopback.server.transport.unregisterProducer()
        loopback.server.then = then
        loopback.client.send(b"ask")
        assert loopback.read(1 << 30) == b"x" * size
        loopback.until(lambda: bool(loopback.server.seen))
        loopback.turns()
        lost = [each for each in loopback.server.seen if each.startswith("lost")]
        assert lost == ["lost: ConnectionDone"]

    @pytest.mark.parametrize("size", [1, 3_000_000])
    def test_before_last_words(self, loopback: Loopback, size: int) -> None:
        """Twisted sends what is written after the close, but before the end of the turn."""

        def then() -> None:
            loopback.server.transport.loseConnection()
            loopback.server.transport.write(b"x" * size)

        loopback.server.transport.unregisterProducer()
        loopback.server.then = then
        loopback.client.send(b"ask")
        assert loopback.read(1 << 30) == b"x" * size
        loopback.until(lambda: loopback.server.seen[-1:] == ["lost: ConnectionDone"])

    def test_when_the_client_sends_no_more(self, loopback: Loopback) -> None:
        def then() -> None:
            if loopback.server.seen:
                loopback.server.transport.write(b"bye")
                loopback.server.transport.loseConnection()

        loopback.server.transport.unregisterProducer()
        loopback.server.then = then
        loopback.client.send(b"ask")
        loopback.client.shutdown(socket.SHUT_WR)
        assert loopback.read(1 << 30) == b"bye"
        loopback.until(lambda: loopback.server.seen[-1:] == ["lost: ConnectionDone"])
        assert loopback.server.seen == ["read lost", "lost: ConnectionDone"]

    def test_and_cut_after_all(self, loopback: Loopback) -> None:
        def then() -> None:
            loopback.server.transport.loseConnection()
            loopback.server.transport.abortConnection()

        loopback.server.transport.unregisterProducer()
        loopback.server.then = then
        loopback.client.send(b"ask")
        loopback.until(lambda: bool(loopback.server.seen))
        loopback.turns()
        assert loopback.server.seen == ["lost: ConnectionAborted"]
        with pytest.raises(ConnectionResetError):
            loopback.client.recv(10)

    def test_by_a_defect(self, loopback: Loopback) -> None:
        """The reactor closes a connection whose protocol raises."""

        def then() -> None:
            raise ZeroDivisionError

        loopback.server.transport.unregisterProducer()
        loopback.server.then = then
        loopback.client.send(b"ask")
        loopback.until(lambda: bool(loopback.server.seen))
        loopback.turns()
        assert loopback.server.seen == ["lost: ZeroDivisionError"]

    def test_takes_no_other_turn(self) -> None:
        loopback = Loopback("accepted")
        loopback.server.then = loopback.server.transport.loseConnection
        loopback.client.send(b"ask")
        polled = 0

        def turned() -> bool:
            nonlocal polled
            polled += bool(loopback.server.got)
            return bool(loopback.server.seen)

        loopback.until(turned)
        assert polled == 1
        loopback.close()


class TestAtOnce:
    @pytest.mark.parametrize("kind", ["accepted", "direct"])
    def test_without_a_turn_of_the_reactor(self, kind: str) -> None:
        """A small answer is with the client before the next poll: that is its purpose."""
        loopback = Loopback(kind)
        loopback.server.transport.write(b"hello")
        assert loopback.received() == b"hello"
        loopback.close()


class _Renamed(tcp.Connection):
    """The transport of a Twisted that has another name for what waits to be sent."""

    _tempDataLen = property()


class TestPrivateNames:
    def test_every_one_is_looked_for(self) -> None:
        """Whichever of Twisted's names vanishes, it is noticed before it is used."""
        source = ast.parse(inspect.getsource(direct_send.write_at_once))
        used = {
            node.attr
            for node in ast.walk(source)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "transport"
        }
        assert used == set(direct_send._NAMES)

    def test_one_is_missing(self) -> None:
        """The transport stays as it is."""
        transport = object.__new__(_Renamed)
        send_at_once(transport)
        assert "write" not in vars(transport)

    def test_another_transport(self) -> None:
        """What is no TCP transport stays as it is."""
        transport = StringTransport()
        send_at_once(transport)
        assert "write" not in vars(transport)
