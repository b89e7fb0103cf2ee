"""Reaching an origin through a parent proxy: by CONNECT, or by plain requests."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BadUpstreamAnswer, BuffrError, LoopDetected, UpstreamFailed
from buffr.message import Headers, Request, ResponseHead
from buffr.origin import host_and_port
from buffr.transport.streams import BodyReader, IStreamTransport
from buffr.upstream.bound import Client
from buffr.upstream.connection import Connection, Response
from buffr.upstream.failures import reason_of
from buffr.upstream.hops import Hops, Mark
from buffr.upstream.upstream import Upstream
from buffr.wire.http1_answer_heads import AnswerHeads, AnswerRules
from buffr.wire.http1_body import request_head

__all__ = ["ParentEndpoint", "PlainThroughParent"]

_RULES = AnswerRules(peer="the parent proxy")


@implementer(IStreamClientEndpoint)
class ParentEndpoint:
    """Connects to ``host`` and ``port`` through a tunnel of the proxy at ``parent``.

    ``authorization`` is the value of ``Proxy-Authorization``. ``judge`` raises
    a ``BuffrError`` if the connection to the parent must not be used, and
    returns its mark. ``hops`` then encodes the field that records that the
    request was here; ``passed`` are the hops with which it came.
    """

    def __init__(  # each is one part of a request for a tunnel
        self,
        parent: IStreamClientEndpoint,
        host: str,
        port: int,
        authorization: bytes | None,
        *,
        judge: Callable[[ITransport], Mark] = lambda _: Mark.NEVER,
        hops: Hops | None = None,
        passed: bytes = b"",
    ) -> None:
        self._parent = parent
        self._judge = judge
        self._hops = hops
        self._passed = passed
        self._target = host_and_port(host, port).encode("ascii")
        self._headers: Headers = ((b"Host", self._target),)
        if authorization is not None:
            self._headers += ((b"Proxy-Authorization", authorization),)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Connect a protocol. Fails with ``UpstreamFailed``, or what prevented dialling."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    def _request(self, transport: IStreamTransport) -> bytes:
        mark, headers = self._judge(transport), self._headers
        marked = mark is Mark.ADD or (mark is Mark.PASS_ON and self._passed)
        if self._hops is not None and marked:
            headers += (self._hops.field(self._passed, b"CONNECT", self._target),)
        return request_head(b"CONNECT", self._target, headers)

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        asking = _Asking(self._request, factory)
        await self._parent.connect(Factory.forProtocol(lambda: asking))
        return await asking.tunnel


@implementer(IHandshakeListener)
class _Asking(Protocol):
    """Asks the parent for a tunnel, then passes bytes to the protocol in it."""

    transport: IStreamTransport

    def __init__(
        self, request: Callable[[IStreamTransport], bytes], factory: IProtocolFactory
    ) -> None:
        self.tunnel: Deferred[IProtocol] = Deferred(self._cancelled)
        self._request = request
        self._factory = factory
        self._buffer = b""
        self._heads = AnswerHeads(_RULES)
        self._informed = 0
        self._inner: IProtocol | None = None

    def connectionMade(self) -> None:
        try:
            request = self._request(self.transport)
        except BuffrError as error:
            self._fail(error)
        else:
            self.transport.write(request)

    def handshakeCompleted(self) -> None:
        """The TLS of the parent itself. The tunnel may have its own."""

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._buffer += data
        try:
            while self._buffer and self._inner is None:
                head, self._buffer = self._heads.take(self._buffer)
                if head is None:
                    return
                self._answered(head)
        except BuffrError as error:
            self._fail(error)

    def _answered(self, head: ResponseHead) -> None:
        if head.status < 200:
            self._informed += 1
            if self._informed > _RULES.interim or head.status == 101:
                raise BadUpstreamAnswer(
                    "the parent proxy sent too many interim answers, or switched protocols"
                )
            return
        if head.status == 407:
            raise _credentials_needed(head)
        if head.status == LoopDetected.status:
            raise LoopDetected("the parent proxy leads back here")
        if head.status >= 300:
            reason = head.reason.decode("latin-1")
            raise UpstreamFailed(f"the parent proxy refused the tunnel: {head.status} {reason}")
        rest, self._buffer = self._buffer, b""
        self._hand_over(rest)

    def _hand_over(self, rest: bytes) -> None:
        address: IAddress = self.transport.getPeer()
        inner = self._factory.buildProtocol(address)
        assert inner is not None
        self._inner = inner
        inner.makeConnection(self.transport)
        self.tunnel.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _cancelled(self, _: Deferred[IProtocol]) -> None:
        self.transport.abortConnection()

    def _fail(self, error: BuffrError) -> None:
        if not self.tunnel.called:
            self.tunnel.errback(error)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.tunnel.called:
            words = reason_of(reason.value) or "it closed the connection"
            self.tunnel.errback(UpstreamFailed(f"the parent proxy: {words}"))


class PlainThroughParent(Upstream):
    """An origin without TLS, whose requests go to a parent proxy in absolute-form."""

    async def send(
        self,
        request: Request,
        body: bytes | BodyReader,
        inform: Callable[[ResponseHead], None],
        *,
        expect_met: bool = False,
        client: Client | None = None,
        begun: Connection | None = None,
    ) -> Response:
        """Like ``Upstream.send``, but the parent's own demand for credentials is an error.

        The demand is for buffr, not for the client (RFC 9110 11.7.1).
        """
        response = await super().send(
            request, body, inform, expect_met=expect_met, client=client, begun=begun
        )
        if response.head.status == 407:
            response.abort()
            raise _credentials_needed(response.head)
        return response


def _credentials_needed(head: ResponseHead) -> UpstreamFailed:
    hint = "put them in its URL: http://USER:PASSWORD@HOST:PORT"
    if head.offers_connection_auth and not _offers_basic(head):
        hint = "buffr supports only Basic: chain a local proxy that supports NTLM or Negotiate"
    return UpstreamFailed("the parent proxy requires credentials (407)", hint=hint)


def _offers_basic(head: ResponseHead) -> bool:
    return any(
        name.lower() == b"proxy-authenticate" and b"basic" in value.lower()
        for name, value in head.headers
    )
