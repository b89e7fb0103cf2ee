"""Speaks a recorded WebSocket session again, and records what comes: autobahn, tapped.

autobahn is the end point, and buffr's own connection its transport: the
handshake has the recorded fields in their order, and the frames of both
directions are recorded as they are on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, ITransport
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.drift.stand_ins import StandIn
from buffr.drift.talk import Line, Talk
from buffr.errors import BuffrError, WebSocketFault
from buffr.interaction import (
    Direction,
    FrameKind,
    HTTPInteraction,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import Headers, Request, ResponseHead, end_to_end
from buffr.origin import Origin
from buffr.recording.http import recording
from buffr.recording.session import SessionTape
from buffr.recording.tape import Tape
from buffr.refreshing.treq_client import RECORDER, Answered, Patience
from buffr.transport.duplex import Duplex
from buffr.transport.spool import Spool
from buffr.transport.streams import Signal
from buffr.upstream.connection import Response, Switched
from buffr.upstream.upstream import Upstream
from buffr.wire.websocket_deflate import Deflate, Inflater
from buffr.wire.websocket_frames import CLOSE_CODES, FrameReader

if TYPE_CHECKING:
    from autobahn.twisted.websocket import WebSocketClientProtocol

__all__ = ["AutobahnClient"]

_QUIET_S = 3.0
"""A client that waits for a message speaks on if nothing has come for this long."""

_LONGEST_DELAY_S = 5.0
_CLOSE_S = 5.0
_GONE_S = 1.0
_NOWHERE = IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104  # not an address to listen on
_PROTOCOL = b"sec-websocket-protocol"
_KEY = b"sec-websocket-key"
_FOR_AUTOBAHN = (
    b"upgrade",
    b"connection",
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    _PROTOCOL,
)


@define(eq=False)
class AutobahnClient:
    """Speaks sessions, and records them. ``timestamp`` is the time as recorded.

    ``quiet_s`` is how long a client waits for a message that does not come.
    """

    upstream_for: Callable[[Origin], Upstream]
    reactor: Any
    timestamp: Callable[[], str]
    patience: Patience = Patience()
    quiet_s: float = _QUIET_S

    async def speak(self, origin: Origin, request: RecordedRequest, talk: Talk) -> Answered:
        """Ask for a session, and speak the client's part of a recorded one.

        An API that refuses the session has answered, too. Raises a
        ``BuffrError`` if there is no answer.
        """
        wire = _Wire(self.reactor)
        protocol = _endpoint(request.headers, talk, wire.news)
        wire.attach(protocol)
        asked = Request(
            request.method,
            request.target,
            _handshake(request.headers, protocol.websocket_key),
            upgrade=b"websocket",
        )
        answer = await self.upstream_for(origin).upgrade(
            asked, protocol.websocket_key, lambda _: None
        )
        if isinstance(answer, Response):
            wire.lose()
            return await self._refused(request, answer)
        switched, deflate = answer
        return await self._session(request, wire, switched, deflate, talk)

    async def _refused(self, request: RecordedRequest, response: Response) -> Answered:
        """The recording of an answer that is not a session."""
        tape = Tape(
            Spool(self.patience.memory_bytes, self.patience.spool_dir), self.reactor.seconds()
        )
        truncated = None
        try:
            while (piece := await response.body.read()) is not None:
                tape.append(piece, self.reactor.seconds())
        except BuffrError as error:
            truncated = error.message
        head = response.head.for_next_hop
        made: HTTPInteraction = recording(
            request,
            head,
            tape,
            recorded_at=self.timestamp(),
            recorded_by=RECORDER,
            truncated=truncated,
        )
        return Answered(made, tape.close)

    async def _session(
        self,
        request: RecordedRequest,
        wire: _Wire,
        switched: Switched,
        deflate: Deflate | None,
        talk: Talk,
    ) -> Answered:
        tape = SessionTape(
            self.patience.spool_dir,
            self.reactor.seconds(),
            memory_bytes=self.patience.memory_bytes,
            session_bytes=self.patience.body_bytes,
        )
        wire.open(switched, deflate, tape)
        recorded_s = sum(frame.delay_ms for frame in talk.session.frames) / 1000
        limit_s = max(self.patience.answer_s, 2 * recorded_s)
        timer = self.reactor.callLater(limit_s, wire.time_out, limit_s)
        try:
            await self._speak(wire, talk)
        except BuffrError:
            tape.close()
            raise
        finally:
            if timer.active():
                timer.cancel()
            await wire.let_go()
        head = switched.head
        made: WebSocketInteraction = tape.session(
            request,
            ResponseHead(head.status, head.reason, end_to_end(head.headers)),
            recorded_at=self.timestamp(),
            recorded_by=RECORDER,
            end=wire.end,
        )
        return Answered(made, tape.close)

    async def _speak(self, wire: _Wire, talk: Talk) -> None:
        """Say the client's lines in their turns, then let the session end as it was recorded."""
        for line in talk.lines:
            await self._turn(wire, talk, line.after)
            if line.delay_ms:
                await wire.sleep(min(line.delay_ms / 1000, _LONGEST_DELAY_S))
            if wire.over:
                return
            _say(wire, talk, line)
        await self._turn(wire, talk, talk.ends_after)
        recorded = talk.session
        if any(frame.kind is FrameKind.CLOSE for frame in recorded.frames):
            await wire.until_over(self.quiet_s + _CLOSE_S)
        elif recorded.end is not None and recorded.end.by is Direction.SERVER:
            await wire.until_over(self.quiet_s)
        if not wire.over and not wire.closing:
            wire.leave(SessionEnd("the client closed the connection", Direction.CLIENT))

    async def _turn(self, wire: _Wire, talk: Talk, after: tuple[str, int] | None) -> None:
        """Wait for what came before; not forever, since an answer may be shorter today."""
        while not (wire.over or talk.has_come(after)):
            if not await wire.news_within(self.quiet_s):
                return


