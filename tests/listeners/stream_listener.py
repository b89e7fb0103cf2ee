"""A stand-in for HTTP/2: exchanges in streams of one connection, as frames in memory.

It has what HTTP/2 has that HTTP/1.1 has not: several exchanges at once, a reset
of one of them, and a window for each. Nothing of HTTP/1.1's connection or sink
is used.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.listeners.client import ClientSink, Listener
from buffr.message import Headers, Piece, Request, ResponseHead
from buffr.transport.duplex import Duplex, DuplexUser
from buffr.transport.streams import BodyStream
from buffr.upstream.bound import Bonds

__all__ = ["StreamConnection", "StreamSink"]

WINDOW_BYTES = 100_000


@define(eq=False)
class Answer:
    """What the client has of one stream. ``window_bytes`` is how much more it takes."""

    window_bytes: int
    status: int = 0
    interim: list[int] = field(factory=list)
    data: bytes = b""
    trailers: Headers | None = None
    reset: bool = False

    @property
    def whole(self) -> bool:
        return self.trailers is not None


class StreamSink(ClientSink):
    """Frames the answer of one stream."""

    __slots__ = ("_bodiless", "_trailers", "_unsent", "answered", "duplex")

    def __init__(
        self,
        listener: Listener,
        connection: StreamConnection,
        request: Request,
        body: bytes | BodyStream,
        window_bytes: int,
    ) -> None:
        super().__init__(listener, connection, request, body)
        self.answered = Answer(window_bytes)
        self.duplex: StreamDuplex | None = None
        self._unsent = b""
        self._trailers: Headers | None = None
        self._bodiless = False

    def inform(self, head: ResponseHead) -> None:
        self.answered.interim.append(head.status)

    def begin(self, head: ResponseHead) -> None:
        self.begun = True
        self._bodiless = self.request.method == b"HEAD"
        self.answered.status = head.status

    def answer(
        self,
        head: ResponseHead,
        body: bytes,
        sizes: Sequence[int],  # there are no chunks
        trailers: Headers,
    ) -> None:
        self.begin(head)
        self._send(body)
        self.end(trailers)

    def write(self, piece: Piece) -> None:
        self._send(piece.data)

    def flush(self) -> None:
        """The head is out already."""

    def end(self, trailers: Headers) -> None:
        self.done = True
        self._trailers = trailers
        self._go_on()

    def _send(self, data: bytes) -> None:
        self.since = self._listener.now
        if not self._bodiless:
            self._unsent += data
            self._go_on()

    def _go_on(self) -> None:
        """Send what the window takes, and hold the writer back while it is full."""
        answer = self.answered
        sent, self._unsent = (
            self._unsent[: answer.window_bytes],
            self._unsent[answer.window_bytes :],
        )
        answer.window_bytes -= len(sent)
        answer.data += sent
        if self._unsent and self.writable:
            self.pause()
        elif not self._unsent:
            if self._trailers is not None:
                answer.trailers = self._trailers
            if not self.writable:
                self.resume()

    def grant(self, size_bytes: int) -> None:
        """The client takes so much more."""
        self.answered.window_bytes += size_bytes
        self._go_on()

    def remember(self, hit: Hit) -> None:
        raise AssertionError

    def remember_relay(self, relay: KnownRelay) -> None:
        raise AssertionError

    def _break_off(self, reset: int | None) -> None:
        self.answered.reset = True

    def reset(self) -> None:
        if not (self.done or self.left):
            self.answered.reset = True
            self.leave()

    def switch(self, head: ResponseHead) -> Duplex:
        self.begin(head)
        self.done = True
        self.duplex = StreamDuplex()
        return self.duplex

    def tunnel(self, head: ResponseHead, successor: Protocol) -> None:
        raise NotImplementedError


class StreamDuplex:
    """The bytes of one stream, once its exchange has switched protocols."""

    def __init__(self) -> None:
        self.user: DuplexUser | None = None
        self.sent = b""
        self.reading = True
        self.ends: list[str] = []

    def start(self, user: DuplexUser) -> None:
        self.user = user

    def write(self, data: bytes) -> None:
        self.sent += data

    def taken(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def end(self) -> bool:
        self.ends.append("ended")
        return True

    def close(self) -> None:
        self.ends.append("closed")

    def abort(self) -> None:
        self.ends.append("aborted")


class StreamConnection:
    """One client's connection, with the streams that it has opened."""

    def __init__(self, listener: Listener) -> None:
        self.bonds: set[Bonds] = set()
        self.lost = False
        self.parted = False
        self.client_address = "127.0.0.1"
        self.sinks: list[StreamSink] = []
        self._listener = listener
        listener.came(self)

    def open(
        self, request: Request, body: bytes | BodyStream = b"", window_bytes: int = WINDOW_BYTES
    ) -> StreamSink:
        """The client opens a stream with a request."""
        sink = StreamSink(self._listener, self, request, body, window_bytes)
        self.sinks.append(sink)
        sink.start(self._listener.handle)
        return sink

    def half_close(self) -> None:
        """The client closes its side of the connection."""
        for sink in self.sinks:
            if not sink.done:
                sink.half_close()

    def leave(self) -> None:
        """The client closes the connection."""
        self.lost = True
        self._listener.gone(self)
        for sink in self.sinks:
            sink.leave()
            if sink.duplex is not None and sink.duplex.user is not None:
                sink.duplex.user.closed(Failure(ConnectionDone()))

    def check(self, now: float) -> None:
        for sink in self.sinks:
            if not sink.done:
                sink.check(now)

    def stop(self) -> None:
        """The streams under way may end."""
        if all(sink.done for sink in self.sinks):
            self.leave()

    def cut(self) -> None:
        self.leave()

    def part(self) -> None:
        self.parted = True
