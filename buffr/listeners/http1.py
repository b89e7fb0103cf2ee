"""A client's connection in HTTP/1.1 and HTTP/1.0: requests one at a time and in order.

A connection is in one state of ``State`` at a time. ``TRANSITIONS`` says which
states may follow. While an exchange is under way, reading goes on into a bounded
buffer, so that a client that leaves is noticed and pipelined requests keep
their order.

Two facts stand beside the state, because they hold in many of them: whether
another request may follow (``keep_alive``), and whether the client has closed
its side (RFC 9112 9.6), which keeps it from sending but not from reading.
"""

from __future__ import annotations

from enum import IntEnum, auto

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BuffrError, ClientGone
from buffr.exchanges.known_relay import Relay
from buffr.listeners.client import GOODBYE_S, Handler, Listener, too_slow
from buffr.listeners.hit_memo import KnownHit, RelayedHere, Repeated
from buffr.listeners.http1_sink import Http1Sink, resumed
from buffr.listeners.http2 import Http2Connection
from buffr.message import Request, ResponseHead
from buffr.tls.thin import close_at_once
from buffr.transport.direct_send import delay_nothing
from buffr.transport.streams import BodyStream, IStreamTransport
from buffr.upstream.bound import Bonds
from buffr.wire.http1_body import BodyDecoder, decoder_for
from buffr.wire.http1_requests import RequestHeads
from buffr.wire.http2.requests import PREFACE_START

__all__ = ["TRANSITIONS", "Http1Connection", "State"]

_WAIT_FOR_WHOLE = 65536
"""Bodies up to this size are read before their exchange starts: few steps, and no stream."""


class State(IntEnum):
    """What a connection is doing, in the order of an exchange."""

    IDLE = auto()
    """Nothing of the next request has come."""
    HEAD = auto()
    """A part of a head has come."""
    WAITING = auto()
    """A head has come. Its exchange starts when its short body has come too."""
    FLUSHING = auto()
    """The answer is complete, but the client has not read it. No request is begun."""
    RECEIVING = auto()
    """An exchange is under way, and its body is still coming."""
    ANSWERING = auto()
    """An exchange is under way, and its request is complete."""
    RELAYING = auto()
    """The same for a request that was relayed before, as long as its exchange needs no sink."""
    REFUSING = auto()
    """An exchange is under way whose request is malformed: nothing after it can be read."""
    HANDED_OVER = auto()
    """Another protocol has the connection."""
    LINGERING = auto()
    """Our side is closed. What the client still sends is dropped, so that it gets the answer."""
    CLOSING = auto()
    """The connection closes once everything is sent, or at once."""
    CLOSED = auto()
    """The connection is gone."""


# Attributes of an enum's class are slow to look up.
IDLE, HEAD, WAITING, FLUSHING, RECEIVING, ANSWERING, RELAYING, REFUSING, *_LAST = State
HANDED_OVER, LINGERING, CLOSING, CLOSED = _LAST

_UNDER_WAY = (RECEIVING, ANSWERING, RELAYING, REFUSING)
_ENDED = (CLOSING, CLOSED)

