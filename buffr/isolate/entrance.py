"""Where the connections from inside end: each is recognised, and handed to the forward proxy."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol, cast

from attrs import define, frozen
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import BuffrError
from buffr.isolate.first_bytes import Kind, recognised, server_name_in
from buffr.isolate.names import Names
from buffr.isolate.programs import End
from buffr.listeners.forward import ForwardProxy, Tunnel
from buffr.listeners.listener import HTTPListener
from buffr.transport.streams import IStreamTransport

__all__ = ["Entrance", "EntranceFactory", "Inward", "Target"]

_IP, _IPV6, _ORIGINAL_DESTINATION = 0, 41, 80
_MOST_UNRECOGNISED = 64


@frozen
class Target:
    """What a client meant to connect to, and from where.

    ``host`` is a name, or else the address of ``meant``.
    """

    host: str
    port: int
    meant: End
    client: End

    @property
    def is_named(self) -> bool:
        """Whether the name is known by which the host was looked up."""
        return self.host != str(self.meant[0])


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


@implementer(IHalfCloseableProtocol)
class Entrance(TwistedProtocol):
    """Waits for a connection's first bytes, which tell who takes it over.

    There is no limit to how long a client may be silent: it may wait for
    something else. A host with a bypass is relayed at once.
    """

    transport: IStreamTransport

    def __init__(self, factory: EntranceFactory) -> None:
        self._factory = factory
        self._listener = factory.listener
        self._begun = b""
        self._successor: TwistedProtocol | None = None
        self._target: Target

    def connectionMade(self) -> None:
        self._listener.came(self)
        try:
            self._target = target = _target(self.transport, self._factory.names)
        except OSError:  # it is gone already, or did not come by a redirect
            self.transport.abortConnection()
            return
        relay = self._factory.inward.came(target)
        if relay is not None:
            self._hand_over(relay)

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
        self._hand_over(successor)

    def _hand_over(self, successor: TwistedProtocol) -> None:
        begun, self._begun = self._begun, b""
        self._successor = successor
        successor.makeConnection(self.transport)
        # All that follows goes straight there.
        self.dataReceived = successor.dataReceived  # type: ignore[method-assign]
        if begun:
            successor.dataReceived(begun)

    def _refuse(self, why: str) -> None:
        self._factory.inward.refused(self._target, why)
        self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client sends no more, but with plain HTTP it may still want its answers."""
        successor = self._successor
        if successor is not None and IHalfCloseableProtocol.providedBy(successor):
            successor.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our side is closed, by the successor."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._listener.gone(self)
        if self._successor is not None:
            self.__dict__.pop("dataReceived", None)  # or the two would refer to each other
            self._successor.connectionLost(reason)

    def check(self, now: float) -> None:
        """A connection in which nothing has begun yet may wait as long as it likes."""

    def stop(self) -> None:
        if self._successor is None:
            self.transport.loseConnection()

    def cut(self) -> None:
        self.transport.abortConnection()


def _target(transport: IStreamTransport, names: Names) -> Target:
    """Where a redirected connection was meant to go. Raises ``OSError``."""
    connection: socket.socket = cast(Any, transport).getHandle()
    address: IPv4Address | IPv6Address
    if connection.family == socket.AF_INET:
        found = connection.getsockopt(_IP, _ORIGINAL_DESTINATION, 16)
        port, packed = struct.unpack_from(">2xH4s", found)
        address = IPv4Address(packed)
    else:
        found = connection.getsockopt(_IPV6, _ORIGINAL_DESTINATION, 28)
        port, packed = struct.unpack_from(">2xH4x16s", found)
        address = IPv6Address(packed)
    host, client_port, *_ = connection.getpeername()
    host_name = names.name_of(address) or str(address)
    return Target(host_name, port, (address, port), (ip_address(host), client_port))
