"""Connections to one upstream in HTTP/2, and whether it speaks that at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from buffr.errors import BuffrError, UpstreamFailed
from buffr.transport.streams import BodyReader
from buffr.upstream.connection import Response
from buffr.upstream.dialling import Dialler
from buffr.upstream.hops import Mark
from buffr.upstream.http2 import (
    Http2Connection,
    Http2Request,
    Http2Terms,
    NotInHttp2,
    NotTaken,
)

__all__ = ["Http2Pool"]

_DECLINED_S = 600.0
"""How long an upstream that chose HTTP/1.1 is not asked for HTTP/2 again."""


class Http2Pool:
    """Connections by ``dialler``, of which one serves many requests; another comes when it is full.

    ``tls`` says that the upstream chooses the protocol; it may choose
    HTTP/1.1. Unused connections are kept for ``idle_s`` seconds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        dialler: Dialler,
        terms: Http2Terms,
        idle_s: float,
        *,
        tls: bool,
    ) -> None:
        self._reactor = reactor
        self._dialler = dialler
        self._terms = terms
        self._idle_s = idle_s
        self._tls = tls
        self._connections: dict[Http2Connection, float] = {}
        """With the time since when each is idle."""
        self._waiting: deque[tuple[Deferred[None], bytes]] = deque()
        """Those that wait for room, the first first, and the hops of each request."""
        self._dialling = False
        self._sweeper: IDelayedCall | None = None
        self._declined_until = 0.0

    @property
    def declines(self) -> bool:
        """Whether the upstream is known not to speak HTTP/2."""
        return self._reactor.seconds() < self._declined_until

    async def send(
        self, request: Callable[[Mark], Http2Request], body: bytes | BodyReader, *, hops: bytes
    ) -> Response | None:
        """Send a request; ``None`` if the upstream wants HTTP/1.1, with nothing read of the body.

        ``request`` makes it for a connection's mark. It is sent again once if
        the upstream says that it has not looked at it, or if a connection that
        was idle turns out to be dead and the request may be repeated. Raises
        like ``Http2Connection.ask``.
        """
        connection = await self._free(hops)
        if connection is None:
            return None
        asked, used = request(connection.mark), connection.used
        try:
            return await connection.ask(asked)
        except UpstreamFailed as error:
            if not isinstance(body, bytes) or not _can_repeat(error, asked, used=used):
                raise
            if isinstance(error, NotInHttp2):
                return None
        connection = await self._free(hops)
        return None if connection is None else await connection.ask(request(connection.mark))

    async def _free(self, hops: bytes) -> Http2Connection | None:
        """A connection that takes a request; ``None`` if the upstream chose HTTP/1.1."""
        while not self.declines:
            for connection in self._connections:
                if connection.is_free:
                    return connection
            waiter: Deferred[None] = Deferred()
            self._waiting.append((waiter, hops))
            self._more()
            await waiter
        return None

    def _more(self) -> None:
        """Make another connection if anybody waits, unless one is being made or is new."""
        while self._waiting and self._waiting[0][0].called:  # cancelled
            self._waiting.popleft()
        if not self._waiting or self._dialling or any(one.is_new for one in self._connections):
            return
        self._dialling = True
        Deferred.fromCoroutine(self._dial(self._waiting[0][1])).addBoth(self._dialled)

    async def _dial(self, hops: bytes) -> None:
        connection = Http2Connection(self._reactor, self._terms, self._changed, tls=self._tls)
        connection.mark, until = await self._dialler.connect(connection, hops)
        self._connections[connection] = self._reactor.seconds()
        await self._dialler.handshake(connection, until)
        if not connection.speaks:
            self._declined_until = self._reactor.seconds() + _DECLINED_S
            connection.close()

    def _dialled(self, result: Failure | None) -> None:
        self._dialling = False
        waiting, self._waiting = self._waiting, deque()
        for waiter, _ in waiting:
            if waiter.called:  # cancelled
                continue
            if isinstance(result, Failure):
                waiter.errback(result)
            else:
                waiter.callback(None)

    def _changed(self, connection: Http2Connection) -> None:
        since = self._connections.get(connection)
        if since is None:
            return
        if connection.is_over:
            if connection.is_idle:
                del self._connections[connection]
                connection.close()
            self._more()
            return
        while connection.is_free and self._waiting:
            waiter, _ = self._waiting.popleft()
            if not waiter.called:
                waiter.callback(None)
        self._more()
        if connection.is_idle:
            self._connections[connection] = self._reactor.seconds()
            if self._sweeper is None:
                self._sweeper = self._reactor.callLater(self._idle_s, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._sweeper = None
        now = self._reactor.seconds()
        waits = []
        for connection, since in list(self._connections.items()):
            if not (connection.is_idle and connection.ready.called):
                continue
            if since + self._idle_s <= now:
                del self._connections[connection]
                connection.close()
            else:
                waits.append(since + self._idle_s - now)
        if waits:
            self._sweeper = self._reactor.callLater(min(waits), self._sweep)

    def retire(self) -> None:
        """Close what is idle, and keep nothing more."""
        self._idle_s = 0.0
        self._stop_sweeping()
        self._sweep()

    def close(self) -> None:
        """Close everything."""
        self._dialler.close()
        self._stop_sweeping()
        connections, self._connections = self._connections, {}
        for connection in connections:
            connection.abort()
        self._more()

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def _can_repeat(error: BuffrError, asked: Http2Request, *, used: bool) -> bool:
    if isinstance(error, NotTaken):
        return True
    safe = asked.method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE") and asked.body == b""
    return used and safe and type(error) is UpstreamFailed
