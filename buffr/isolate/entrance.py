"""Where the connections from inside end: each is recognised, and handed to the forward proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Protocol, cast

from attrs import define, frozen
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory

from buffr.errors import BuffrError
from buffr.isolate.first_bytes import Kind, recognised, server_name_in
from buffr.isolate.names import Names
from buffr.isolate.programs import End
from buffr.listeners.forward import ForwardProxy, Tunnel
from buffr.listeners.listener import HTTPListener
from buffr.listeners.tunnel import UndecidedConnection
from buffr.transport.streams import IStreamTransport

__all__ = ["Entrance", "EntranceFactory", "Inward", "Target"]

_IP, _IPV6, _ORIGINAL_DESTINATION = 0, 41, 80
_MOST_UNRECOGNISED = 64


@frozen
class Target:
    """What a client meant to connect to, and from where.

    ``host`` is the name by which it was looked up, if that is known, or else
    the address of ``meant``.
    """

    host: str
    port: int
    meant: End
    client: End
    is_named: bool


class Inward(Protocol):
    """Is told what came in, and knows what may pass."""

    def came(self, target: Target) -> TwistedProtocol | None:
        """Count a connection; returns what relays it as it is, if that is so for its host."""

    def refused(self, target: Target, why: str) -> None:
        """Count a connection that is refused, since it is of no kind that can be recorded."""


@define(eq=False)
class EntranceFactory(ServerFactory):
    """Makes an ``Entrance`` for each connection, as long as the listener has room."""

    listener: HTTPListener
    proxy: ForwardProxy
    names: Names
    scope: str
    inward: Inward

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol:  # noqa: ARG002
        return self.listener.admitted(lambda _: Entrance(self))


class Entrance(UndecidedConnection):
    """Waits for a connection's first bytes, which tell who takes it over.

    There is no limit to how long a client may be silent: it may wait for
    something else. A host with a bypass is relayed at once.
    """

    def __init__(self, factory: EntranceFactory) -> None:
        super().__init__(factory.listener)
        self._factory = factory
        self._begun = b""
        self._target: Target

    def connectionMade(self) -> None:
        super().connectionMade()
        try:
            self._target = target = _target(self.transport, self._factory.names)
        except OSError:  # it is gone already, or did not come by a redirect
            self.transport.abortConnection()
            return
        relay = self._factory.inward.came(target)
        if relay is not None:
            self.hand_over(relay, b"")

    def dataReceived(self, data: bytes) -> None:
        self._begun += data
        kind = recognised(self._begun)
        if kind is None and len(self._begun) < _MOST_UNRECOGNISED:
            return
        match kind:
            case Kind.TLS:
                # A name that was looked up tells more than a hello, which any client may write.
                name = None if self._target.is_named else server_name_in(self._begun)
                self._pass(lambda tunnel: tunnel.tls(), name or self._target.host)
            case Kind.HTTP | Kind.HTTP2:
                self._pass(lambda tunnel: tunnel.plain(), self._target.host)
            case _:
                self._refuse("it is neither TLS nor HTTP")

    def _pass(self, made: Callable[[Tunnel], TwistedProtocol], host: str) -> None:
        port, factory = self._target.port, self._factory
        try:
            successor = made(factory.proxy.inside(host, port, factory.scope))
        except BuffrError as error:
            self._refuse(error.message)
            return
        begun, self._begun = self._begun, b""
        self.hand_over(successor, begun)

    def _refuse(self, why: str) -> None:
        self._factory.inward.refused(self._target, why)
        self.transport.abortConnection()


def _target(transport: IStreamTransport, names: Names) -> Target:
    """Where a redirected connection was meant to go. Raises ``OSError``."""
    connection: socket.socket = cast(Any, transport).getHandle()
    family = connection.family
    if family == socket.AF_INET:
        found = connection.getsockopt(_IP, _ORIGINAL_DESTINATION, 16)
        packed = found[4:8]
    else:
        found = connection.getsockopt(_IPV6, _ORIGINAL_DESTINATION, 28)
        packed = found[8:24]
    port = int.from_bytes(found[2:4])
    host, client_port, *_ = connection.getpeername()
    client = socket.inet_pton(family, host), client_port
    name = names.name_of(packed)
    if name is None:
        return Target(str(ip_address(packed)), port, (packed, port), client, is_named=False)
    return Target(name, port, (packed, port), client, is_named=True)
