"""A connection to an upstream that is played by the test, in memory and on a clock by hand."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial import unittest

from buffr.errors import BuffrError
from buffr.message import Headers, Piece, ResponseHead
from buffr.testing.wire import Wire
from buffr.transport.streams import BodyReader, BodyStream
from buffr.upstream.connection import Connection, Outgoing, Patience, Response
from buffr.wire.http1_answer_heads import AnswerRules
from buffr.wire.http1_head import HeadLimits

__all__ = [
    "RULES",
    "TRIAL",
    "Bench",
    "Given",
    "Wire",
    "broken",
    "ok",
    "read_on",
    "rest_of",
    "stream",
]

RULES = AnswerRules(HeadLimits(1000, 20))
TRIAL = unittest.SynchronousTestCase()


class Bench:
    """A connection, its wire and its clock, and what it tells its pool."""

    def __init__(
        self,
        patience: Patience = Patience(idle_s=0),  # noqa: B008  # frozen
        *,
        tls: bool = False,
        rules: AnswerRules = RULES,
    ) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock)
        self._idle = 0
        self.closed = False
        self.informed: list[ResponseHead] = []
        self.connection = Connection(self.clock, rules, patience, self._on_idle, self._on_closed)
        if tls:
            self.connection.expect_handshake()
        self.wire.protocol = self.connection
        self.connection.makeConnection(self.wire)

    def _on_idle(self, connection: Connection) -> None:
        assert connection is self.connection
        self._idle += 1

    def _on_closed(self, connection: Connection) -> None:
        assert connection is self.connection
        self.closed = True

    def served(self) -> int:
        """How often the connection was free for the next request."""
        return self._idle

    def send(
        self, body: bytes | BodyReader = b"", *, method: bytes = b"GET", chunked: bool = False
    ) -> Deferred[Response]:
        head = method + b" / HTTP/1.1\r\n\r\n"
        outgoing = Outgoing(method, head, body, chunked, self.informed.append)
        return Deferred.fromCoroutine(self.connection.send(outgoing))

    def answered(self, *data: bytes, method: bytes = b"GET") -> Response:
        """Send a request and give its answer, which begins with these bytes."""
        sent = self.send(method=method)
        self.receive(*data)
        return TRIAL.successResultOf(sent)

    def receive(self, *data: bytes) -> None:
        for each in data:
            self.connection.dataReceived(each)

    def fails(self, sent: Deferred[Response]) -> BuffrError:
        """What keeps the answer from coming; the connection closes with it."""
        failure = TRIAL.failureResultOf(sent, BuffrError)
        assert self.wire.disconnected or not self.wire.connected
        self.clock.advance(0)
        assert self.closed
        assert not self.served()
        error = failure.value
        assert isinstance(error, BuffrError)
        return error


class Given:
    """A request's body that is all here, so that reading it never waits."""

    def __init__(self, *pieces: Piece, trailers: Headers = ()) -> None:
        self.trailers = trailers
        self._pieces = list(pieces)

    async def read(self) -> Piece | None:
        return self._pieces.pop(0) if self._pieces else None


def ok(fields: bytes = b"", body: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body


def read_on(body: BodyReader) -> bytes:
    """The next piece's bytes, which are here."""
    piece = TRIAL.successResultOf(body.read())
    assert piece is not None
    data: bytes = piece.data
    return data


def rest_of(body: BodyReader) -> bytes:
    """A body that is all here, from where it was read to."""
    data = b""
    while (piece := TRIAL.successResultOf(body.read())) is not None:
        data += piece.data
    return data


def broken(body: BodyReader) -> tuple[bytes, BuffrError]:
    """What can be read of a body that has broken off, and the break."""
    data = b""
    while True:
        results = list[Piece | Failure | None]()
        Deferred.fromCoroutine(body.read()).addBoth(results.append)
        (result,) = results
        if isinstance(result, Failure):
            assert isinstance(result.value, BuffrError)
            return data, result.value
        assert result is not None
        data += result.data


def stream() -> BodyStream:
    return BodyStream(lambda: None, lambda: None)