def _handshake(headers: Headers, key: bytes) -> Headers:
    """The recorded fields with this session's key, which is where the recorded one was."""
    fields: list[tuple[bytes, bytes]] = []
    has_key = False
    for name, value in headers:
        if name.lower() == _KEY:
            has_key = True
            fields.append((name, key))
        elif name.lower() == b"upgrade":
            fields += [(name, value), (b"Connection", b"Upgrade")]
        else:
            fields.append((name, value))
    if not any(name.lower() == b"sec-websocket-version" for name, _ in headers):
        fields.append((b"Sec-WebSocket-Version", b"13"))
    return tuple(fields) if has_key else (*fields, (b"Sec-WebSocket-Key", key))


def _say(wire: _Wire, talk: Talk, line: Line) -> None:
    """Send one frame. Raises ``BuffrError`` if a credential is missing."""
    frame, protocol = line.frame, wire.protocol
    missing: list[StandIn] = []
    payload = talk.payload(frame, missing)
    if missing:
        raise BuffrError(f"a message needs the credential {missing[0]}")
    match frame.kind:
        case FrameKind.CLOSE:
            wire.closing = True
            code = frame.close_code
            reason = frame.reason.encode() or None
            if code is None or code in CLOSE_CODES:
                # sendClose refuses codes that only servers should need, such as 1001 and 1011.
                protocol.sendCloseFrame(code=code, reasonUtf8=reason)
        case FrameKind.PING:
            protocol.sendPing(payload)
        case FrameKind.TEXT | FrameKind.BINARY:
            protocol.sendMessage(
                payload,
                isBinary=frame.kind is FrameKind.BINARY,
                fragmentSize=frame.fragments[0] if frame.fragments else None,
                doNotCompress=not frame.compressed,
            )


