"""A listener: its port, how many connections it takes, and how it stops."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from closing import close_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.selectreactor import SelectReactor

from buffr.errors import ConfigError
from buffr.listeners.client import ClientSink, ConnectionLimits
from buffr.listeners.listener import HTTPListener, IReactorTCPTime
from buffr.message import Request, ResponseHead
from buffr.transport.streams import BodyStream

_PATIENCE_S = 120.0
REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
EMPTY = ResponseHead(204, b"No Content", ())


class Place:
    """A listener on loopback, on a reactor of its own, whose answers wait for the test."""

    def __init__(self, connections: int = 10, port: int = 0) -> None:
        self.reactor = SelectReactor()
        self.waiting: list[tuple[ClientSink, Deferred[None]]] = []
        self.cancelled = 0
        self.clients: list[socket.socket] = []
        self.listener = HTTPListener(
            cast("IReactorTCPTime", self.reactor),
            "127.0.0.1",
            port,
            self._handle,
            limits=ConnectionLimits(),
            connections=connections,
            announce={},
        )

    async def _handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        over: Deferred[None] = Deferred()
        self.waiting.append((sink, over))
        try:
            await over
        except CancelledError:
            self.cancelled += 1
            raise

    def answer(self) -> None:
        """The request that waits longest gets its answer."""
        sink, over = self.waiting.pop(0)
        sink.answer(EMPTY, b"", (), ())
        over.callback(None)

    def client(self, *, asks: bool = True) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.listener.port))
        self.clients.append(client)
        if asks:
            before = len(self.waiting)
            client.sendall(REQUEST)
            self.until(lambda: len(self.waiting) > before)
        return client

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline
            self.reactor.iterate(0.01)

    def read(self, client: socket.socket) -> bytes:
        """What the client gets before its connection ends."""
        client.setblocking(False)
        data = bytearray()

        def ended() -> bool:
            try:
                part = client.recv(65536)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            data.extend(part)
            return not part

        self.until(ended)
        return bytes(data)

    def stop(self, grace_s: float) -> Deferred[None]:
        return Deferred.fromCoroutine(self.listener.stop(grace_s))

    def close(self) -> None:
        stopped = self.stop(0)
        self.until(lambda: bool(stopped.called))
        for client in self.clients:
            client.close()
        for _ in range(5):
            self.reactor.iterate(0.001)
        close_reactor(self.reactor)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    made.listener.startService()
    yield made
    made.close()


class TestPort:
    def test_any_free_one(self, place: Place) -> None:
        """Port 0 takes one, and the listener knows which."""
        assert place.listener.port > 0
        place.client()
        place.answer()

    def test_a_taken_one(self, place: Place) -> None:
        """The error names the address and what to do; nothing listens."""
        other = Place(port=place.listener.port)
        with pytest.raises(ConfigError) as caught:
            other.listener.startService()
        assert f"127.0.0.1:{place.listener.port}" in caught.value.message


class TestBound:
    def test_beyond_it(self) -> None:
        """One connection too many is told to come again, and the others are served."""
        place = Place(connections=2)
        place.listener.startService()
        first = place.client()
        place.client()
        busy = place.read(place.client(asks=False))
        assert busy.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in busy
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        place.until(lambda: place.cancelled == 1)
        place.client()
        place.close()


class TestStop:
    def test_with_nothing_under_way(self, place: Place) -> None:
        """Idle connections are closed at once, and no grace is waited for."""
        client = place.client()
        place.answer()
        stopped = place.stop(60)
        assert place.read(client).startswith(b"HTTP/1.1 204 ")
        place.until(lambda: bool(stopped.called))

    def test_a_running_exchange(self, place: Place) -> None:
        """It is answered, its connection closes, and that is the end."""
        client = place.client()
        stopped = place.stop(60)
        for _ in range(5):
            place.reactor.iterate(0.001)
        assert not stopped.called
        place.answer()
        received = place.read(client)
        assert received.startswith(b"HTTP/1.1 204 ")
        assert b"Connection: close\r\n" in received
        place.until(lambda: bool(stopped.called))

    def test_beyond_the_grace(self, place: Place) -> None:
        """What takes longer is cut off, and its exchange cancelled."""
        client = place.client()
        stopped = place.stop(0.05)
        assert place.read(client) == b""
        place.until(lambda: bool(stopped.called) and place.cancelled == 1)

    def test_no_new_connections(self, place: Place) -> None:
        """The port is closed first."""
        place.client()
        address = place.listener.address
        place.stop(60)
        for _ in range(5):
            place.reactor.iterate(0.001)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        place.answer()