TRANSITIONS: dict[State, frozenset[State]] = {
    IDLE: frozenset((HEAD, WAITING, FLUSHING, HANDED_OVER, *_UNDER_WAY, *_ENDED)),
    HEAD: frozenset((IDLE, WAITING, FLUSHING, HANDED_OVER, *_UNDER_WAY, *_ENDED)),
    # 408 refuses a body that comes too slowly.
    WAITING: frozenset((FLUSHING, ANSWERING, REFUSING, *_ENDED)),
    FLUSHING: frozenset((IDLE, WAITING, *_ENDED)),
    # An answer may be complete before its request is. The rest of it is not read then.
    RECEIVING: frozenset((ANSWERING, REFUSING, LINGERING, *_ENDED)),
    ANSWERING: frozenset((IDLE, FLUSHING, HANDED_OVER, LINGERING, *_ENDED)),
    RELAYING: frozenset((IDLE, ANSWERING, *_ENDED)),
    REFUSING: frozenset((LINGERING, *_ENDED)),
    HANDED_OVER: frozenset((CLOSED,)),
    LINGERING: frozenset(_ENDED),
    CLOSING: frozenset(_ENDED),
    CLOSED: frozenset(),
}
"""The states that may follow each state."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class Http1Connection(Protocol):
    """Speaks HTTP/1.1 to a client. ``handle`` answers the requests, by default the listener's."""

    transport: IStreamTransport

    # Only while the state is RELAYING: the request that is under way, and what is known of it.
    _relay: Relay
    _relayed: RelayedHere

    def __init__(self, listener: Listener, handle: Handler | None = None) -> None:
        self.client_address = ""
        """The client's IP address, once there is a connection."""
        self.keep_alive = True
        """Whether another request may follow the one that is under way."""
        self.bonds: set[Bonds] = set()
        self.since = listener.now
        """When the connection last made progress, between exchanges."""
        self._listener = listener
        self._own_handler = handle
        """Without one it is the listener's, which becomes another one with its settings."""
        self._limits = listener.limits
        self._heads = RequestHeads(listener.memo, listener.limits.head)
        self._state = IDLE
        self._buffer = b""
        self._segment = b""
        """What came when the connection was idle, until it is known to be more than one request."""
        self._awaited_from = 0.0
        """Since when the body of a request has been awaited in WAITING."""
        self._sink: Http1Sink | None = None
        """That of the exchange under way, or of the last one while it is FLUSHING."""
        self._waiting: Request | None = None
        self._decoder: BodyDecoder | None = None
        self._successor: Protocol | None = None
        self._served = False
        """Whether a request has come."""
        self._half_closed = False
        self._held_back = False
        """Whether reading is paused because the buffer is full."""

    def _become(self, state: State) -> None:
        assert state in TRANSITIONS[self._state], (self._state, state)
        self._state = state

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""
        return self._state is CLOSED

    # What the client sends.

    def connectionMade(self) -> None:
        transport = self.transport
        if not self.client_address:
            # TCP connections have it at hand; they would make an address object first.
            host = getattr(transport, "hostname", None) or getattr(transport.getPeer(), "host", "")
            self.client_address = str(host)
        self._listener.came(self)
        transport.registerProducer(self, True)
        delay_nothing(transport)

    def dataReceived(self, data: bytes) -> None:
        state = self._state
        if state is IDLE:
            if self._listener.hits.filled and self._is_known(data):
                return
            self.since = self._listener.now
            self._segment = data
        elif state is WAITING:
            # A head has its time as a whole, from its first byte on.
            self.since = self._listener.now
            self._segment = b""
        elif state is RECEIVING:
            self._body_bytes(data)
            return
        elif state is HANDED_OVER:
            assert self._successor is not None
            self._successor.dataReceived(data)
            return
        elif state >= LINGERING:
            return
        else:
            self._segment = b""
            if state is RELAYING:
                self.go_on()
        self._buffer = self._buffer + data if self._buffer else data
        if state <= WAITING:
            self._step()
        if self._buffer:
            self._bound_buffer()

    def _is_known(self, data: bytes) -> bool:
        """Answer a request at once whose bytes and answer are remembered, if that still holds."""
        listener = self._listener
        values: tuple[bytes, ...] = ()
        handler, hits = self._own_handler or listener.handle, listener.hits
        known = hits.get((handler, data))
        if known is None:
            if data.startswith(b"CONNECT "):  # nothing is remembered that is similar
                return False
            cut = hits.cut(data)
            similar = None if cut is None else hits.similar(handler, cut)
            if similar is None:
                return False
            known, values = similar
        if listener.stopping:
            return False
        if isinstance(known, RelayedHere):
            return self._relays(known, values)
        hit, guard = known.hit, known.guard
        if guard is not None and not guard(self.client_address, hit.route):
            return False
        if not hit.again(self):
            return False
        self._served = True
        self.since = listener.now
        self.transport.write(known.data)
        hit.tell(values)
        return True

    def remember(self, request: Repeated, known: KnownHit) -> None:
        self._listener.hits.put(request, known)

    def remember_relay(self, request: Repeated, known: RelayedHere) -> None:
        self._listener.hits.put_relay(request, known)

    def _relays(self, known: RelayedHere, values: tuple[bytes, ...]) -> bool:
        """Relay it at once, if it still may be."""
        relay, guard = known.relay, known.guard
        if guard is not None and not guard(self.client_address, relay.route):
            return False
        again = relay.again(self, values)
        if again is None:
            return False
        self._served = True
        self._relay, self._relayed = again, known
        self._become(RELAYING)
        return True

    def can_take(self) -> bool:
        return self.keeps_alive(self._relayed.request)

    def give(self, head: ResponseHead, body: bytes) -> bool:
        self.since = self._listener.now
        self._become(IDLE)
        # As a sink frames what ``remember_relay`` is called for.
        self.transport.write(b"%b\r\n%b" % (head.encoded, body))
        if self._state is FLUSHING:
            return False
        del self._relay
        return True

    def go_on(self) -> None:
        relay = self._relay
        del self._relay
        if relay.passed is None:
            self._become(ANSWERING)
        self._sink = sink = resumed(self._listener, self, self._relayed, relay)
        sink.start(lambda _request, _body, seen: relay.finish(seen))

    def _bound_buffer(self) -> None:
        """Read no more while the buffer is full of requests that wait for their turn."""
        full = len(self._buffer) > self._limits.buffer_bytes
        if full and not self._held_back and FLUSHING <= self._state <= REFUSING:
            self._held_back = True
            self.transport.pauseProducing()

    def _step(self) -> None:
        """Serve what the buffer holds, request after request, until one has to wait."""
        while self._buffer and self._state <= WAITING:
            if not self._next_request():
                break
        if self._half_closed and self._state <= WAITING:
            # What is left can no longer become a request.
            self._close(unread=False)
        elif self._held_back and len(self._buffer) <= self._limits.buffer_bytes:
            self._held_back = False
            self._resume_reading()

    def _next_request(self) -> bool:
        """Start the exchange at the front of the buffer. Returns whether it could be started."""
        # Whatever comes of this request, the segment is no longer all of what follows.
        segment, self._segment = self._segment, b""
        request = self._waiting
        if request is None:
            try:
                request, self._buffer = self._heads.take(self._buffer)
            except BuffrError as error:
                if not self._turned_to_http2():
                    self._refuse(error)
                return False
            if request is None:
                self._between_heads()
                return False
        self._served = True
        length = request.body_length
        if length == 0:
            body = b""
        elif 0 < length <= len(self._buffer):
            body, self._buffer = self._buffer[:length], self._buffer[length:]
        elif 0 < length <= _WAIT_FOR_WHOLE and _is_worth_waiting_for(request):
            if self._waiting is None:
                self._waiting = request
                self._awaited_from = self._listener.now
                self._become(WAITING)
            return False
        else:
            self._begin_stream(request)
            return True
        self._waiting = None
        self._become(ANSWERING)
        self._sink = sink = Http1Sink(self._listener, self, request, body)
        sink.half_closed = self._half_closed
        handler = self._own_handler or self._listener.handle
        if segment and not self._buffer:
            sink.asked = handler, segment
        sink.start(handler)
        return True

    def _turned_to_http2(self) -> bool:
        """Leave a connection that begins as HTTP/2 does to its protocol (RFC 9113 3.3, 3.4).

        One that was to be HTTP/2, by ALPN, ends as HTTP/2 does if it begins otherwise.
        """
        terms = self._limits.http2
        if terms is None or self._served:
            return False
        if not self._buffer.startswith(PREFACE_START):
            chosen = getattr(self.transport, "negotiatedProtocol", None)
            if chosen != b"h2":
                return False
        self._leave_to(Http2Connection(self._listener, terms, self._own_handler))
        return True

    def _between_heads(self) -> None:
        state = HEAD if self._buffer else IDLE
        if self._state is not state:
            self._become(state)

    def _begin_stream(self, request: Request) -> None:
        self._become(RECEIVING)
        self._decoder = decoder_for(request.body_length)
        stream = BodyStream(self.transport.pauseProducing, self._body_was_read)
        self._sink = sink = Http1Sink(self._listener, self, request, stream)
        rest, self._buffer = self._buffer, b""
        if rest:
            self._body_bytes(rest)
        if self._half_closed and self._state is RECEIVING:
            self._close(unread=False)  # the rest of the body will not come
        else:
            sink.half_closed = self._half_closed
            sink.start(self._own_handler or self._listener.handle)

    def _body_bytes(self, data: bytes) -> None:
        decoder, sink = self._decoder, self._sink
        assert decoder is not None
        assert sink is not None
        stream = sink.body
        assert isinstance(stream, BodyStream)
        sink.since = self._listener.now
        try:
            pieces = decoder.feed(data)
        except BuffrError as error:
            self.keep_alive = False
            self._become(REFUSING)
            stream.fail(error)
            return
        if decoder.done:
            self._become(ANSWERING)
            self._buffer = decoder.rest
        if pieces:
            stream.feed(pieces)
        if decoder.done:
            stream.finish(decoder.trailers)

    def _body_was_read(self) -> None:
        if self._sink is not None:
            self._sink.since = self._listener.now
        self._resume_reading()

    def _resume_reading(self) -> None:
        """Read on, unless the buffer or the body of the exchange is full."""
        sink = self._sink
        full = sink is not None and isinstance(sink.body, BodyStream) and sink.body.paused
        if not (full or self._held_back or self.lost):
            self.transport.resumeProducing()

    def _refuse(self, error: BuffrError) -> None:
        """Answer what is not a request."""
        self._listener.refused(error)
        self.keep_alive = False
        self._waiting = None
        self._become(REFUSING)
        self._sink = Http1Sink(self._listener, self, Request(b"GET", b"/", ()), b"")
        self._sink.refuse(error)

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still want its answers."""
        if self._state is RELAYING:
            self.go_on()
        state, sink = self._state, self._sink
        if state is HANDED_OVER:
            successor = self._successor
            if successor is not None and IHalfCloseableProtocol.providedBy(successor):
                successor.readConnectionLost()
            else:
                self.transport.loseConnection()
            return
        self._half_closed = True
        self.since = self._listener.now
        if state is RECEIVING:
            assert sink is not None
            sink.leave()
            self._close(unread=False)
        elif state <= WAITING:
            self._step()
        elif state <= REFUSING:
            if sink is not None:
                sink.half_close(leaving=sink.request.keep_alive and not self._buffer)
        else:
            self.transport.loseConnection()

    # The answer.

    def keeps_alive(self, request: Request) -> bool:
        return (
            request.keep_alive
            and self.keep_alive
            and not (self._half_closed and not self._buffer)
            and not self._listener.stopping
        )

    def answered(self, *, keep_alive: bool) -> None:
        sink = self._sink
        if sink is None or self._state not in _UNDER_WAY:  # it is being closed
            return
        self.since = self._listener.now
        if isinstance(sink.body, BodyStream):
            sink.body.abandon()
        unread = self._state is not ANSWERING
        if unread or not (keep_alive and self.keep_alive) or self._listener.stopping:
            self._close(unread=unread or bool(self._buffer))
        elif not sink.writable:
            self._become(FLUSHING)
        else:
            self._become(IDLE)
            self._sink = None
            left = self._buffer or self._half_closed or self._held_back
            if left and sink.running is not None:  # otherwise ``_step`` has called this
                self._step()

    def pauseProducing(self) -> None:
        if self._state is RELAYING:
            self.go_on()
        if self._sink is not None:
            self._sink.pause()
        elif self._state <= WAITING:
            self._become(FLUSHING)

    def resumeProducing(self) -> None:
        self.since = self._listener.now
        sink, flushed = self._sink, self._state is FLUSHING
        if sink is not None:
            sink.resume()
        if flushed:
            self._sink = None
            self._become(IDLE if self._waiting is None else WAITING)
            self._step()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def hand_over(self, successor: Protocol) -> None:
        if self._state is not ANSWERING:
            raise ClientGone("the connection is being closed")
        self._leave_to(successor)

    def _leave_to(self, successor: Protocol) -> None:
        self._become(HANDED_OVER)
        if self.bonds:
            self._release_bonds()
        self._sink = None
        rest, self._buffer = self._buffer, b""
        self.transport.unregisterProducer()
        self._successor = successor
        successor.makeConnection(self.transport)
        if self._held_back:
            self.transport.resumeProducing()
        if rest:
            successor.dataReceived(rest)

    # The end.

    def _close(self, *, unread: bool) -> None:
        """Close once the answer is sent.

        A client that still sends would lose the answer to a reset. So our side
        is closed first, and what comes is read and dropped for a while.
        """
        sink, self._sink = self._sink, None
        self._buffer = b""
        self._waiting = None
        self.transport.unregisterProducer()
        if unread and not self._half_closed and not ISSLTransport.providedBy(self.transport):
            self._become(LINGERING)
            self.since = self._listener.now
            self.transport.loseWriteConnection()
            if self._held_back:
                self.transport.resumeProducing()
        else:
            self._become(CLOSING)
            self.transport.loseConnection()
        if sink is not None:
            sink.resume()

    def cut(self) -> None:
        if self._state is CLOSED:
            return
        if self._state is RELAYING:
            self.go_on()
        if self._state is not HANDED_OVER:
            self._become(CLOSING)
        self.transport.abortConnection()

    def break_off(self) -> None:
        if self._state < LINGERING:
            self._close(unread=False)

    def part(self) -> None:
        """Close: at once if no exchange is under way, otherwise after its answer."""
        if self._state in _UNDER_WAY:
            self.keep_alive = False
        else:
            self.stop()

    def stop(self) -> None:
        """Close now if no exchange is under way, otherwise after its answer."""
        if self._state is IDLE:
            self._close(unread=False)
            close_at_once(self.transport)
        elif self._state <= FLUSHING:
            self._close(unread=False)

    def _release_bonds(self) -> None:
        for bonds in list(self.bonds):
            bonds.left(self)

    def writeConnectionLost(self) -> None:
        """Our side is closed; the client's end is waited for, within ``body_idle_s``."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._state is RELAYING:
            self.go_on()
        self._become(CLOSED)
        self._listener.gone(self)
        if self._successor is not None:
            self._successor.connectionLost(reason)
        if self._sink is not None:
            self._sink.leave()
        if self.bonds:
            self._release_bonds()

    # Time limits.

    def check(self, now: float) -> None:
        """Close what has taken too long; called about once a second."""
        if self._state is HANDED_OVER:
            return
        if self._state in _UNDER_WAY:
            if self._sink is not None:
                self._sink.check(now)
            return
        if self._state is CLOSING and self._listener.stopping and now - self.since > GOODBYE_S:
            close_at_once(self.transport)
            return
        bound_s = self._time_limit_s()
        if (bound_s and now - self.since > bound_s) or (
            self._state is WAITING
            and self._limits.is_too_slow(len(self._buffer), now - self._awaited_from)
        ):
            self._time_out()

    def _time_limit_s(self) -> float:
        """How long the state may last where no exchange is under way."""
        limits = self._limits
        if self._state is IDLE:
            return limits.idle_s
        return limits.head_s if self._state is HEAD else limits.body_idle_s

    def _time_out(self) -> None:
        if self._state is HEAD or self._state is WAITING:
            self._refuse(too_slow())
        else:
            self.transport.abortConnection()


def _is_worth_waiting_for(request: Request) -> bool:
    """Not if the client waits for 100; nor for CONNECT, which is refused (RFC 9110 9.3.6)."""
    return not request.expects_continue and request.method != b"CONNECT"
