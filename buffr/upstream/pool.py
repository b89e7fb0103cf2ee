"""The connections to one upstream, kept for the next request."""

from __future__ import annotations

from attrs import frozen
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory

from buffr.errors import BuffrError, UpstreamFailed
from buffr.upstream.connection import Connection, Patience
from buffr.upstream.origin import Origin
from buffr.upstream.reason import reason_of
from buffr.wire.head import HeadLimits

__all__ = ["Pool", "PoolLimits"]

_FOREVER_S = 86400.0


@frozen
class PoolLimits:
    """``idle`` connections are kept at most, each for ``idle_s`` seconds without use."""

    idle: int = 100
    idle_s: float = 60


class Pool:
    """Connections to one origin. The one used last is used next."""

    def __init__(  # each is one part of how an upstream is reached
        self,
        reactor: IReactorTime,
        origin: Origin,
        tls: IOpenSSLClientConnectionCreator | None,
        head_limits: HeadLimits,
        patience: Patience,
        limits: PoolLimits,
    ) -> None:
        self._reactor = reactor
        self._tls = tls
        self._head_limits = head_limits
        self._patience = patience
        self._limits = limits
        self._endpoint = self._endpoint_for(origin)
        self._idle: dict[Connection, float] = {}
        self._open: set[Connection] = set()
        self._sweeper: IDelayedCall | None = None
        self._closed = False

    def _endpoint_for(self, origin: Origin) -> IStreamClientEndpoint:
        seconds = self._patience.connect_s or _FOREVER_S
        plain = HostnameEndpoint(self._reactor, origin.host, origin.port, timeout=seconds)
        return plain if self._tls is None else wrapClientTLS(self._tls, plain)

    def take(self) -> Connection | None:
        """A connection that has served before, if one is idle."""
        if not self._idle:
            return None
        return self._idle.popitem()[0]

    async def dial(self) -> Connection:
        """A new connection, with its TLS. Raises ``UpstreamFailed``."""
        connection = Connection(
            self._reactor, self._head_limits, self._patience, self._keep, self._forget
        )
        if self._tls is not None:
            connection.expect_handshake()
        try:
            await self._endpoint.connect(Factory.forProtocol(lambda: connection))
        except CancelledError:
            raise
        except Exception as error:  # endpoints fail with whatever the platform says
            raise UpstreamFailed(_words(error)) from error
        self._open.add(connection)
        await self._handshake(connection)
        return connection

    async def _handshake(self, connection: Connection) -> None:
        if connection.ready.called:
            await connection.ready
            return
        seconds = self._patience.connect_s
        timer = self._reactor.callLater(seconds, connection.abort) if seconds else None
        try:
            await connection.ready
        except BuffrError:
            if timer is not None and not timer.active():
                raise UpstreamFailed("time-out in the upstream's TLS handshake") from None
            raise
        except CancelledError:
            connection.abort()
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    def _keep(self, connection: Connection) -> None:
        if self._closed or len(self._idle) >= self._limits.idle:
            connection.close()
            return
        self._idle[connection] = self._reactor.seconds() + self._limits.idle_s
        if self._sweeper is None:
            self._sweeper = self._reactor.callLater(self._limits.idle_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._reactor.seconds()
        for connection, until in list(self._idle.items()):
            if until > now:
                self._sweeper = self._reactor.callLater(until - now, self._sweep)
                return
            del self._idle[connection]
            connection.close()

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)

    def close(self) -> None:
        """Close what is idle, and give up what is under way."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        idle, self._idle = list(self._idle), {}
        for connection in idle:
            connection.close()
        for connection in self._open - set(idle):
            connection.abort()


def _words(error: Exception) -> str:
    return reason_of(error) or "the upstream closed the connection"
