"""A listening port and the connections on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from socket import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError, ConfigError
from buffr.listeners.client import CHECK_S, ClientConnection, ConnectionLimits, Handler
from buffr.listeners.hit_memo import HitMemo
from buffr.listeners.http1 import Http1Connection
from buffr.log import say
from buffr.message import Request
from buffr.origin import host_and_port
from buffr.tls.thin import server_tls
from buffr.transport.memo import Memo
from buffr.transport.ports import Share, adopted_port, new_port
from buffr.wire.http1_requests import HeadMemo

__all__ = ["HTTPListener", "IReactorTCPTime"]

_BACKLOG = 1024
_POLL_S = 0.02
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)


class IReactorTCPTime(IReactorTCP, IReactorTime):
    """A reactor that listens, and that has a clock."""


class _Busy(Protocol):
    """Refuses a connection over the bound with 503."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(_BUSY)
        self.transport.loseConnection()


class _TLSFactory(ServerFactory):
    """Puts TLS around the connections of a listener."""

    noisy = False

    def __init__(
        self,
        listener: HTTPListener,
        tls: IOpenSSLServerConnectionCreator,
        reactor: IReactorTime,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return server_tls(self._listener.buildProtocol(addr), self._tls, self._reactor)


class HTTPListener(ServerFactory, Service):
    """Accepts HTTP connections on one address and hands their requests to ``handler``.

    ``announce`` has the fields of the log's line "listening";
    without it there is no such line. ``connections``
    bounds how many are open at a time.
    """

    noisy = False

    def __init__(
        self,
        reactor: IReactorTCPTime,
        interface: str,
        port: int,
        handler: Handler,
        *,
        limits: ConnectionLimits,
        connections: int,
        announce: dict[str, str] | None,
        tls: IOpenSSLServerConnectionCreator | None = None,
    ) -> None:
        self.handle = handler
        self.limits = limits
        self.memo = HeadMemo()
        self.hits = HitMemo(limits.memo_bytes)
        self.requests: Memo[Hashable, Request] = Memo(entries=8192, size_bytes=8 << 20)
        self.stopping = False
        self.now = reactor.seconds()
        self._reactor = reactor
        self._interface = interface
        self._asked_port = port
        self._most = connections
        self._announce = announce
        self._tls = tls
        self.opened: Sequence[socket] = ()
        """Sockets that listen already, to be used in place of a new one."""
        self.share: Share | None = None
        """Its part of the connections, if other processes accept from these sockets, too."""
        self.front: IProtocolFactory = self
        """What makes the connections."""
        self.accepted = 0
        """The number of connections accepted so far."""
        self._connections: set[ClientConnection] = set()
        self._accepted: set[object] = set()
        self._ports: list[IListeningPort] = []
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = reactor

    @property
    def address(self) -> tuple[str, int]:
        """The address that it listens on, or will listen on."""
        return self._interface, self.port if self._ports else self._asked_port

    @property
    def port(self) -> int:
        """The port that it listens on, even if any free one was requested."""
        address = self._ports[0].getHost()
        assert isinstance(address, IPv4Address | IPv6Address)
        return address.port

    def quiet(self) -> dict[str, str] | None:
        """Write no line "listening" to the log; returns the fields that it would have."""
        announce, self._announce = self._announce, None
        return announce

    @property
    def connections(self) -> int:
        """The number of connections that are open."""
        return len(self._accepted)

    def startService(self) -> None:
        """Listen. Raises ``ConfigError`` if the address is in use or not one of this machine."""
        super().startService()
        try:
            self._ports = self._listen()
        except CannotListenError as error:
            where = host_and_port(self._interface, self._asked_port)
            raise ConfigError(
                f"cannot listen on {where}: {error.socketError}",
                hint="choose another port, or stop what listens there",
            ) from error
        self._sweeper.start(CHECK_S, now=False).addErrback(_sweep_failed)
        if self._announce is not None:
            where = host_and_port(self._interface, self.port)
            say(LogLevel.info, "listening", **self._announce, addr=where)

    def _listen(self) -> list[IListeningPort]:
        factory = self._factory()
        if self.opened:
            return [
                adopted_port(self._reactor, one.fileno(), one.family, factory, _starved, self.share)
                for one in self.opened
            ]
        return [
            new_port(self._reactor, self._asked_port, factory, _BACKLOG, self._interface, _starved)
        ]

    def _factory(self) -> Any:
        if self._tls is None:
            return self.front
        return _TLSFactory(self, self._tls, self._reactor)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return self.admitted(Http1Connection)

    def admitted(self, make: Callable[[HTTPListener], Protocol]) -> Protocol:
        """The protocol of one more connection: ``make``'s, or an answer that there are too many."""
        self.accepted += 1
        if len(self._accepted) >= self._most:
            return _Busy()
        connection = make(self)
        self._accepted.add(connection)
        if self.share is not None:
            self.share.changed(len(self._accepted))
        return connection

    def refused(self, error: BuffrError) -> None:
        say(LogLevel.warn, "request refused", status=str(error.status), err=error.message)

    def came(self, connection: ClientConnection) -> None:
        self._connections.add(connection)

    def gone(self, connection: ClientConnection) -> None:
        self._connections.discard(connection)
        self._accepted.discard(connection)
        if self.share is not None and not self.stopping:
            self.share.changed(len(self._accepted))

    def soon(self, call: Callable[[], None]) -> None:
        self._reactor.callLater(0, call)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._reactor.callLater(delay_s, call)

    def _sweep(self) -> None:
        self.now = self._reactor.seconds()
        for connection in list(self._connections):
            try:
                connection.check(self.now)
            except Exception as error:  # noqa: BLE001  # the other connections must still be checked
                say(LogLevel.error, "defect", err=f"{type(error).__name__}: {error}")

    async def stop(self, grace_s: float) -> None:
        """Accept no more. Returns when the running exchanges are over, or cut after ``grace_s``."""
        self.stopping = True
        if self.share is not None:
            self.share.ended()
        for port in self._ports:
            await _listening_stopped(port)
        for connection in list(self._connections):
            connection.stop()
        until = self._reactor.seconds() + grace_s
        while self._connections and self._reactor.seconds() < until:
            await deferLater(self._reactor, _POLL_S)
        for connection in list(self._connections):
            connection.cut()
        if self._sweeper.running:
            self._sweeper.stop()


async def _listening_stopped(port: IListeningPort) -> None:
    stopped = port.stopListening()
    if stopped is not None:
        await stopped


def _starved(limit: int) -> None:
    say(
        LogLevel.warn,
        "out of file descriptors",
        limit=str(limit),
        hint="new connections wait until others are closed; raise the limit (ulimit -n), or lower "
        "limits.connections",
    )


def _sweep_failed(failure: object) -> None:
    say(LogLevel.error, "defect", err=str(failure))
