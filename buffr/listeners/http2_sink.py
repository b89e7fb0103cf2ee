"""Answers in HTTP/2, each in its stream of a client's connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from buffr.errors import BadFraming, BuffrError, ClientGone
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.listeners.client import Carrier, ClientSink, Listener
from buffr.listeners.hit_memo import KnownHit, Repeated
from buffr.listeners.http2_tunnel import Address, StreamTransport
from buffr.message import CHUNKED, Headers, Piece, Request, ResponseHead, response_length
from buffr.transport.duplex import Duplex, TransportDuplex
from buffr.transport.streams import BodyStream, IStreamTransport
from buffr.wire.http2.interface import Code, Engine
from buffr.wire.http2.requests import trailers_of

__all__ = ["Http2Sink"]

_AHEAD = 65536
"""How much of an answer may wait for its client, in bytes, before its writer is held back."""
_SMALL = 16384
"""An answer up to this size may be forgotten once it is queued: the windows bound the rest."""
_RELAYED = (Code.CANCEL, Code.ENHANCE_YOUR_CALM, Code.INADEQUATE_SECURITY)
"""What an upstream's reset may say to the client: gRPC has a status for each. The others concern
the upstream's own connection, or would have the client take the answer for whole."""
_NOT_IN_HTTP2 = frozenset((b"sec-websocket-accept",))
"""A WebSocket's stream is accepted by its status alone (RFC 8441 5)."""


class _Connection(Carrier, Protocol):
    """The connection that a sink answers on."""

    engine: Engine
    transport: IStreamTransport

    def flush(self) -> None:
        """Send what there is to send."""

    def fill(self, sink: Http2Sink) -> None:
        """Call ``taken`` whenever all was sent that there is room for, until it returns true."""

    def remember(self, request: Repeated, known: KnownHit) -> None:
        """Answer a request of these fields in the same way when it comes again."""

    def forget(self, sink: Http2Sink) -> None:
        """Both sides of the stream are complete, or it was reset."""


