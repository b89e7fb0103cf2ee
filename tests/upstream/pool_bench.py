"""An upstream with its pool, on a reactor in memory."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from buffr.message import Headers, Request
from buffr.origin import Origin
from buffr.testing.wire import Wire
from buffr.transport.streams import BodyReader
from buffr.upstream.connection import Patience, Response
from buffr.upstream.endpoints import endpoint_for, plain_endpoint
from buffr.upstream.pool import Pool, PoolLimits
from buffr.upstream.upstream import Upstream
from buffr.wire.http1_answer_heads import AnswerRules

__all__ = ["PoolBench"]

_ADDRESS = IPv4Address("TCP", "127.0.0.1", 80)


class PoolBench:
    """Sends requests, and lets the test decide what becomes of each connection."""

    def __init__(
        self,
        *,
        limits: PoolLimits = PoolLimits(),  # noqa: B008  # frozen
        patience: Patience = Patience(connect_s=10, idle_s=30),  # noqa: B008  # frozen
        origin: Origin = Origin("http", "127.0.0.1", 80),  # noqa: B008  # frozen
        tls: IOpenSSLClientConnectionCreator | None = None,
        keep_host: bool = False,
    ) -> None:
        self.reactor = MemoryReactorClock()
        direct = plain_endpoint(self.reactor, origin.host, origin.port, patience.connect_s)
        endpoint = endpoint_for(origin, direct, tls=tls)
        pool = Pool(self.reactor, endpoint, AnswerRules(), patience, limits, tls=tls is not None)
        self.upstream = Upstream(origin, pool, keep_host=keep_host)

    def send(
        self,
        method: bytes = b"GET",
        *,
        headers: Headers = ((b"Host", b"client.test"),),
        body: bytes | BodyReader = b"",
        body_length: int | None = None,
        target: bytes = b"/p",
        expect_met: bool = False,
    ) -> Deferred[Response]:
        length = len(body) if isinstance(body, bytes) else body_length
        assert length is not None
        request = Request(method, target, headers, body_length=length)
        sending = self.upstream.send(request, body, lambda _: None, expect_met=expect_met)
        return Deferred.fromCoroutine(sending)

    @property
    def dialled(self) -> int:
        """How many connections were asked for."""
        return len(self.reactor.tcpClients)

    def connected(self) -> Wire:
        """The newest connection comes about."""
        factory = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(_ADDRESS)
        assert protocol is not None
        wire = Wire(self.reactor)
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def fails(self, reason: Exception) -> None:
        """The newest connection does not come about."""
        connector = self.reactor.connectors[-1]
        self.reactor.tcpClients[-1][2].clientConnectionFailed(connector, Failure(reason))

    def answer(self, wire: Wire, data: bytes) -> None:
        wire.receive(data)
