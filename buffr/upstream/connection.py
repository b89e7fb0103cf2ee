"""One connection to an upstream: a request goes out, and its answer comes in piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Protocol as Port

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import (
    BadFraming,
    BadUpstreamAnswer,
    BodyCutShort,
    BuffrError,
    UpstreamFailed,
    UpstreamTimeout,
)
from buffr.message import UNTIL_CLOSE, ResponseHead, response_length
from buffr.transport.direct_send import send_at_once
from buffr.transport.duplex import Duplex, TransportDuplex
from buffr.transport.reads import after_read, usual_reads
from buffr.transport.streams import (
    AnswerBody,
    BodyReader,
    BodyStream,
    IStreamTransport,
    Signal,
    WholeBody,
)
from buffr.upstream.dialling import Dialled
from buffr.upstream.failures import reason_of
from buffr.upstream.hops import Mark
from buffr.upstream.tls import UpstreamTLS
from buffr.wire.http1_answer_heads import AnswerHeads, AnswerRules
from buffr.wire.http1_body import BodyDecoder, ChunkWriter, chunked_whole, decoder_for

__all__ = ["Asker", "Connection", "Outgoing", "Patience", "Response", "Switched", "impatient"]

_LEAST_WAIT_S = 0.05
_TURN_BYTES = 512 * 1024
"""So much of a body is sent in one turn of the reactor: others have the next one."""


@define(eq=False)  # frozen ones take three times as long to make, and these are made per request
class Outgoing:
    """A request ready for the wire.

    ``head`` is the encoded head, and ``body`` follows it: bytes, or a reader
    whose pieces are framed as chunks if ``chunked``. ``inform`` gets each
    interim answer (1xx). ``upgrade`` says that it asks for another protocol.
    ``marked`` returns the head for a connection on which requests name the
    buffrs that they have passed; ``passed`` says whether it has passed any.
    """

    method: bytes
    head: bytes
    body: bytes | BodyReader
    chunked: bool
    inform: Callable[[ResponseHead], None]
    upgrade: bool = False
    marked: Callable[[Mark], bytes] | None = None
    passed: bool = False


_NOT_KEPT = Outgoing(b"", b"", b"", chunked=False, inform=lambda _: None)
"""In the place of the last request, whose client may have left."""


@define(eq=False)
class Response:
    """An answer's head, its body's length as in ``response_length``, and its body as it comes.

    ``abort`` gives up an answer that is incomplete. ``faults`` are those of
    the head that were repaired.
    """

    head: ResponseHead
    length: int
    body: AnswerBody
    abort: Callable[[], None]
    faults: tuple[str, ...] = ()


@frozen(eq=False)
class Switched:
    """The upstream has switched protocols.

    ``take`` gives the bytes that follow both ways, including those that have
    come already; ``abort`` closes the connection. ``faults`` are as in ``Response``.
    """

    head: ResponseHead
    take: Callable[[], Duplex]
    abort: Callable[[], None]
    faults: tuple[str, ...] = ()


class Asker(Port):
    """Asks for what is asked for again, and takes the answer without waiting for it."""

    def answered(self, head: ResponseHead, body: bytes) -> bool:
        """Take a whole answer. False if somebody else awaits it now, by ``Connection.asked``."""

    def go_on(self) -> None:
        """Have somebody await the answer, by ``Connection.asked``: it is not as usual."""


class _State(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    SWITCHED = auto()
    CLOSED = auto()


_IDLE, _HEAD, _BODY, _SWITCHED, _CLOSED = (
    _State  # attributes of an enum's class are slow to look up
)


@frozen
class Patience:
    """How long to wait, in seconds; zero means no bound.

    ``connect_s`` is for a connection with its TLS, ``idle_s`` for the next
    bytes of an answer, and ``total_s`` for the whole answer.
    """

    connect_s: float = 10
    idle_s: float = 300
    total_s: float = 0


@implementer(IHandshakeListener, IPushProducer)
class Connection(Dialled):
    """Speaks HTTP/1.1 to an upstream, one request at a time.

    ``on_idle`` is called when it can take the next request, ``on_closed``
    when it never will.
    """

    transport: IStreamTransport

    def __init__(
        self,
        clock: IReactorTime,
        rules: AnswerRules,
        patience: Patience,
        on_idle: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self.ready: Deferred[None] = Deferred()
        self.answered = False
        """Whether any byte has come since the last request went out."""
        self.kept_s: float | None = None
        """How long the upstream keeps it without a request, if it said so."""
        self.mark = Mark.NEVER
        self._clock = clock
        self._rules = rules
        self._heads = AnswerHeads(rules)
        self._patience = patience
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._state = _IDLE
        self._buffer = b""
        self._writable = True
        self._room = Signal()
        self._reusable = True
        self._sending: Deferred[None] | None = None
        self._asker: Asker | None = None
        self._method = b""
        self._timer: IDelayedCall | None = None
        self._active_at = 0.0
        self._tls = False
        self._successor: Protocol | None = None

    def expect_handshake(self) -> None:
        """The connection is ready after the TLS handshake, not when TCP is connected."""
        self._tls = True

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        send_at_once(self.transport)
        if not self._tls:
            self.ready.callback(None)

    def handshakeCompleted(self) -> None:
        if not self.ready.called:
            self.ready.callback(None)

    async def send(self, outgoing: Outgoing) -> Response:
        """Send a request and wait for its answer's head.

        Raises ``UpstreamFailed``, ``BadUpstreamAnswer`` or ``UpstreamTimeout``,
        and closes the connection then.
        """
        answer = await self.ask(outgoing)
        assert isinstance(answer, Response)
        return answer

    def ask(self, outgoing: Outgoing) -> Deferred[Response | Switched]:
        """Like ``send``, for a request on which the upstream may switch protocols.

        Whoever cancels the result gives the request up.
        """
        answer = self.asked(outgoing)
        self._begin(outgoing.method)
        head, mark = outgoing.head, self.mark
        if outgoing.marked is not None and (
            mark is Mark.ADD or (outgoing.passed and mark is Mark.PASS_ON)
        ):
            head = outgoing.marked(mark)
        if isinstance(outgoing.body, bytes):
            body = outgoing.body
            if outgoing.chunked:
                body = chunked_whole(body, (len(body),))
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            sending = Deferred.fromCoroutine(self._send_body(outgoing.body))
            sending.addErrback(self._sending_failed)
            self._sending = None if sending.called else sending
        return answer

    def asked(self, outgoing: Outgoing) -> Deferred[Response | Switched]:
        """What ``ask`` returns, for a request that ``ask_again`` has sent."""
        self._asker = None
        self._outgoing = outgoing
        self._informed = 0
        self._answer = answer = Deferred[Response | Switched](self._give_up_asking)
        return answer

    def ask_again(self, data: bytes, method: bytes, asker: Asker) -> None:
        """Send a request as it went out before. Its asker gets the answer."""
        self._asker = asker
        self._outgoing = _NOT_KEPT
        self._begin(method)
        self.transport.write(data)

    def _begin(self, method: bytes) -> None:
        self._method = method
        self._state = _HEAD
        self.answered = False
        self._active_at = self._started_at = self._clock.seconds()
        if self._timer is None:  # that of the request before is as good as a new one
            self._check_patience()

    def _give_up_asking(self, _: Deferred[Response | Switched]) -> None:
        # Whoever waits hears that it is cancelled, and not that the connection has ended.
        self._answer = Deferred()
        self._answer.addErrback(lambda _: None)
        self.abort()

    async def _send_body(self, body: BodyReader) -> None:
        framing = ChunkWriter() if self._outgoing.chunked else None
        unshared_bytes = 0
        while (piece := await body.read()) is not None:
            data = piece.data if framing is None else framing.frame(piece)
            self.transport.write(data)
            self._active_at = self._clock.seconds()
            unshared_bytes += len(data)
            if unshared_bytes > _TURN_BYTES:
                unshared_bytes = 0
                await deferLater(self._clock, 0)
            while not self._writable:
                await self._room.wait()
        if framing is not None:
            self.transport.write(framing.end(body.trailers))
        self._sending = None
        self._maybe_idle()

    def _sending_failed(self, failure: Failure) -> None:
        """The client broke off its body, so this request cannot be completed."""
        self._sending = None
        if failure.check(CancelledError) is None:
            error = failure.value
            self._fail(error if isinstance(error, BuffrError) else UpstreamFailed(str(error)))

    def pauseProducing(self) -> None:
        self._writable = False

    def resumeProducing(self) -> None:
        self._writable = True
        self._room.notify()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def dataReceived(self, data: bytes) -> None:
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        self._active_at = self._clock.seconds()
        self.answered = True
        if self._state is _BODY:
            self._body_bytes(data)
        elif self._state is _HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._head_bytes()
        elif self._state is _SWITCHED:
            self._buffer += data
        else:
            # Unrequested bytes would be taken for the answer to the next request.
            self.abort()

    def _head_bytes(self) -> None:
        while self._state is _HEAD and self._buffer:
            try:
                head, self._buffer = self._heads.take(self._buffer)
                if head is None:
                    return
                self._head(head)
            except BuffrError as error:
                self._fail(error)

    def _head(self, head: ResponseHead) -> None:
        asker = self._asker
        if asker is not None and self._answers_again(asker, head):
            return
        if head.status == 101:
            self._switch(head)
            return
        if head.status < 200:
            self._inform(head)
            return
        length = response_length(self._method, head)
        faults = self._heads.faults
        # After a fault, what follows may be framed differently from what was read (RFC 9112 6.3).
        if not head.keeps_alive or length == UNTIL_CLOSE or faults:
            self._reusable = False
        if self._reusable:
            self.kept_s = head.kept_s
        rest, self._buffer = self._buffer, b""
        answer = self._answer
        if 0 <= length <= len(rest):
            response = Response(head, length, WholeBody(rest[:length]), _nothing, faults)
            self._finish(beyond=len(rest) > length)
        else:
            self._state = _BODY
            self._decoder: BodyDecoder = decoder_for(length)
            self._body = body = BodyStream(lambda: self._hold(body), lambda: self._release(body))
            response = Response(head, length, body, partial(self._give_up, body), faults)
            if rest:
                self._body_bytes(rest)
        answer.callback(response)

    def _answers_again(self, asker: Asker, head: ResponseHead) -> bool:
        """Give the asker an answer that came at once, and after which the connection is kept.

        Any other is awaited from here on.
        """
        body = self._buffer
        if (
            head.status < 200
            or len(body) != response_length(self._method, head)
            or not head.keeps_alive
            or self._heads.faults
        ):
            asker.go_on()
            return False
        if not asker.answered(head, body):
            return False
        self._asker = None  # not before: it has to hear of the end if the line above fails
        self._buffer = b""
        self.kept_s = head.kept_s
        self._finish(beyond=False)
        return True

    def _inform(self, head: ResponseHead) -> None:
        self._informed += 1
        if self._informed > self._rules.interim:
            raise BadUpstreamAnswer(
                f"the upstream sent more than {self._rules.interim} interim answers",
                hint="limits.interim_answers sets the bound",
            )
        self._outgoing.inform(head.for_next_hop)

    def _switch(self, head: ResponseHead) -> None:
        if not self._outgoing.upgrade:
            raise BadUpstreamAnswer("the upstream switched protocols without being asked")
        self._state = _SWITCHED
        self._unwatch()
        self.transport.pauseProducing()
        self._answer.callback(Switched(head, self._take, self.abort, self._heads.faults))

    def _take(self) -> Duplex:
        rest, self._buffer = self._buffer, b""
        self.transport.unregisterProducer()
        self._successor = successor = TransportDuplex()
        successor.makeConnection(self.transport)
        self.transport.resumeProducing()
        if rest:
            successor.dataReceived(rest)
        return successor

    def _give_up(self, body: BodyStream) -> None:
        """Abort, unless this body is complete and the connection serves another request."""
        if self._comes(body):
            self.abort()

    def _comes(self, body: BodyStream) -> bool:
        """Whether more of this body is to come: a complete one must not pause the connection."""
        return self._body is body and self._state is _BODY

    def _hold(self, body: BodyStream) -> None:
        if self._comes(body):
            self.transport.pauseProducing()

    def _release(self, body: BodyStream) -> None:
        if self._comes(body):
            self._active_at = self._clock.seconds()
            self.transport.resumeProducing()

    def _body_bytes(self, data: bytes) -> None:
        try:
            pieces = self._decoder.feed(data)
        except BadFraming as error:
            self._fail(BadUpstreamAnswer(f"the upstream's answer: {error.message}"))
            return
        body = self._body
        if self._decoder.done:
            usual_reads(self.transport)
            if body.paused:
                self.transport.resumeProducing()
            self._finish(beyond=bool(self._decoder.rest))
            if pieces:
                body.feed(pieces)
            body.finish(self._decoder.trailers)
        elif pieces:
            after_read(self.transport, len(data))
            body.feed(pieces)

    def _finish(self, *, beyond: bool) -> None:
        """The answer is complete; ``beyond`` says whether more has come than it."""
        if beyond:
            self._reusable = False
        if self._sending is not None:
            # The upstream answered before it had the whole request. The rest of
            # it would be read as the next request.
            self._reusable = False
            self._sending.cancel()
            self._sending = None
        self._state = _IDLE
        if self._reusable:
            self._on_idle(self)
        else:
            self.close()

    def _maybe_idle(self) -> None:
        if self._state is not _IDLE:
            return
        if self._reusable:
            self._on_idle(self)
        else:
            self.close()

    @property
    def reusable(self) -> bool:
        """Whether it can take another request after the one under way."""
        return self._reusable and self._state is not _CLOSED

    def belongs_to(
        self, on_idle: Callable[[Connection], None], on_closed: Callable[[Connection], None]
    ) -> None:
        """Replace ``on_idle`` and ``on_closed``."""
        self._on_idle, self._on_closed = on_idle, on_closed

    def tell_if_idle(self) -> None:
        """Call ``on_idle`` if the answer is complete."""
        self._maybe_idle()

    def close(self) -> None:
        """Close once everything written is sent."""
        self._unwatch()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self._fail(UpstreamFailed("the request was given up"))

    def _fail(self, error: BuffrError) -> None:
        self._end(error)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._successor is not None:
            self._on_closed(self)
            self._successor.connectionLost(reason)
            return
        if self._state is _BODY:
            try:
                self._decoder.finish()
                clean = reason_of(reason.value) is None
            except BodyCutShort as error:
                self._end(error)
                return
            uncertain = None if clean or not self._rules.lenient else _unclosed(self.transport)
            if clean or uncertain is not None:
                self._state = _CLOSED
                self._body.finish(self._decoder.trailers, uncertain)
            else:
                self._end(BodyCutShort(f"the upstream broke off: {reason_of(reason.value)}"))
                return
        self._end(UpstreamFailed(reason_of(reason.value) or "the upstream closed the connection"))

    def _end(self, error: BuffrError) -> None:
        if self._asker is not None:
            self._asker.go_on()
        state, self._state = self._state, _CLOSED
        self._unwatch()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if not self.ready.called:
            self.ready.errback(error)
        if state is _HEAD:
            self._answer.errback(error)
        elif state is _BODY:
            self._body.fail(error)
        self._on_closed(self)

    def _unwatch(self) -> None:
        """Watch no more, for good."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_patience(self) -> None:
        self._timer = None
        if self._state is _IDLE:
            return
        now = self._clock.seconds()
        waits: list[float] = []
        if (idle_s := self._patience.idle_s) and not self._held_back():
            waits.append(self._active_at + idle_s - now)
        if total_s := self._patience.total_s:
            waits.append(self._started_at + total_s - now)
        if waits and min(waits) <= 0:
            self._fail(impatient(self._patience, total=total_s > 0 and waits[-1] <= 0))
        elif idle_s or total_s:
            wait = min(waits, default=idle_s)
            self._timer = self._clock.callLater(max(wait, _LEAST_WAIT_S), self._check_patience)

    def _held_back(self) -> bool:
        """Whether buffr holds the upstream back, because the answer's reader is slow."""
        return self._state is _BODY and self._body.paused


def impatient(patience: Patience, *, total: bool) -> UpstreamTimeout:
    """The error of an answer that took too long, or of silence."""
    if total:
        return UpstreamTimeout(
            f"the upstream's answer took over {patience.total_s:g} s",
            hint="limits.upstream_total_s sets the bound",
        )
    return UpstreamTimeout(
        f"the upstream was silent for {patience.idle_s:g} s",
        hint="limits.upstream_idle_s sets the bound",
    )


def _unclosed(transport: IStreamTransport) -> str | None:
    """Why an answer may be incomplete that TCP ended in order, but TLS did not.

    This matters only for a body that ends with the connection: clients accept
    it as complete, while RFC 9112 9.8 says that it is incomplete.
    """
    if isinstance(transport, UpstreamTLS) and transport.closed_in_order:
        return "the upstream closed the connection without TLS's close_notify"
    return None


def _nothing() -> None:
    """A whole answer cannot be given up."""
