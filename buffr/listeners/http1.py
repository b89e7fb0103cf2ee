"""A client's connection: bytes become requests, one at a time and in order."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any
from typing import Protocol as Port

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BadRequest, BuffrError, ClientGone
from buffr.listeners.http1_sink import ClientSink
from buffr.log import say
from buffr.message import Request
from buffr.transport.direct_send import send_at_once
from buffr.transport.eager import start
from buffr.transport.streams import BodyStream, IStreamTransport, News
from buffr.upstream.bound import Bonds
from buffr.wire.http1_body import BodyDecoder, decoder_for
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http1_requests import HeadMemo, RequestHeads

__all__ = ["ClientConnection", "ConnectionLimits", "Handler", "Listening", "Tracked"]

_WAIT_FOR_WHOLE = 65536
"""Bodies up to this size are waited for before their exchange starts: few steps, no stream."""


@frozen
class ConnectionLimits:
    """Bounds on one client's connection: times in seconds, zero for none.

    ``idle_s`` between requests, ``head_s`` for a head to be complete,
    ``body_idle_s`` for the next bytes of a body in either direction,
    ``half_close_s`` for the answers to a client that sends no more,
    ``buffer_bytes`` of requests that wait for their turn.
    """

    head: HeadLimits = HeadLimits()
    buffer_bytes: int = 65536
    idle_s: float = 75
    head_s: float = 20
    body_idle_s: float = 60
    half_close_s: float = 10


Handler = Callable[[Request, bytes | BodyStream, ClientSink], Coroutine[Any, Any, None]]
"""Finds a request's route and has it answered. Raises ``BuffrError``."""


class Tracked(Port):
    """A connection as its listener sees it."""

    def check(self, now: float) -> None:
        """Close what has taken too long; called about once a second."""

    def stop(self) -> None:
        """Close now if nothing is under way, else when it is over."""

    def cut(self) -> None:
        """Close at once."""