def _endpoint(headers: Headers, talk: Talk, news: Signal) -> WebSocketClientProtocol:
    """Autobahn's end of the session, which offers what the recorded client offered."""
    from autobahn.twisted.websocket import (  # noqa: PLC0415  # most checks do without
        WebSocketClientFactory,
        WebSocketClientProtocol,
    )
    from autobahn.websocket.compress import (  # noqa: PLC0415
        PerMessageDeflateOffer,
        PerMessageDeflateResponseAccept,
    )

    class Speaking(WebSocketClientProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: FBT001, N803
            kind = FrameKind.BINARY if isBinary else FrameKind.TEXT
            talk.hear(kind, bytes(payload))
            news.notify()

    offered = [
        word.strip().decode("latin-1")
        for name, value in headers
        if name.lower() == _PROTOCOL
        for word in value.split(b",")
    ]
    factory = WebSocketClientFactory("ws://localhost/", protocols=offered or None)
    factory.setProtocolOptions(
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        serverConnectionDropTimeout=0,
        echoCloseCodeReason=True,
        perMessageCompressionOffers=[PerMessageDeflateOffer()],
        perMessageCompressionAccept=PerMessageDeflateResponseAccept,
    )
    protocol = Speaking()
    protocol.factory = factory
    return protocol


@implementer(ITransport)
class _Wire:
    """What autobahn takes for its transport: it tapes the frames of both directions.

    ``over`` is set once the connection is; ``end`` says how it ended if not by
    a close handshake. ``closing`` says that the client has sent a close frame.
    """

    def __init__(self, reactor: Any) -> None:
        self.news = Signal()
        self.over = False
        self.closing = False
        self._gone = False
        self.end: SessionEnd | None = None
        self.protocol: Any = None
        self._reactor = reactor
        self._duplex: Duplex | None = None
        self._tape: SessionTape | None = None
        self._client: FrameReader | None = None
        self._server: FrameReader | None = None

    def attach(self, protocol: Any) -> None:
        """Let autobahn make its handshake, of which only the key is used."""
        self.protocol = protocol
        protocol.makeConnection(self)

    def open(self, switched: Switched, deflate: Deflate | None, tape: SessionTape) -> None:
        """The API has switched: give autobahn its answer, and all that follows."""
        self._tape = tape

        def inflater(takeover: bool) -> Inflater | None:  # noqa: FBT001  # as it was agreed on
            return None if deflate is None else Inflater(takeover=takeover)

        client = inflater(deflate is None or deflate.client_takeover)
        server = inflater(deflate is None or deflate.server_takeover)
        self._client = FrameReader(masked=True, inflater=client)
        self._server = FrameReader(masked=False, inflater=server)
        fields = tuple([one for one in switched.head.headers if one[0].lower() in _FOR_AUTOBAHN])
        self.protocol.dataReceived(evolve(switched.head, headers=fields).encoded + b"\r\n")
        self._duplex = switched.take()
        self._duplex.start(self)

    # What autobahn calls.

    def write(self, data: bytes) -> None:
        """Send what autobahn says. Its handshake is not sent: buffr has made another."""
        if self._duplex is None or self._client is None or self.over:
            return
        self._take(self._client, Direction.CLIENT, data)
        self._duplex.write(data)

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self._duplex is not None and not self.over:
            self._duplex.close()

    def abortConnection(self) -> None:
        self.loseConnection()

    def registerProducer(self, _producer: Any, _streaming: bool) -> None:  # noqa: FBT001
        """Nothing here produces on demand."""

    def unregisterProducer(self) -> None:
        """See ``registerProducer``."""

    def getPeer(self) -> IAddress:
        return _NOWHERE

    def getHost(self) -> IAddress:
        return _NOWHERE

    # What the duplex calls.

    def received(self, data: bytes) -> None:
        """See ``DuplexUser``."""
        if self.over or self._server is None:
            return
        try:
            self._take(self._server, Direction.SERVER, data)
        except WebSocketFault as fault:
            self.leave(
                SessionEnd(f"the server sent {fault.message}", Direction.SERVER, truncated=True)
            )
            return
        self.protocol.dataReceived(data)
        self.news.notify()

    def pause_sending(self) -> None:
        """See ``DuplexUser``. What a client said once fits into memory again."""

    def resume_sending(self) -> None:
        """See ``DuplexUser``."""

    def ended(self) -> None:
        """See ``DuplexUser``."""
        self._finish(_unclosed("closed its side without a close frame"))

    def closed(self, _reason: Failure) -> None:
        """See ``DuplexUser``."""
        self._gone = True
        self.news.notify()
        self._finish(_unclosed("closed the connection without a close frame"))

    # What the client calls.

    def lose(self) -> None:
        """End what autobahn has begun: there is no session."""
        self.over = True
        self.protocol.connectionLost(Failure(ConnectionDone()))

    async def let_go(self) -> None:
        """Close the connection; after a close handshake in order, so that our frame arrives."""
        assert self._duplex is not None
        if self.over and self.end is None:
            self._duplex.close()
            while not self._gone and await self.news_within(_GONE_S):
                pass
        self.lose()
        if not self._gone:
            self._duplex.abort()

    def leave(self, end: SessionEnd) -> None:
        """End the session without a close frame."""
        self._finish(end)

    def time_out(self, limit_s: float) -> None:
        """The session is longer than it may be."""
        self._finish(SessionEnd(f"it did not end within {limit_s:g} s", truncated=True))

    async def news_within(self, seconds: float) -> bool:
        """Wait for the next message, or the end; false if neither comes in time."""
        came: list[bool] = []
        waiting = Deferred.fromCoroutine(self.news.wait())
        waiting.addTimeout(seconds, self._reactor)
        waiting.addCallbacks(lambda _: came.append(True), lambda _: None)
        await waiting
        return bool(came)

    async def sleep(self, seconds: float) -> None:
        """Wait, as the recorded client did."""
        await deferLater(self._reactor, seconds)

    async def until_over(self, seconds: float) -> None:
        """Wait until the API has ended the session, or nothing more comes for so long."""
        while not self.over and await self.news_within(seconds):
            pass

    def _take(self, frames: FrameReader, sender: Direction, data: bytes) -> None:
        """Tape the frames in these bytes. Raises ``WebSocketFault``."""
        assert self._tape is not None
        for passed in frames.feed(data):
            self._tape.add(sender, passed.event, self._reactor.seconds())
        readers = (self._client, self._server)
        if all(reader is not None and reader.closed for reader in readers):
            self._finish(None)

    def _finish(self, end: SessionEnd | None) -> None:
        if not self.over:
            self.over, self.end = True, end
            self.news.notify()


def _unclosed(what: str) -> SessionEnd:
    return SessionEnd(f"the upstream {what}", Direction.SERVER)
