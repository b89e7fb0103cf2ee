"""A client's connection in HTTP/2: exchanges in streams, several at once (RFC 9113).

An engine has the frames and the windows. Here a stream becomes an exchange,
and what the engine has for the client goes out: all of it when what the client
sent has been dealt with, so that many answers share a segment.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BadRequest, BuffrError
from buffr.listeners.client import GOODBYE_S, Handler, Http2Terms, Listener, too_slow
from buffr.listeners.hit_memo import KnownHit, RelayedHere, Repeated
from buffr.listeners.http2_sink import Http2Sink
from buffr.log import say
from buffr.message import CHUNKED, Headers, Piece, Request
from buffr.tls.thin import close_at_once
from buffr.transport.direct_send import send_at_once
from buffr.transport.streams import BodyStream, IStreamTransport
from buffr.upstream.bound import Bonds
from buffr.wire.http2.engines import open_engine
from buffr.wire.http2.floods import Calm
from buffr.wire.http2.interface import Code, Nuisance, Role
from buffr.wire.http2.requests import request_of

__all__ = ["Http2Connection"]

_SEGMENT = 16384
"""What is taken at a time: the plain text of one TLS record."""
_WAIT_FOR_WHOLE = 65536
"""Bodies up to this size are read before their exchange starts, as in HTTP/1.1."""
_UNREADABLE = Request(b"GET", b"/", (), major=2)
"""In the place of a request that is none."""


class _Gathered:
    """A request whose short body is still coming."""

    __slots__ = ("awaited_from", "body", "fields", "request", "since")

    def __init__(self, fields: Headers, request: Request, since: float) -> None:
        self.fields = fields
        self.request = request
        self.body = bytearray()
        self.since = self.awaited_from = since


@implementer(IHalfCloseableProtocol, IPushProducer)
class Http2Connection(Protocol):
    """Speaks HTTP/2 to a client. ``handle`` answers the requests, by default the listener's."""

    transport: IStreamTransport

    def __init__(self, listener: Listener, terms: Http2Terms, handle: Handler | None) -> None:
        self.bonds: set[Bonds] = set()
        self.lost = False
        self._listener = listener
        self._own_handler = handle
        self._limits = listener.limits
        self._since = listener.now
        """When a stream was last opened or closed."""
        self._sinks: dict[int, Http2Sink] = {}
        """The streams with an exchange, until both sides of it are complete."""
        self._gathered: dict[int, _Gathered] = {}
        self._unmeasured: list[int] = []
        """Those of them whose body has no known length, until all that has come was dealt with."""
        self._full: set[Http2Sink] = set()
        """The streams whose answers are ahead of what the client takes."""
        self._calm = Calm(terms.patience, listener.now)
        self._busy = False
        """Whether ``flush`` comes at the end of what is going on, or goes on already."""
        self._held = False
        """Whether the transport takes no more."""
        self._closing = False
        self.engine = open_engine(Role.SERVER, self, terms.bounds, terms.engine)

    @cached_property
    def client_address(self) -> str:
        """The client's IP address."""
        return str(getattr(self.transport.getPeer(), "host", ""))

    # The transport.

    def connectionMade(self) -> None:
        self._listener.came(self)
        self.transport.registerProducer(self, True)
        send_at_once(self.transport)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._busy = True
        try:
            self.engine.receive(data)
            if self._unmeasured:
                self._open_unmeasured()
        finally:
            self._busy = False
        if self._calm.broken:
            self.engine.terminate(Code.ENHANCE_YOUR_CALM)
        self.flush()

    def pauseProducing(self) -> None:
        self._held = True

    def resumeProducing(self) -> None:
        self._held = False
        self.flush()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def flush(self) -> None:
        """Send what the client and the transport take, unless that is about to be done anyway."""
        if self._busy or self._closing:
            return
        self._busy = True
        take, write = self.engine.take, self.transport.write
        try:
            while not self._held:
                data = take(_SEGMENT)
                if data:
                    write(data)
                    self._calm.sent(len(data))
                if len(data) < _SEGMENT and not (self._full and self._tell()):
                    break
        finally:
            self._busy = False
        if self.engine.over and not self._held:
            self._close()

    def _tell(self) -> bool:
        """Tell those that are ahead what was taken. Returns whether there may be more to send."""
        more = False
        for sink in list(self._full):
            self._full.discard(sink)  # it may be ahead again before the call is over
            if sink.taken():
                more = True
            else:
                self._full.add(sink)
        return more

    def _close(self) -> None:
        if self._closing:
            return
        self._closing, self._since = True, self._listener.now
        fault = self._calm.broken or self.engine.fault
        if fault:
            hint = "limits.http2_resets and limits.http2_frames bound that"
            flood = {"hint": hint} if self._calm.broken else {}
            client = self.client_address
            say(LogLevel.warn, "HTTP/2 connection closed", client=client, err=fault, **flood)
        self.transport.unregisterProducer()
        if fault and not ISSLTransport.providedBy(self.transport):
            # A client that still sends would lose the GOAWAY to a reset. What comes is dropped.
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self._leave_all()

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still want its answers."""
        if self._closing:
            self.transport.loseConnection()
            return
        for sink in list(self._sinks.values()):
            if sink.complete:
                sink.half_close(leaving=True)
            else:
                self.engine.reset(sink.stream, Code.CANCEL)
                self.forget(sink)
                sink.gone()
        for stream in self._gathered:
            self.engine.reset(stream, Code.CANCEL)
        self._gathered.clear()
        self.stop()

    def writeConnectionLost(self) -> None:
        """Our side is closed; the client's end is waited for."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = self._closing = True
        self._listener.gone(self)
        self._leave_all(reason)
        for bonds in list(self.bonds):
            bonds.left(self)
        self.engine.forget()

    def _leave_all(self, reason: Failure = connectionDone) -> None:
        sinks, self._sinks = self._sinks, {}
        self._gathered.clear()
        self._full.clear()
        for sink in sinks.values():
            sink.gone(reason)

    # What the engine hears.

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        if self._calm.broken:
            return
        self._since = self._listener.now
        handle = self._own_handler or self._listener.handle
        if ended and self._is_known(stream, handle, fields):
            return
        try:
            request = self._request(fields, ended=ended)
        except BuffrError as error:
            self._listener.refused(error)
            sink = Http2Sink(self._listener, self, stream, _UNREADABLE, b"", complete=ended)
            self._sinks[stream] = sink
            sink.refuse(error)
            return
        length = request.body_length
        if length == 0:
            sink = Http2Sink(self._listener, self, stream, request, b"", complete=ended)
            if ended:
                sink.asked = handle, fields
            self._start(sink)
        elif length > _WAIT_FOR_WHOLE or request.expects_continue:
            self._start(self._streaming(stream, request))
        else:
            self._gathered[stream] = _Gathered(fields, request, self._listener.now)
            if length == CHUNKED:
                self._unmeasured.append(stream)

    def _streaming(self, stream: int, request: Request) -> Http2Sink:
        """A sink for a request whose body is read as it comes."""
        sink = Http2Sink(self._listener, self, stream, request, b"", complete=False)
        sink.body = BodyStream(sink.hold_body, sink.resume_body)
        return sink

    def _open_unmeasured(self) -> None:
        """Start the exchanges of bodies without a length that did not come whole."""
        streams, self._unmeasured = self._unmeasured, []
        for stream in streams:
            gathered = self._gathered.pop(stream, None)
            if gathered is not None:
                self._open(stream, gathered)

    def _open(self, stream: int, gathered: _Gathered) -> Http2Sink:
        """Start an exchange with what has come of its body, which has no known length."""
        sink = self._streaming(stream, gathered.request)
        came = bytes(gathered.body)
        if came and isinstance(sink.body, BodyStream):
            sink.body.feed((Piece(came, len(came)),))
        self._start(sink)
        return sink

    def _is_known(self, stream: int, handle: Handler, fields: Headers) -> bool:
        """Answer a request at once that is remembered with its answer, if that still holds.

        A body is the last of the ``fields``, without a name.
        """
        listener = self._listener
        values: Sequence[bytes] = ()
        hits = listener.hits
        if not hits.filled:
            return False
        known = hits.get((handle, fields))
        if known is None:
            cut = hits.cut_fields(fields)
            similar = None if cut is None else hits.similar(handle, cut)
            if similar is None:
                return False
            known, values = similar
        if listener.stopping or isinstance(known, RelayedHere):
            return False
        hit, guard, body = known.hit, known.guard, known.data
        if guard is not None and not guard(self.client_address, hit.route):
            return False
        if not hit.again(self):
            return False
        trailers = known.trailers
        self.engine.answer(stream, known.fields, ended=not (body or trailers))
        if body:
            self.engine.send(stream, body, ended=not trailers)
        if trailers:
            self.engine.trail(stream, trailers)
        hit.tell(values)
        return True

    def _request(self, fields: Headers, *, ended: bool) -> Request:
        # Equal fields may differ in what no table may learn, which is their kind.
        key = fields, ended, tuple(map(type, fields))
        requests = self._listener.requests
        request = requests.get(key)
        if request is None:
            request = request_of(fields, ended=ended, limits=self._limits.head, new_key=_new_key)
            if not request.upgrade and request.method != b"CONNECT":
                requests.put(key, request, 2 * request.head_bytes)
        return request

    def _start(self, sink: Http2Sink) -> None:
        self._sinks[sink.stream] = sink
        sink.start(self._own_handler or self._listener.handle)

    def interim(self, stream: int, fields: Headers) -> None:
        """Clients send none."""

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        sink = self._sinks.get(stream)
        if sink is not None:
            sink.data(data, ended=ended)
            return
        self.engine.consumed(stream, len(data))
        gathered = self._gathered.get(stream)
        if gathered is None:
            return
        gathered.since = self._listener.now
        body = gathered.body
        body += data
        length = gathered.request.body_length
        if length != CHUNKED and (len(body) > length or (ended and len(body) < length)):
            self._refuse(stream, BadRequest("a body of another length than its Content-Length"))
        elif ended:
            self._whole(stream, gathered)

    def trailers(self, stream: int, fields: Headers) -> None:
        sink, gathered = self._sinks.get(stream), self._gathered.get(stream)
        if sink is not None:
            sink.trailers(fields)
        elif gathered is None:
            return
        elif gathered.request.body_length == CHUNKED:
            del self._gathered[stream]
            self._open(stream, gathered).trailers(fields)
        else:
            self.data(stream, b"", ended=True)  # a body of known length has none in HTTP/1.1

    def _whole(self, stream: int, gathered: _Gathered) -> None:
        del self._gathered[stream]
        body = bytes(gathered.body)
        handle = self._own_handler or self._listener.handle
        came = (*gathered.fields, (b"", body))
        if self._is_known(stream, handle, came):
            return
        sink = Http2Sink(self._listener, self, stream, gathered.request, body, complete=True)
        sink.asked = handle, came
        self._start(sink)

    def _refuse(self, stream: int, error: BuffrError) -> None:
        """Answer a request that is malformed after its head."""
        gathered = self._gathered.pop(stream)
        self._listener.refused(error)
        sink = Http2Sink(self._listener, self, stream, gathered.request, b"", complete=False)
        self._sinks[stream] = sink
        sink.refuse(error)

    def reset(self, stream: int, code: int) -> None:  # noqa: ARG002  # an exchange ends the same
        self._calm.reset(self._listener.now)
        self._gathered.pop(stream, None)
        sink = self._sinks.pop(stream, None)
        if sink is not None:
            self._full.discard(sink)
            sink.gone()

    def going_away(self, last: int, code: int) -> None:
        """The client opens no more streams; those that are open go on."""

    def nuisance(self, kind: Nuisance) -> None:
        self._calm.nuisance(kind, self._listener.now)

    # What the sinks do.

    def fill(self, sink: Http2Sink) -> None:
        """The sink is ahead of its client: tell it when something was taken."""
        self._full.add(sink)

    def remember(self, request: Repeated, known: KnownHit) -> None:
        """Answer a request of these fields in the same way when it comes again."""
        self._listener.hits.put(request, known)

    def forget(self, sink: Http2Sink) -> None:
        """Both sides of the stream are complete, or it was reset."""
        self._since = self._listener.now
        self._full.discard(sink)
        self._sinks.pop(sink.stream, None)

    # The end.

    def part(self) -> None:
        """Close: at once if no exchange is under way, otherwise after its answer."""
        self.stop()

    def stop(self) -> None:
        """Tell the client to open no more streams, and close when those that are open are over."""
        self.engine.go_away()
        self.flush()
        if self.engine.over and not self._held:
            close_at_once(self.transport)

    def cut(self) -> None:
        if not self.lost:
            self.transport.abortConnection()

    # Time limits.

    def check(self, now: float) -> None:
        """Reset or close what has taken too long; called about once a second."""
        limits = self._limits
        for sink in list(self._sinks.values()):
            sink.check(now)
        bound_s = limits.body_idle_s
        for stream, gathered in list(self._gathered.items()):
            awaited_s = now - gathered.awaited_from
            if (bound_s and now - gathered.since > bound_s) or limits.is_too_slow(
                len(gathered.body), awaited_s
            ):
                self._refuse(stream, too_slow())
        idle_s = now - self._since
        if self._closing:
            if idle_s > limits.half_close_s:  # the client does not read the last of it, or close
                self.cut()
            elif self._listener.stopping and idle_s > GOODBYE_S:
                close_at_once(self.transport)
        elif limits.idle_s and idle_s > limits.idle_s and not (self._sinks or self._gathered):
            if self._held or (bound_s and idle_s > limits.idle_s + bound_s):
                self.cut()  # the client takes nothing any more
            else:
                self.stop()


def _new_key() -> bytes:
    """A ``Sec-WebSocket-Key``, which a client in HTTP/2 does not send."""
    return b64encode(secrets.token_bytes(16))
