"""A connection to an upstream in HTTP/2: many requests at a time, each in a stream (RFC 9113)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BadUpstreamAnswer, BodyCutShort, BuffrError, UpstreamFailed
from buffr.message import CHUNKED, Headers, Piece, ResponseHead, response_length
from buffr.transport.direct_send import send_at_once
from buffr.transport.streams import BodyReader, BodyStream, IStreamTransport, Signal
from buffr.upstream.connection import Patience, Response, impatient
from buffr.upstream.dialling import Dialled
from buffr.upstream.failures import reason_of
from buffr.upstream.hops import Mark
from buffr.wire.http1_answer_heads import AnswerRules
from buffr.wire.http2.answers import answer_of
from buffr.wire.http2.engines import EngineName, open_engine
from buffr.wire.http2.interface import Bounds, Code, Engine, Nuisance, Role, code_name
from buffr.wire.http2.requests import trailers_of

__all__ = ["Http2Connection", "Http2Request", "Http2Terms", "NotInHttp2", "NotTaken"]

_AHEAD = 65536
_SEGMENT = 16384
_LEAST_WAIT_S = 0.05
_SETTLED_S = 1.0
"""How long an upstream's SETTINGS are waited for; they are the first thing that it sends."""
_MOST_STREAMS = 100
"""So many bodies that nobody reads leave room for others: each window has its place in the
connection's."""
_MOST_WINDOW = (1 << 31) - 1
_HINT = "for an upstream that does not speak it, set upstream: {http2: never}"


class StreamReset(UpstreamFailed):
    """The upstream is alive, and refuses to answer this request."""


class NotTaken(StreamReset):
    """The upstream says that it has not looked at the request: it can be sent again (8.7)."""


class NotInHttp2(NotTaken):
    """The upstream takes this request in HTTP/1.1 only (HTTP_1_1_REQUIRED)."""


@frozen
class Http2Terms:
    """How HTTP/2 is spoken with upstreams: what they may send, how long, and by which engine."""

    rules: AnswerRules
    patience: Patience
    bounds: Bounds = Bounds()
    engine: EngineName = "auto"


@frozen(eq=False)
class Http2Request:
    """A request for the wire. ``inform`` gets each interim answer (1xx)."""

    method: bytes
    fields: Headers
    body: bytes | BodyReader
    inform: Callable[[ResponseHead], None]


class _Call:
    """A request in its stream, and what has come of its answer."""

    def __init__(self, connection: Http2Connection, asked: Http2Request) -> None:
        self.stream = 0
        self.asked = asked
        self.answer: Deferred[Response] = Deferred()
        self.answered = False
        self.body = BodyStream(_wait, self._caught_up)
        self.sending: Deferred[None] | None = None
        self.room = Signal()
        self.began_at = self.active_at = connection.clock.seconds()
        self._connection = connection
        self._informed = 0
        self._chunked = False
        self._left = 0
        """How much of a body of known length is still to come."""
        self._owed = 0
        """What was received, and not given back to the upstream's window."""
        self._over = False

    def interim(self, fields: Headers) -> None:
        terms = self._connection.terms
        self._informed += 1
        if self._informed > terms.rules.interim:
            raise BadUpstreamAnswer(
                f"the upstream sent more than {terms.rules.interim} interim answers",
                hint="limits.interim_answers sets the bound",
            )
        self.asked.inform(self._head(fields, ended=False).for_next_hop)

    def head(self, fields: Headers, *, ended: bool) -> None:
        head = self._head(fields, ended=ended)
        length = response_length(self.asked.method, head)
        self._chunked = length == CHUNKED
        self._left = max(0, length)
        self.answered = True
        if ended:
            self.finish(())
        connection, stream = self._connection, self.stream
        abort = lambda: connection.give_up(stream, self)  # noqa: E731
        self.answer.callback(Response(head, length, self.body, abort))

    def _head(self, fields: Headers, *, ended: bool) -> ResponseHead:
        limits = self._connection.terms.rules.head
        return answer_of(fields, ended=ended, limits=limits, method=self.asked.method)

    def data(self, data: bytes) -> None:
        size = len(data)
        if not self._chunked:
            self._left -= size
            if self._left < 0:
                raise BadUpstreamAnswer("the upstream's answer is longer than its Content-Length")
        if not size:
            return
        self._owed += size
        self.body.feed((Piece(data, size if self._chunked else None),))
        if self._over or not self.body.paused:
            self._caught_up()

    def settle(self) -> None:
        """The stream is over: what waits for its reader has no claim on the connection's window."""
        self._over = True
        self._caught_up()

    def _caught_up(self) -> None:
        owed, self._owed = self._owed, 0
        if owed:
            self.active_at = self._connection.clock.seconds()
            self._connection.consumed(self.stream, owed)

    def finish(self, trailers: Headers) -> None:
        """The answer is over."""
        if self._left:
            self.fail(BodyCutShort("the upstream's answer is shorter than its Content-Length"))
        else:
            self.body.finish(trailers)

    def fail(self, error: BuffrError) -> None:
        """No more of the answer will come."""
        if not self.answered:
            self.answered = True
            self.answer.errback(error)
        else:
            self.body.fail(error)

    def cut(self, code: int, words: str) -> None:
        """The upstream has reset the stream within the answer, or where the answer ends.

        NO_ERROR is for a whole answer (8.1). Node's server says nothing else at
        the end of a body that exactly fills a window.
        """
        lenient = self._connection.terms.rules.lenient
        if code == Code.NO_ERROR and not self._left and (lenient or not self._chunked):
            self.body.finish((), words if self._chunked else None)
        else:
            self.fail(BodyCutShort(words, reset=code))

    def stop_sending(self) -> None:
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.cancel()


