"""Answers in HTTP/1.1 and HTTP/1.0, on a client's connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol

from buffr.errors import BuffrError
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay, Relay
from buffr.listeners.client import Carrier, ClientSink, Listener
from buffr.listeners.hit_memo import KnownHit, RelayedHere, Repeated
from buffr.message import (
    UNTIL_CLOSE,
    Headers,
    Piece,
    Request,
    ResponseHead,
    first_value,
    response_length,
)
from buffr.transport.duplex import Duplex, TransportDuplex
from buffr.transport.streams import IStreamTransport
from buffr.wire.http1_body import ChunkWriter, chunked_whole

__all__ = ["Http1Sink", "resumed"]

_CLOSE = b"Connection: close\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n\r\n"
_SESSION_BASED = b"Proxy-Support: Session-Based-Authentication\r\nConnection: Proxy-Support\r\n"
"""Without it a client does not use Negotiate through a proxy (RFC 4559 6). For this hop only."""
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


class _Connection(Carrier, Protocol):
    """The connection that a sink answers on."""

    transport: IStreamTransport
    keep_alive: bool

    def keeps_alive(self, request: Request) -> bool:
        """Whether another request may follow the answer to this one."""

    def answered(self, *, keep_alive: bool) -> None:
        """The answer is complete."""

    def cut(self) -> None:
        """Close with a reset: nothing else tells the client that the answer is broken."""

    def break_off(self) -> None:
        """Close after what was sent: the framing shows that more should have come."""

    def remember(self, request: Repeated, known: KnownHit) -> None:
        """Answer a request of these bytes in the same way when it comes again."""

    def remember_relay(self, request: Repeated, known: RelayedHere) -> None:
        """Relay a request of these bytes in the same way when it comes again."""

    def hand_over(self, successor: TwistedProtocol) -> None:
        """Leave the connection to another protocol."""


class Http1Sink(ClientSink):
    """Frames one answer for one client (RFC 9112 6.1 to 6.3).

    A body of unknown length goes out in chunks to HTTP/1.1. An HTTP/1.0
    client gets chunked bodies without the coding, ended by the close. A
    client that uses buffr as its proxy is told that connections can be
    authenticated through it.
    """

    __slots__ = ("_bodiless", "_chunks", "_delimited", "_head", "_keep_alive", "sent")

    connection: _Connection

    sent: bytes
    """The answer as it went out; set where the sink is ``memorable``."""

    # Set when the answer begins; ``_head`` waits to be sent together with the first piece.
    _head: bytes
    _chunks: ChunkWriter | None
    _keep_alive: bool
    _bodiless: bool
    _delimited: bool

    def _send(self, data: bytes) -> None:
        self.since = self._listener.now
        self.connection.transport.write(data)

    def inform(self, head: ResponseHead) -> None:
        if self.request.minor == 1 and not self.begun:
            self._send(head.encoded + b"\r\n")

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        chunked = self._frame(head)
        if self._bodiless:
            body = b""
        elif chunked:
            body = chunked_whole(body, sizes, trailers)
        connection = self.connection
        data = self._head + body if body else self._head
        connection.transport.write(data)
        self.done = True
        if self._memorable:
            self.sent = data
        connection.answered(keep_alive=self._keep_alive)

    def remember_relay(self, relay: KnownRelay) -> None:
        if self._memorable and self._keep_alive and self.request.minor == 1:
            repeated = self.repeated
            here = RelayedHere(relay, self.request, self.guard, self.proxy, repeated.values_bytes)
            self.connection.remember_relay(repeated, here)

    def remember(self, hit: Hit) -> None:
        if self._memorable and self._keep_alive:
            self.connection.remember(self.repeated, KnownHit(self.sent, hit, self.guard))

    def begin(self, head: ResponseHead) -> None:
        self.asked, self._memorable = None, False  # what goes out in pieces is not kept
        self._chunks = ChunkWriter() if self._frame(head) else None

    def _frame(self, head: ResponseHead) -> bool:
        """Encode the head. Returns whether the body is chunked."""
        self.begun = True
        request = self.request
        length = response_length(request.method, head)
        encoded = head.encoded
        self._keep_alive = self.connection.keeps_alive(request)
        self._bodiless = length == 0
        self._delimited = request.minor == 1 or length >= 0
        if request.minor == 1:
            if self.proxy and head.offers_connection_auth:
                encoded += _SESSION_BASED
            if length == UNTIL_CLOSE:
                encoded += _CHUNKED
            self._head = encoded + (b"\r\n" if self._keep_alive else _CLOSE)
            return length < 0
        if first_value(head.headers, b"transfer-encoding") is not None:
            # HTTP/1.0 has no transfer codings, even without a body (RFC 9112 6.1).
            encoded = _without_framing(head).encoded
        self._keep_alive = self._keep_alive and length >= 0
        self._head = encoded + (_KEEP_ALIVE if self._keep_alive else _CLOSE)
        return False

    def write(self, piece: Piece) -> None:
        if self._bodiless:
            return
        data = piece.data if self._chunks is None else self._chunks.frame(piece)
        head, self._head = self._head, b""
        self.unshared_bytes += len(data)
        self._send(head + data if head else data)

    def flush(self) -> None:
        if self.begun and self._head:
            head, self._head = self._head, b""
            self._send(head)

    def end(self, trailers: Headers) -> None:
        last = b"" if self._chunks is None or self._bodiless else self._chunks.end(trailers)
        if self._head or last:
            self._send(self._head + last)
        self.done = True
        self.connection.answered(keep_alive=self._keep_alive)

    def _break_off(self, reset: int | None) -> None:  # noqa: ARG002  # HTTP/1.1 has no codes
        self.flush()
        if self.begun and self._delimited:
            self.connection.break_off()
        else:
            self.connection.cut()

    def reset(self) -> None:
        if not self.done:
            self.connection.cut()

    def switch(self, head: ResponseHead) -> Duplex:
        duplex = TransportDuplex()
        self.tunnel(head, duplex)
        return duplex

    def tunnel(self, head: ResponseHead, successor: TwistedProtocol) -> None:
        self.begun = self.done = True
        self._send(head.encoded + b"\r\n")
        self.connection.hand_over(successor)

    def refuse(self, error: BuffrError) -> None:
        if error.close and not self.done:
            self.connection.keep_alive = False
        super().refuse(error)


def resumed(
    listener: Listener, connection: _Connection, known: RelayedHere, relay: Relay
) -> Http1Sink:
    """The sink for what has become of a relay so far; the client may be taking its answer."""
    sink = Http1Sink(listener, connection, relay.request_of(known.request), relay.known.body)
    sink.proxy = known.proxy
    if relay.passed is not None:
        sink.begun = sink.done = True
        sink.writable = False
    return sink


def _without_framing(head: ResponseHead) -> ResponseHead:
    headers = tuple(
        field
        for field in head.headers
        if field[0].lower() not in (b"transfer-encoding", b"trailer")
    )
    return ResponseHead(head.status, head.reason, headers)
