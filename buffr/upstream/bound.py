"""Connections to an upstream that belong to one client's connection each.

NTLM and Negotiate authenticate a connection, and with it every request that
follows on it (RFC 4559 6, MS-NTHT 1.3). On a pooled one, the next client would
be served as the one that authenticated. So such a connection is bound to the
client's: both serve nobody else, and one ends with the other, since a client
whose connection stays open takes itself for authenticated.
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

    ``bonds`` are those that hold one for it; they are told when it is ``lost``.
    """

    bonds: set[Bonds]

    @property
    def lost(self) -> bool:
        """Whether the connection is gone."""

    def part(self) -> None:
        """Close: at once if no exchange is under way, otherwise after its answer."""


class Bonds:
    """The connections of one pool that are bound, each by the client's connection that it is for.

    At most ``most`` are held: for one more, that which is unused for longest
    is closed. An unused one is closed after ``idle_s`` seconds.
    ``on_closed`` is told of each that is gone.
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
        """The connection of a client, for its next request; ``None`` if it has none to use."""
        if client is None or client not in self._connections:
            return None
        connection = self._connections[client]
        if self._idle.pop(client, None) is None or not connection.reusable:
            # It is busy with an answer that its client gave up, or closing.
            self._forget(client)
            connection.abort()
            return None
        return connection

    def bind(self, client: Client | None, connection: Connection) -> None:
        """Have a connection belong to a client alone.

        Where it cannot be held for this client, it ends with its next answer,
        or the one that is under way.
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
        """Close an unused connection, and the client's with it."""
        self.left(client)
        client.part()

    def release(self, client: Client) -> None:
        """Its connection goes on in another protocol, and is somebody else's to end."""
        if client in self._connections:
            self._forget(client).belongs_to(lambda _: None, self._on_closed)

    def left(self, client: Client) -> None:
        """The client's connection is gone; what is under way for it may end."""
        connection = self._forget(client)
        connection.belongs_to(Connection.close, self._on_closed)
        connection.tell_if_idle()

    def _forget(self, client: Client) -> Connection:
        self._idle.pop(client, None)
        client.bonds.discard(self)
        return self._connections.pop(client)

    def retire(self) -> None:
        """Close what is unused, and hold nothing more."""
        self._most = 0
        for client in list(self._idle):
            self._end(client)

    def close(self) -> None:
        """Hold nothing more, and wait for nothing."""
        self.retire()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def continues_handshake(request: Request) -> bool:
    """Whether its credentials answer a challenge, which only the challenger's connection takes."""
    return any(
        _is_answer(value) for name, value in request.headers if name.lower() == b"authorization"
    )


def _is_answer(value: bytes) -> bool:
    """Whether it holds NTLM's third message (MS-NLMP 2.2.1.3) or a NegTokenResp (RFC 4178 4.2)."""
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
