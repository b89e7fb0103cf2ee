"""A client's connection whose client and handler are played by the test, in memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial import unittest

from buffr.errors import BuffrError
from buffr.listeners.client import ClientConnection, ClientSink, ConnectionLimits, Handler
from buffr.listeners.hit_memo import HitMemo
from buffr.listeners.http1 import Http1Connection
from buffr.message import Headers, Request, ResponseHead
from buffr.testing.wire import Wire
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyReader, BodyStream
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http1_requests import HeadMemo

__all__ = [
    "LIMITS",
    "TRIAL",
    "Bench",
    "Exchange",
    "Wire",
    "clients_leave",
    "get",
    "post",
    "rest_of",
    "statuses",
]

TRIAL = unittest.SynchronousTestCase()
LIMITS = ConnectionLimits(
    head=HeadLimits(2000, 20),
    buffer_bytes=1000,
    idle_s=70,
    head_s=20,
    body_idle_s=30,
    half_close_s=10,
)
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})")


_BENCHES: list[Bench] = []


class Exchange:
    """A request that came to the handler; the test answers it by its sink, and ends it."""

    def __init__(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        self.request = request
        self.body = body
        self.sink = sink
        self.cancelled = False
        self.over: Deferred[None] = Deferred()

    @property
    def stream(self) -> BodyStream:
        assert isinstance(self.body, BodyStream)
        return self.body

    def answer(self, data: bytes = b"ok", headers: Headers = (), status: int = 200) -> None:
        """A whole answer, and the end of the exchange."""
        head = ResponseHead(status, b"OK", (*headers, (b"Content-Length", b"%d" % len(data))))
        self.sink.answer(head, data, [len(data)], ())
        self.finish()

    def finish(self) -> None:
        if not self.over.called:
            self.over.callback(None)


class Bench:
    """What a connection asks of its listener, its wire, and the requests that came.

    With ``prompt`` each request is answered at once, without waiting.
    """

    def __init__(
        self,
        limits: ConnectionLimits = LIMITS,
        *,
        prompt: bool = False,
        memo: HeadMemo | None = None,
    ) -> None:
        self.limits = limits
        self.memo = memo or HeadMemo()
        self.hits = HitMemo(1 << 20)
        self.requests: Memo[Hashable, Request] = Memo(entries=8, size_bytes=1 << 20)
        self.soon_called: list[Callable[[], None]] = []
        self.after_called: list[Callable[[], None]] = []
        self.stopping = False
        self.now = 1000.0
        self.prompt = prompt
        self.exchanges: list[Exchange] = []
        self.refusals: list[BuffrError] = []
        self.known: list[ClientConnection] = []
        self.handle: Handler = self._handle
        self.wire = Wire()
        self.connection = Http1Connection(self)
        self.wire.protocol = self.connection
        self.connection.makeConnection(self.wire)
        _BENCHES.append(self)

    async def _handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        exchange = Exchange(request, body, sink)
        self.exchanges.append(exchange)
        if self.prompt and isinstance(body, BodyStream):
            while await body.read() is not None:
                pass
        if self.prompt:
            exchange.answer(request.target)
            return
        try:
            await exchange.over
        except CancelledError:
            exchange.cancelled = True
            raise

    def soon(self, call: Callable[[], None]) -> None:
        self.soon_called.append(call)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        self.after_called.append(call)

    def refused(self, error: BuffrError) -> None:
        self.refusals.append(error)

    def came(self, connection: ClientConnection) -> None:
        self.known.append(connection)

    def gone(self, connection: ClientConnection) -> None:
        self.known.remove(connection)

    def send(self, *data: bytes) -> Bench:
        """The client sends these segments."""
        for each in data:
            self.connection.dataReceived(each)
        return self

    def bytewise(self, data: bytes) -> Bench:
        return self.send(*(data[place : place + 1] for place in range(len(data))))

    def received(self) -> bytes:
        """What the client was sent since the last call."""
        value: bytes = self.wire.value()
        self.wire.clear()
        return value

    def targets(self) -> list[bytes]:
        return [exchange.request.target for exchange in self.exchanges]

    def end(self) -> str:
        return self.wire.end

    def paused(self) -> bool:
        return self.wire.paused

    def later(self, seconds: float) -> Bench:
        """Time goes by, and the listener looks after its connections each second."""
        for _ in range(int(seconds)):
            self.now += 1
            if self.wire.connected:
                self.connection.check(self.now)
                self.wire.turn()
        return self

    def full(self) -> None:
        """The client reads no more, and what was written waits."""
        assert self.wire.producer is self.connection
        self.connection.pauseProducing()

    def drained(self) -> None:
        """The client has read all that waited."""
        if self.wire.producer is not None:
            self.connection.resumeProducing()

    def half_close(self) -> None:
        """The client sends no more."""
        self.connection.readConnectionLost()

    def leave(self, *, reset: bool = False) -> None:
        """The client closes both sides."""
        self.wire.hang_up(ConnectionLost() if reset else ConnectionDone())


@pytest.fixture(autouse=True)
def clients_leave() -> Iterator[None]:
    """The clients of all benches leave behind a test, and no exchange is left waiting."""
    yield
    for bench in _BENCHES:
        if bench.wire.connected:
            bench.leave()
        for exchange in bench.exchanges:
            exchange.finish()
    _BENCHES.clear()


def get(target: bytes = b"/", fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nHost: h\r\n%b\r\n" % (target, version, fields)


def post(body: bytes, target: bytes = b"/", fields: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/1.1\r\nHost: h\r\n%b%b\r\n%b" % (target, length, fields, body)


def statuses(received: bytes) -> list[int]:
    """The status of each answer among bytes whose bodies hold no status line."""
    return [int(status) for status in _STATUS.findall(received)]


def rest_of(body: BodyReader) -> bytes:
    """What of a body is here and not read yet."""
    data = b""
    while True:
        read = Deferred.fromCoroutine(body.read())
        if not read.called:
            read.cancel()
            read.addErrback(lambda _: None)
            return data
        piece = TRIAL.successResultOf(read)
        if piece is None:
            return data
        data += piece.data
