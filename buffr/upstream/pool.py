"""The pool of connections to one upstream, kept for further requests."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import (
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)

from buffr.upstream.bound import Bonds, Client
from buffr.upstream.connection import Connection, Patience
from buffr.upstream.dialling import Dialler
from buffr.upstream.hops import Mark
from buffr.wire.http1_answer_heads import AnswerRules

__all__ = ["Pool", "PoolLimits"]


@frozen
class PoolLimits:
    """At most ``idle`` unused connections are kept, each for ``idle_s`` seconds.

    An upstream may announce that it closes its connections sooner. At most
    ``bound`` connections that are bound to a client's are kept, each unused
    for at most ``bound_idle_s`` seconds.
    """

    idle: int = 100
    idle_s: float = 60
    bound: int = 1000
    bound_idle_s: float = 75


class Pool:
    """Connections to one origin, by ``endpoint``. The one used last is used next.

    ``tls`` says that the endpoint speaks TLS, so that a connection is ready
    after its handshake. ``judge`` raises a ``BuffrError`` if a connection must
    not be used because of the address it led to, and returns its mark.
    ``endpoint_by`` returns the endpoint for the hops of a request, if a proxy
    on the way has to know them.
    """

    def __init__(  # each is one part of reaching an upstream
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        rules: AnswerRules,
        patience: Patience,
        limits: PoolLimits,
        *,
        tls: bool,
        judge: Callable[[ITransport], Mark] = lambda _: Mark.NEVER,
        endpoint_by: Callable[[bytes], IStreamClientEndpoint] | None = None,
    ) -> None:
        self._reactor = reactor
        self._tls = tls
        self._rules = rules
        self._patience = patience
        self._limits = limits
        self._dialler = Dialler(reactor, endpoint, patience.connect_s, judge, endpoint_by)
        self._idle: dict[Connection, float] = {}
        self._open: set[Connection] = set()
        self._sweeper: IDelayedCall | None = None
        self._sweeps_at = 0.0
        self.bonds = Bonds(reactor, limits.bound, limits.bound_idle_s, self._forget)

    def take(self) -> Connection | None:
        """An idle connection, if there is one."""
        while self._idle:
            connection, until = self._idle.popitem()
            if until > self._reactor.seconds():
                return connection
            connection.close()
        return None

    async def dial(self, hops: bytes = b"") -> Connection:
        """A new connection, with its TLS. Raises ``UpstreamFailed``.

        ``hops`` names the buffrs that its request has passed.
        """
        connection = Connection(
            self._reactor, self._rules, self._patience, self._keep, self._forget
        )
        if self._tls:
            connection.expect_handshake()
        connection.mark, until = await self._dialler.connect(connection, hops)
        self._open.add(connection)
        await self._dialler.handshake(connection, until)
        return connection

    def _keep(self, connection: Connection) -> None:
        kept_s = self._limits.idle_s
        if connection.kept_s is not None:
            kept_s = min(kept_s, connection.kept_s)
        if self._dialler.closed or kept_s <= 0 or len(self._idle) >= self._limits.idle:
            connection.close()
            return
        until = self._reactor.seconds() + kept_s
        self._idle[connection] = until
        if self._sweeper is None:
            self._sweeper = self._reactor.callLater(kept_s, self._sweep)
            self._sweeps_at = until
        elif until < self._sweeps_at:
            self._sweeper.reset(kept_s)
            self._sweeps_at = until

    def withdraw(self, client: Client | None, connection: Connection) -> None:
        """Bind a connection that has an answer to a client, and never keep it here."""
        self._idle.pop(connection, None)
        self.bonds.bind(client, connection)
        connection.tell_if_idle()

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._reactor.seconds()
        for connection in [one for one, until in self._idle.items() if until <= now]:
            del self._idle[connection]
            connection.close()
        if self._idle:
            self._sweeps_at = min(self._idle.values())
            self._sweeper = self._reactor.callLater(self._sweeps_at - now, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)

    def retire(self) -> None:
        """Close what is idle, and keep nothing more."""
        self._limits = PoolLimits(0, 0)
        self.bonds.retire()
        self._stop_sweeping()
        while (connection := self.take()) is not None:
            connection.close()

    def close(self) -> None:
        """Close what is idle, and give up what is under way."""
        self._dialler.close()
        self.bonds.close()
        self._stop_sweeping()
        idle, self._idle = list(self._idle), {}
        for connection in idle:
            connection.close()
        for connection in self._open - set(idle):
            connection.abort()

    def _stop_sweeping(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