class Listening(Port):
    """What a connection asks of the listener that accepted it."""

    limits: ConnectionLimits
    memo: HeadMemo
    stopping: bool
    now: float
    """Seconds, brought up to date about once a second."""
    handle: Handler

    def refused(self, error: BuffrError) -> None:
        """Note a request that never became one."""

    def came(self, connection: Tracked) -> None:
        """Watch over a connection: check its times, stop it with the rest."""

    def gone(self, connection: Tracked) -> None:
        """Forget a connection."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class ClientConnection(Protocol):
    """Speaks HTTP/1.1 to a client.

    ``handle`` answers the requests; by default the listener's own. While an
    exchange is under way reading goes on into a bounded buffer, so
    that a client who leaves is noticed and pipelined answers stay in order.
    """

    transport: IStreamTransport

    def __init__(self, listener: Listening, handle: Handler | None = None) -> None:
        self.writable = True
        self.lost = False
        self.closing = False
        """Whether no further request is read."""
        self.room = News()
        self.bonds: set[Bonds] = set()
        self.since = listener.now
        """When the connection last made progress."""
        self._listener = listener
        self._handle = handle or listener.handle
        self._limits = listener.limits
        self._heads = RequestHeads(listener.memo, listener.limits.head)
        self._buffer = b""
        self._sink: ClientSink | None = None
        self._exchange: Deferred[None] | None = None
        self._waiting: Request | None = None
        self._decoder: BodyDecoder | None = None
        self._stream: BodyStream | None = None
        self._held_back = False
        self._half_closed = False
        self._broken = False
        self._stepping = False
        self._successor: Protocol | None = None

    def connectionMade(self) -> None:
        self._listener.came(self)
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        send_at_once(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._decoder is not None:
            self.since = self._listener.now
            self._body_bytes(data)
            return
        if self._waiting is not None or not (self._buffer or self._sink or self.closing):
            # A head has its time as a whole, and so has a client that should leave.
            self.since = self._listener.now
        self._buffer = self._buffer + data if self._buffer else data
        if self._sink is None:
            self._step()
        waits = self._sink is not None or not self.writable
        if waits and len(self._buffer) > self._limits.buffer_bytes and not self._held_back:
            self._held_back = True
            self.transport.pauseProducing()

    def _step(self) -> None:
        """Serve what the buffer holds, request after request, as long as answers are read."""
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._sink is None and self._buffer and self.writable and not self.closing:
                if not self._next_request():
                    break
        finally:
            self._stepping = False
        if self.closing and self._sink is None:
            self._buffer = b""
        elif self._half_closed and self._sink is None and self.writable:
            # What is left can no longer become a request.
            self._close(unread=False)
        elif self._held_back and len(self._buffer) <= self._limits.buffer_bytes:
            self._held_back = False
            if self._stream is None or not self._stream.paused:
                self.transport.resumeProducing()

    def _next_request(self) -> bool:
        """Start the exchange that the buffer begins with; whether it is all there."""
        request = self._waiting
        if request is None:
            try:
                request, self._buffer = self._heads.take(self._buffer)
            except BuffrError as error:
                self._refuse(error)
                return False
            if request is None:
                return False
        length = request.body_length
        if length == 0:
            self._begin(request, b"")
        elif 0 < length <= len(self._buffer):
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            self._begin(request, body)
        elif 0 < length <= _WAIT_FOR_WHOLE and _is_worth_waiting_for(request):
            self._waiting = request
            return False
        else:
            self._begin_stream(request)
        return True

    def _begin(self, request: Request, body: bytes | BodyStream) -> None:
        self._waiting = None
        self._sink = sink = ClientSink(self, request)
        exchange = start(self._serve(request, body, sink))
        if exchange is not None and self._sink is sink:
            self._exchange = exchange

    def _begin_stream(self, request: Request) -> None:
        self._decoder = decoder_for(request.body_length)
        self._stream = BodyStream(self.transport.pauseProducing, self._resume_reading)
        rest, self._buffer = self._buffer, b""
        stream = self._stream
        if rest:
            self._body_bytes(rest)
        self._begin(request, stream)

    async def _serve(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        try:
            await self._handle(request, body, sink)
        except ClientGone:
            self.cut()
        except BuffrError as error:
            if not error.noted:
                self._listener.refused(error)
            sink.refuse(error)
        except CancelledError:
            self.cut()
        except Exception as error:  # noqa: BLE001  # a defect of ours: no client may hang for it
            say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")
            sink.refuse(BuffrError("internal error; the log says more"))

    def _resume_reading(self) -> None:
        self.since = self._listener.now
        if not self.lost and not self._held_back:
            self.transport.resumeProducing()

    def _body_bytes(self, data: bytes) -> None:
        decoder, stream = self._decoder, self._stream
        assert decoder is not None
        assert stream is not None
        try:
            pieces = decoder.feed(data)
        except BuffrError as error:
            self._decoder = None
            self.closing = self._broken = True
            stream.fail(error)
            return
        if decoder.done:
            self._decoder = None
            self._buffer = decoder.rest
        if pieces:
            stream.feed(pieces)
        if decoder.done:
            stream.finish(decoder.trailers)

    def _refuse(self, error: BuffrError) -> None:
        self._listener.refused(error)
        self.closing = self._broken = True
        self._sink = ClientSink(self, Request(b"GET", b"/", ()))
        self._sink.refuse(error)

    def part(self) -> None:
        """Close: at once where no exchange is under way, else behind its answer."""
        if self._sink is None:
            self.stop()
        else:
            self.closing = True

    def _let_bound_go(self) -> None:
        for bonds in list(self.bonds):
            bonds.left(self)

    def hand_over(self, successor: Protocol) -> None:
        """Leave the connection to another protocol, with what is already read."""
        self.closing = True
        self._let_bound_go()
        self._sink = self._exchange = None
        rest, self._buffer = self._buffer, b""
        self.transport.unregisterProducer()
        self._successor = successor
        successor.makeConnection(self.transport)
        if self._held_back:
            self.transport.resumeProducing()
        if rest:
            successor.dataReceived(rest)

    def send(self, data: bytes) -> None:
        self.since = self._listener.now
        self.transport.write(data)

    @cached_property
    def client(self) -> str:
        """The client's address."""
        return str(getattr(self.transport.getPeer(), "host", ""))

    def keeps_alive(self, request: Request) -> bool:
        return (
            request.keep_alive
            and not self.closing
            and not self._half_closed_with_nothing_left()
            and not self._listener.stopping
        )

    def _half_closed_with_nothing_left(self) -> bool:
        return self._half_closed and not self._buffer

    def answered(self, *, keep_alive: bool) -> None:
        self._sink = self._exchange = None
        self.since = self._listener.now
        unread = self._decoder is not None or self._broken
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()
        if unread or not keep_alive or self.closing or self._listener.stopping:
            self._close(unread=unread or bool(self._buffer))
        else:
            self._step()

    def _close(self, *, unread: bool) -> None:
        """Close when the answer is out.

        A client that still sends would lose the answer to a reset: then our
        side is closed first, and what comes is read and dropped for a while.
        """
        self.closing = True
        self._decoder = None
        self._buffer = b""
        self.transport.unregisterProducer()
        self.writable = True
        if unread and not self._half_closed and not ISSLTransport.providedBy(self.transport):
            self.since = self._listener.now
            self.transport.loseWriteConnection()
            if self._held_back:
                self.transport.resumeProducing()
        else:
            self.transport.loseConnection()

    def cut(self) -> None:
        if not self.lost:
            self.closing = True
            self.transport.abortConnection()

    def break_off(self) -> None:
        if not self.lost:
            self._sink = self._exchange = None
            self._close(unread=False)

    def pauseProducing(self) -> None:
        self.writable = False

    def resumeProducing(self) -> None:
        self.writable = True
        self.since = self._listener.now
        self.room.tell()
        if self._sink is None and not self.closing:
            self._step()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still want its answers."""
        if self._successor is not None:
            if IHalfCloseableProtocol.providedBy(self._successor):
                self._successor.readConnectionLost()
            else:
                self.transport.loseConnection()
            return
        self._half_closed = True
        self.since = self._listener.now
        if self._decoder is not None:
            self._gone()
            self._close(unread=False)
        elif self.closing and self._sink is None:
            self.transport.loseConnection()
        else:
            self._step()

    def writeConnectionLost(self) -> None:
        """Our side is closed; the client's end is waited for, within ``body_idle_s``."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        self.closing = True
        self._listener.gone(self)
        if self._successor is not None:
            self._successor.connectionLost(reason)
        self._gone()
        self._let_bound_go()
        self.room.tell()

    def _gone(self) -> None:
        if self._stream is not None:
            self._stream.fail(ClientGone("the client left before its request was whole"))
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()

    def check(self, now: float) -> None:
        """Close what has taken too long; called about once a second."""
        if self._successor is not None:
            return
        limits = self._limits
        if self._sink is None:
            bound = self._bound_between_exchanges()
            if bound and now - self.since > bound:
                self._time_out()
        elif self._half_closed and limits.half_close_s:
            if now - self.since > limits.half_close_s:
                self.cut()
        elif self._client_is_due() and limits.body_idle_s and now - self.since > limits.body_idle_s:
            self.cut()

    def _bound_between_exchanges(self) -> float:
        limits = self._limits
        if self.closing or self._waiting is not None or not self.writable:
            return limits.body_idle_s
        return limits.head_s if self._buffer else limits.idle_s

    def _client_is_due(self) -> bool:
        """Whether the exchange waits for the client: to send its body on, or to read."""
        sending = self._decoder is not None
        return not self.writable or (
            sending and self._stream is not None and not self._stream.paused
        )

    def _time_out(self) -> None:
        began = bool(self._buffer) or self._waiting is not None
        if began and self.writable and not self.closing:
            self._refuse(
                BadRequest("the request came too slowly", status=408, reason=b"Request Timeout")
            )
        else:
            self.transport.abortConnection()

    def stop(self) -> None:
        """Close now if no exchange is under way, else after its answer."""
        if self._sink is None and self._successor is None and not self.closing:
            self._close(unread=False)


def _is_worth_waiting_for(request: Request) -> bool:
    """A client may wait for leave to send its body; that of CONNECT is refused (RFC 9110 9.3.6)."""
    return not request.expects_continue and request.method != b"CONNECT"