def _wait() -> None:
    """The reader of a body is behind: its window is not opened again."""


@implementer(IHandshakeListener, IPushProducer)
class Http2Connection(Dialled):
    """Speaks HTTP/2 to an upstream.

    ``tls`` says that the upstream chooses the protocol in the handshake;
    ``speaks`` is then whether it chose HTTP/2. ``on_change`` is called when it
    has room for another request, or never will.
    """

    transport: IStreamTransport

    def __init__(
        self,
        clock: IReactorTime,
        terms: Http2Terms,
        on_change: Callable[[Http2Connection], None],
        *,
        tls: bool,
    ) -> None:
        self.ready: Deferred[None] = Deferred()
        self.speaks = not tls
        self.mark = Mark.NEVER
        self.clock = clock
        self.terms = terms
        self.used = False
        """Whether it has served a request before."""
        self._heard_at = 0.0
        self._on_change = on_change
        self._tls = tls
        self._engine: Engine | None = None
        self._calls: dict[int, _Call] = {}
        self._closed = self._leaving = False
        self._held = self._busy = self._heard = False
        self._timer: IDelayedCall | None = None
        self._settling: IDelayedCall | None = None

    @property
    def is_free(self) -> bool:
        """Whether it takes another request now."""
        engine = self._engine
        if engine is None or self._leaving or self._closed:
            return False
        if self.is_new:
            # What goes beyond the upstream's bound would be refused: the first asks alone.
            return not self._calls
        return len(self._calls) < min(engine.peer_streams, _MOST_STREAMS)

    @property
    def is_new(self) -> bool:
        """Whether it is not known yet how many requests it takes at a time."""
        return self._settling is not None

    @property
    def is_over(self) -> bool:
        """Whether it takes no more requests, ever."""
        return self._leaving or self._closed

    @property
    def is_idle(self) -> bool:
        return not self._calls

    # The transport.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        send_at_once(self.transport)
        if not self._tls:
            self._open()

    def handshakeCompleted(self) -> None:
        if self.ready.called:
            return
        self.speaks = getattr(self.transport, "negotiatedProtocol", None) == b"h2"
        if self.speaks:
            self._open()
        else:
            self.ready.callback(None)

    def _open(self) -> None:
        bounds = self.terms.bounds
        most = min(_MOST_STREAMS * bounds.stream_bytes, _MOST_WINDOW)
        bounds = evolve(bounds, connection_bytes=max(most, bounds.connection_bytes))
        self._engine = open_engine(Role.CLIENT, self, bounds, self.terms.engine)
        self._settling = self.clock.callLater(_SETTLED_S, self._settle)
        self.flush()
        self.ready.callback(None)

    def _settle(self) -> None:
        settling, self._settling = self._settling, None
        if settling is not None:
            if settling.active():
                settling.cancel()
            self._on_change(self)

    def dataReceived(self, data: bytes) -> None:
        if self._engine is None or self._closed:
            return
        if not self._heard and data.startswith(b"HTTP/"):
            self._fault("the upstream answers in HTTP/1.1")
            return
        self._heard = self._busy = True
        self._heard_at = self.clock.seconds()
        try:
            self._engine.receive(data)
        finally:
            self._busy = False
        self.flush()

    def pauseProducing(self) -> None:
        self._held = True

    def resumeProducing(self) -> None:
        self._held = False
        self.flush()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def flush(self) -> None:
        """Send what the upstream and the transport take, unless that is about to be done."""
        engine = self._engine
        if engine is None or self._busy or self._closed:
            return
        self._busy = True
        try:
            while not self._held and (data := engine.take(_SEGMENT)):
                self.transport.write(data)
        finally:
            self._busy = False
        for call in list(self._calls.values()):
            if call.sending is not None and engine.unsent(call.stream) <= _AHEAD // 4:
                call.active_at = self.clock.seconds()
                call.room.notify()
        if engine.over and not self._held:
            self._fault(engine.fault or "the upstream ended the connection")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        words = reason_of(reason.value)
        if not words and not self._heard:
            self._fault("the upstream closed the connection without an answer")
            return
        cut = f"the upstream broke off: {words or 'it closed the connection'}"
        self._end(UpstreamFailed(words or "the upstream closed the connection"), BodyCutShort(cut))

    def _fault(self, words: str) -> None:
        """What comes is no HTTP/2, or its end."""
        self._end(UpstreamFailed(f"HTTP/2: {words}", hint=_HINT))
        self._lose()

    def _lose(self) -> None:
        # TLS is not shut down while there is a producer.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _end(self, error: BuffrError, cut: BuffrError | None = None) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if not self.ready.called:
            self.ready.errback(error)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.stop_sending()
            call.fail(cut if cut is not None and call.answered else error)
        self._on_change(self)

    def close(self) -> None:
        """Close, once everything written is sent. Nothing must be under way."""
        if self._engine is not None and not self._closed:
            self._engine.terminate(Code.NO_ERROR)
            self.flush()
        if not self._closed:
            self._end(UpstreamFailed("the request was given up"))
            self._lose()

    def abort(self) -> None:
        self._end(UpstreamFailed("the request was given up"))
        self.transport.abortConnection()

    # Requests.

    async def ask(self, asked: Http2Request) -> Response:
        """Send a request and wait for its answer's head.

        Raises ``UpstreamFailed``, ``BadUpstreamAnswer`` or ``UpstreamTimeout``;
        ``NotTaken`` if the upstream has done nothing for it.
        """
        engine, body = self._engine, asked.body
        assert engine is not None
        call = _Call(self, asked)
        call.stream = engine.request(asked.fields, ended=body == b"")
        self._calls[call.stream] = call
        self._watch()
        if isinstance(body, bytes):
            if body:
                engine.send(call.stream, body, ended=True)
        else:
            sending = Deferred.fromCoroutine(self._send_body(call, body))
            sending.addErrback(self._sending_failed, call)
            call.sending = None if sending.called else sending
        self.flush()
        try:
            return await call.answer
        except CancelledError:
            self.give_up(call.stream, call)
            raise

    async def _send_body(self, call: _Call, body: BodyReader) -> None:
        engine, stream = self._engine, call.stream
        assert engine is not None
        while (piece := await body.read()) is not None:
            engine.send(stream, piece.data)
            self.flush()
            call.active_at = self.clock.seconds()
            while engine.unsent(stream) > _AHEAD:
                await call.room.wait()
        if body.trailers:
            engine.trail(stream, tuple([(name.lower(), value) for name, value in body.trailers]))
        else:
            engine.send(stream, b"", ended=True)
        call.sending = None
        self.flush()

    def _sending_failed(self, failure: Failure, call: _Call) -> None:
        """The client broke off its body, so this request cannot be completed."""
        call.sending = None
        if failure.check(CancelledError) is None:
            error = failure.value
            self._fail(call, error if isinstance(error, BuffrError) else UpstreamFailed(str(error)))

    def give_up(self, stream: int, call: _Call) -> None:
        """Reset a stream whose answer nobody wants any more."""
        if self._calls.get(stream) is call:
            self._fail(call, UpstreamFailed("the request was given up"))

    def _fail(self, call: _Call, error: BuffrError) -> None:
        call.settle()
        if self._engine is not None:
            self._engine.reset(call.stream, Code.CANCEL)
        self._over(call)
        call.fail(error)
        self.flush()

    def _over(self, call: _Call) -> None:
        """The stream has come to its end on the upstream's side."""
        self._calls.pop(call.stream, None)
        call.settle()
        engine = self._engine
        if engine is not None and (call.sending is not None or engine.unsent(call.stream)):
            # The upstream answered before it had the whole request.
            call.stop_sending()
            engine.reset(call.stream, Code.CANCEL)
        self.used = True
        self._on_change(self)

    def consumed(self, stream: int, size_bytes: int) -> None:
        """So much of an answer was read."""
        if self._engine is not None:
            self._engine.consumed(stream, size_bytes)
            self.flush()

    # What the engine hears.

    def interim(self, stream: int, fields: Headers) -> None:
        self._hear(stream, lambda call: call.interim(fields))

    def head(self, stream: int, fields: Headers, *, ended: bool) -> None:
        self._hear(stream, lambda call: call.head(fields, ended=ended), ended=ended)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        if stream not in self._calls and self._engine is not None:
            self._engine.consumed(stream, len(data))
            return

        def take(call: _Call) -> None:
            call.data(data)
            if ended:
                call.finish(())

        self._hear(stream, take, ended=ended)

    def trailers(self, stream: int, fields: Headers) -> None:
        self._hear(stream, lambda call: call.finish(trailers_of(fields)), ended=True)

    def _hear(self, stream: int, take: Callable[[_Call], None], *, ended: bool = False) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        call.active_at = self.clock.seconds()
        if ended:
            self._over(call)
        try:
            take(call)
        except BuffrError as error:
            self._fail(call, BadUpstreamAnswer(error.message, hint=error.hint))

    def reset(self, stream: int, code: int) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        self._over(call)
        words = f"the upstream reset the stream: {code_name(code)}"
        if call.answered:
            call.cut(code, words)
        elif code == Code.REFUSED_STREAM:
            call.fail(NotTaken(words))
        elif code == Code.HTTP_1_1_REQUIRED:
            call.fail(NotInHttp2(words))
        else:
            call.fail(StreamReset(words))

    def going_away(self, last: int, code: int) -> None:
        self._leaving = True
        for stream, call in list(self._calls.items()):
            if stream > last:
                self._over(call)
                call.fail(NotTaken(f"the upstream is going away: {code_name(code)}"))
        self._on_change(self)

    def nuisance(self, kind: Nuisance) -> None:
        """An upstream is the user's own choice; what it may send is bounded by its windows."""
        if kind is Nuisance.SETTINGS:
            self._settle()

    # Patience.

    def _watch(self) -> None:
        if self._timer is None:
            self._check()

    def _check(self) -> None:
        """Fail the calls that have waited too long, and come again when the next may have."""
        self._timer = None
        patience, now = self.terms.patience, self.clock.seconds()
        waits = []
        for call in list(self._calls.values()):
            due = [call.began_at + patience.total_s] if patience.total_s else []
            if patience.idle_s and not call.body.paused:
                due.append(call.active_at + patience.idle_s)
            if due and min(due) <= now:
                total = bool(patience.total_s) and due[0] <= now
                if self._heard_at <= call.active_at and not total:
                    # Nothing came on any stream: the connection may be dead.
                    self._leaving = True
                self._fail(call, impatient(patience, total=total))
            else:
                waits.append(min(due, default=now + patience.idle_s) - now)
        if waits and (patience.idle_s or patience.total_s) and not self._closed:
            self._timer = self.clock.callLater(max(min(waits), _LEAST_WAIT_S), self._check)
