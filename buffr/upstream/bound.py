"""Connections to an upstream that each belong to one client's connection.

NTLM and Negotiate authenticate a connection, and with it every request that
follows on it (RFC 4559 6, MS-NTHT 1.3). On a pooled connection, the next
client would be served as the one that authenticated. So such a connection is
bound to the client's: both serve nobody else, and one ends with the other,
since a client whose connection stays open believes that it is authenticated.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buffr.message import Request
from buffr.upstream.connection import Connection

__all__ = ["Bonds", "Client", "continues_handshake"]

_TOKEN = re.compile(rb"[A-Za-z]+[ ]+([A-Za-z0-9+/=]+)")
_NTLM = b"NTLMSSP\0"
_NTLM_AUTHENTICATE = b"\3\0\0\0"
_NEG_TOKEN_RESP = 0xA1


class Client(Protocol):
    """A client's connection, to which connections to upstreams can be bound.

    ``bonds`` are those that hold one for it; call their ``left`` when it is ``lost``.
    """

    bonds: set[Bonds]

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    def part(self) -> None:
        """Close: at once if no exchange is under way, otherwise after its answer."""


class Bonds:
    """The bound connections of one pool, each by the client's connection that it belongs to.

    At most ``most`` are held: for one more, the one unused for longest is
    closed. An unused one is closed after ``idle_s`` seconds. ``on_closed`` is
    called for each one that is gone.
    """

    def __init__(
        self,
        clock: IReactorTime,
        most: int,
        idle_s: float,
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._clock = clock
        self._most = most
        self._idle_s = idle_s
        self._on_closed = on_closed
        self._connections: dict[Client, Connection] = {}
        self._idle: dict[Client, float] = {}
        self._sweeper: IDelayedCall | None = None

    def __contains__(self, client: Client | None) -> bool:
        return client in self._connections

    def take(self, client: Client | None) -> Connection | None:
        """The connection of a client for its next request, or ``None`` if it has none to use."""
        if client is None or client not in self._connections:
            return None
        connection = self._connections[client]
        if self._idle.pop(client, None) is None or not connection.reusable:
            # It is busy with an answer that its client has given up, or it is closing.
            self._forget(client)
            connection.abort()
            return None
        return connection

    def bind(self, client: Client | None, connection: Connection) -> None:
        """Make a connection belong to one client.

        If it cannot be held for this client, it ends with its next answer, or
        with the one under way.
        """
        if client is None or client.lost or not self._has_room():
            connection.belongs_to(Connection.close, self._on_closed)
            return
        self._connections[client] = connection
        client.bonds.add(self)
        connection.belongs_to(partial(self._unused, client), partial(self._closed, client))

    def _has_room(self) -> bool:
        if len(self._connections) >= self._most and self._idle:
            self._end(next(iter(self._idle)))
        return len(self._connections) < self._most

    def _unused(self, client: Client, _: Connection) -> None:
        if self._most == 0:
            self._end(client)
            return
        self._idle[client] = self._clock.seconds() + self._idle_s
        if self._sweeper is None:
            self._sweeper = self._clock.callLater(self._idle_s, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock.seconds()
        for client, until in list(self._idle.items()):
            if until > now:
                self._sweeper = self._clock.callLater(until - now, self._sweep)
                return
            self._end(client)

    def _closed(self, client: Client, connection: Connection) -> None:
        if self._connections.get(client) is connection:
            self._forget(client)
        self._on_closed(connection)
        client.part()

    def _end(self, client: Client) -> None:
        """Close an unused connection together with the client's."""
        self.left(client)
        client.part()

    def release(self, client: Client) -> None:
        """The client's upstream connection has switched protocols. Hold it no more."""
        if client in self._connections:
            self._forget(client).belongs_to(lambda _: None, self._on_closed)

    def left(self, client: Client) -> None:
        """The client's connection is gone. What is under way for it may end."""
        connection = self._forget(client)
        connection.belongs_to(Connection.close, self._on_closed)
        connection.tell_if_idle()

    def _forget(self, client: Client) -> Connection:
        self._idle.pop(client, None)
        client.bonds.discard(self)
        return self._connections.pop(client)

    def retire(self) -> None:
        """Close what is unused, and hold no more connections."""
        self._most = 0
        for client in list(self._idle):
            self._end(client)

    def close(self) -> None:
        """Hold no more connections, and stop the timer."""
        self.retire()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def continues_handshake(request: Request) -> bool:
    """Whether its credentials answer a challenge, which is valid on the same connection only."""
    return any(
        _is_answer(value) for name, value in request.headers if name.lower() == b"authorization"
    )


def _is_answer(value: bytes) -> bool:
    """Whether it has NTLM's third message (MS-NLMP 2.2.1.3) or a NegTokenResp (RFC 4178 4.2)."""
    found = _TOKEN.fullmatch(value)
    if found is None:
        return False
    try:
        token = b64decode(found[1][:64])
    except ValueError:
        return False
    if token.startswith(_NTLM):
        return token[len(_NTLM) :].startswith(_NTLM_AUTHENTICATE)
    return token[:1] == bytes((_NEG_TOKEN_RESP,))
