"""Connections that are relayed as they are: to what was allowed, and from outside to inside."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel

from buffr.errors import BuffrError, UpstreamFailed
from buffr.listeners.tunnel import RawTunnel
from buffr.log import say
from buffr.origin import host_and_port

__all__ = ["Relay", "RelayFactory", "dial_inside", "dial_outside"]

_PATIENCE_S = 30.0

OnEnd = Callable[[], None]
Dial = Callable[[RawTunnel], Awaitable[OnEnd | None]]
"""Connects a protocol; returns what is to be called when the connection is over."""


class Relay(RawTunnel):
    """The client's end of a relayed connection. ``dial`` connects the other end.

    Nothing is read from the client until both ends are there.
    """

    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self._dial = dial
        self._dialling: Deferred[None] | None = None

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self._dialling = Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> None:
        other = RawTunnel()
        try:
            self._on_end = await self._dial(other)
        except BuffrError as error:
            if not error.noted:
                say(LogLevel.warn, "connection not relayed", err=error.message)
            self.transport.abortConnection()
            return
        if self.lost:
            if self._on_end is not None:
                self._on_end()
            other.transport.abortConnection()
            return
        self.join(other)
        self.transport.resumeProducing()


class RelayFactory(ServerFactory):
    """Relays every connection. ``came`` is told of each, with the client's address."""

    noisy = False

    def __init__(self, dial: Dial, came: Callable[[IAddress | None], None] | None = None) -> None:
        self._dial = dial
        self._came = came

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        if self._came is not None:
            self._came(addr)
        return Relay(self._dial)


def dial_outside(reactor: Any, host: str, port: int) -> Dial:
    """Connect to a service outside."""

    async def dial(protocol: RawTunnel) -> None:
        endpoint = HostnameEndpoint(reactor, host.encode("idna"), port, _PATIENCE_S)
        try:
            await connectProtocol(endpoint, protocol)
        except (ConnectError, DNSLookupError) as error:
            raise UpstreamFailed(f"{host_and_port(host, port)}: {error}") from error

    return dial


def dial_inside(reactor: Any, socket_for: Callable[[int], socket.socket], port: int) -> Dial:
    """Connect to a port of the command's, at ::1 if there is nobody at 127.0.0.1."""

    def connected() -> socket.socket:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            made = socket_for(family)
            try:
                made.connect((host, port))
            except OSError:
                made.close()
            else:
                made.setblocking(False)
                return made
        raise ConnectionRefusedError

    async def dial(protocol: RawTunnel) -> None:
        try:
            made = await deferToThreadPool(reactor, reactor.getThreadPool(), connected)
        except OSError as error:
            raise UpstreamFailed(f"nothing listens inside at port {port}") from error
        with made:
            reactor.adoptStreamConnection(made.fileno(), made.family, _One(protocol))

    return dial


class _One(ServerFactory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return self._protocol