class Http2Sink(ClientSink):
    """One answer in one stream. ``complete`` says that the request has come in full.

    A stream stays with its connection until both sides are complete. An answer
    that is complete before its request ends with NO_ERROR (RFC 9113 8.1).
    """

    __slots__ = (
        "_bodiless",
        "_broken",
        "_early",
        "_expected",
        "_owed",
        "_tunnel",
        "_unsent",
        "complete",
        "sent",
        "stream",
    )

    connection: _Connection

    sent: tuple[Headers, bytes, Headers]
    """The answer as it went out; set where the sink is ``memorable``."""

    def __init__(
        self,
        listener: Listener,
        connection: _Connection,
        stream: int,
        request: Request,
        body: bytes | BodyStream,
        *,
        complete: bool,
    ) -> None:
        super().__init__(listener, connection, request, body)
        self.stream = stream
        self.complete = complete
        self._expected = request.body_length
        """How much of the body is still to come; ``CHUNKED`` if that is unknown."""
        self._owed = 0
        """What was received, and not given back to the client's window."""
        self._bodiless = False
        self._early: list[bytes] | None = [] if request.upgrade or _is_connect(request) else None
        """What came for a tunnel that is not open yet."""
        self._tunnel: StreamTransport | None = None
        self._unsent = 0
        self._broken: Code | None = None
        """The code that ends an answer which is incomplete."""

    # The request's body.

    def data(self, data: bytes, *, ended: bool) -> None:
        """The next bytes of the request came."""
        self.complete = self.complete or ended
        if self._tunnel is not None:
            self._tunnel.received(data, ended=ended)
            return
        if self._early is not None and not self.done:
            self._early.append(data)
            return
        body, size = self.body, len(data)
        if not isinstance(body, BodyStream):
            self.connection.engine.consumed(self.stream, size)
        else:
            self._feed(body, data, ended=ended)
        if ended and self.done:
            self._over()

    def _feed(self, body: BodyStream, data: bytes, *, ended: bool) -> None:
        self.since = self._listener.now
        size = len(data)
        chunked = self._expected == CHUNKED
        if not chunked:
            self._expected -= size
            if self._expected < 0 or (ended and self._expected):
                body.fail(BadFraming("a body of another length than its Content-Length"))
        if size:
            self._owed += size
            body.feed((Piece(data, size if chunked else None),))
            if not body.paused:
                self.resume_body()
        if ended:
            body.finish()

    def hold_body(self) -> None:
        """The reader of the body is behind: its window is not opened again."""

    def resume_body(self) -> None:
        """The reader has caught up."""
        owed, self._owed = self._owed, 0
        if owed:
            self.since = self._listener.now
            self.connection.engine.consumed(self.stream, owed)
            self.connection.flush()

    def trailers(self, fields: Headers) -> None:
        """The request is over, with trailers."""
        self.complete = True
        body = self.body
        if isinstance(body, BodyStream):
            try:
                if self._expected > 0:
                    raise BadFraming("a body of another length than its Content-Length")
                body.finish(trailers_of(fields))
            except BuffrError as error:
                body.fail(error)
        if self.done:
            self._over()

    # The answer.

    def inform(self, head: ResponseHead) -> None:
        if not self.begun:
            fields = tuple([field for field in head.fields if field[0] != b"content-length"])
            self.connection.engine.inform(self.stream, fields)
            self.connection.flush()

    def answer(
        self,
        head: ResponseHead,
        body: bytes,
        sizes: Sequence[int],  # noqa: ARG002  # there are no chunks
        trailers: Headers,
    ) -> None:
        self.begun = True
        engine, stream = self.connection.engine, self.stream
        bodiless = self._is_bodiless(head)
        if bodiless or not (body or trailers):
            engine.answer(stream, head.fields, ended=True)
        else:
            engine.answer(stream, head.fields, ended=False)
            if trailers:
                engine.send(stream, body)
                engine.trail(stream, _trailing(trailers))
            else:
                engine.send(stream, body, ended=True)
        self.done = True
        if self._memorable:
            self._memorable = len(body) <= _SMALL
            self.sent = (
                (head.fields, b"", ()) if bodiless else (head.fields, body, _trailing(trailers))
            )
        self._answered(len(body))

    def begin(self, head: ResponseHead) -> None:
        self.asked, self._memorable = None, False  # what goes out in pieces is not kept
        self.begun = True
        self._bodiless = self._is_bodiless(head)
        self.connection.engine.answer(self.stream, head.fields, ended=self._bodiless)

    def _is_bodiless(self, head: ResponseHead) -> bool:
        return response_length(self.request.method, head) == 0

    def write(self, piece: Piece) -> None:
        if not self._bodiless:
            self.send(piece.data)

    def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send bytes, and hold the writer back if the client is behind. Tunnels end here, too."""
        connection = self.connection
        self.since = self._listener.now
        self.unshared_bytes += len(data)
        connection.engine.send(self.stream, data, ended=ended)
        connection.flush()
        if ended:
            connection.fill(self)
            connection.flush()
        elif self.writable and connection.engine.unsent(self.stream) > _AHEAD:
            self.pause()
            connection.fill(self)

    def flush(self) -> None:
        if self.begun:
            self.connection.flush()

    def end(self, trailers: Headers) -> None:
        engine = self.connection.engine
        if not self._bodiless:
            if trailers:
                engine.trail(self.stream, _trailing(trailers))
            else:
                engine.send(self.stream, b"", ended=True)
        self.done = True
        self._answered(engine.unsent(self.stream))

    def _answered(self, size_bytes: int) -> None:
        """The answer is queued; the stream is over once it is sent and the request has come."""
        body = self.body
        if isinstance(body, BodyStream):
            body.abandon()
        if self.complete and size_bytes <= _SMALL:
            self._over()
        else:
            self._unsent = size_bytes
            self.connection.fill(self)
        self.connection.flush()

    def pause(self) -> None:
        super().pause()
        if self._tunnel is not None:
            self._tunnel.full()

    def resume(self) -> None:
        super().resume()
        if self._tunnel is not None:
            self._tunnel.room()

    def taken(self) -> bool:
        """All that there is room for was sent. Returns whether nothing is waited for any more."""
        engine = self.connection.engine
        unsent = engine.unsent(self.stream)
        if unsent != self._unsent:
            self._unsent, self.since = unsent, self._listener.now
        if self._broken is not None:
            engine.reset(self.stream, self._broken)
            self._over()
            return True
        if not self.writable:
            if unsent > _AHEAD // 4:
                return False
            self.resume()
        if self._tunnel is not None:
            return self._tunnel.sent(unsent)
        if not self.done:
            return True
        if unsent:
            return False
        if not self.complete:
            engine.reset(self.stream, Code.NO_ERROR)
        self._over()
        return True

    def _over(self) -> None:
        self.connection.forget(self)

    def remember_relay(self, relay: KnownRelay) -> None:
        """Only HTTP/1.1 has a short way for these."""

    def remember(self, hit: Hit) -> None:
        if self._memorable:
            fields, body, trailers = self.sent
            known = KnownHit(body, hit, self.guard, fields, trailers=trailers)
            self.connection.remember(self.repeated, known)

    # Other protocols.

    def switch(self, head: ResponseHead) -> Duplex:
        duplex = TransportDuplex()
        self.tunnel(head, duplex)
        return duplex

    def tunnel(self, head: ResponseHead, successor: TwistedProtocol) -> None:
        if self.left or self.done:
            raise ClientGone("the client has left")
        self.begun = self.done = True
        status = 200 if head.status == 101 else head.status
        fields = [field for field in head.fields[1:] if field[0] not in _NOT_IN_HTTP2]
        self.connection.engine.answer(
            self.stream, ((b":status", b"%d" % status), *fields), ended=False
        )
        self.connection.flush()
        self._tunnel = StreamTransport(self, successor, self._listener.soon)
        early, self._early = self._early or [], None
        successor.makeConnection(self._tunnel)
        self._tunnel.received(b"".join(early), ended=self.complete)

    @property
    def addresses(self) -> tuple[Address, Address]:
        """The client's address, and this side's."""
        transport = self.connection.transport
        return transport.getPeer(), transport.getHost()

    def consumed(self, size_bytes: int) -> None:
        """A tunnel has dealt with so many bytes."""
        self.connection.engine.consumed(self.stream, size_bytes)
        self.connection.flush()

    def close(self, code: Code | None = None) -> None:
        """The tunnel is over: reset the stream for a reason, or because nothing is left."""
        if code is not None or not self.complete:
            self.connection.engine.reset(self.stream, code or Code.NO_ERROR)
        self._over()
        self.connection.flush()

    # The end.

    def _break_off(self, reset: int | None) -> None:
        # But first comes what there is room for.
        self._broken = next((code for code in _RELAYED if code == reset), Code.INTERNAL_ERROR)
        self.connection.fill(self)
        self.connection.flush()

    def reset(self) -> None:
        if not (self.done or self.left):
            self._reset(Code.CANCEL)

    def _reset(self, code: Code) -> None:
        self.connection.engine.reset(self.stream, code)
        self._over()
        self.connection.flush()
        self.leave()

    def gone(self, reason: Failure = connectionDone) -> None:
        """The client reset the stream, or its connection is gone."""
        if self._tunnel is not None:
            lost = reason if reason is not connectionDone else Failure(ConnectionLost())
            self._tunnel.lost(lost)
        self.leave()

    def check(self, now: float) -> None:
        """As in ``ClientSink``; an answer that is complete, and not read, counts too."""
        if self._tunnel is not None:
            return
        if not self.done:
            super().check(now)
            return
        bound_s = self._listener.limits.body_idle_s
        if bound_s and now - self.since > bound_s:
            self._reset(Code.CANCEL)


def _is_connect(request: Request) -> bool:
    return request.method == b"CONNECT"


def _trailing(trailers: Headers) -> Headers:
    return tuple([(name.lower(), value) for name, value in trailers])
