"""A connection to a host behind the proxy: relayed unchanged, or intercepted."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.listeners.client import Listener
from buffr.transport.streams import IStreamTransport

__all__ = ["RawTunnel", "TunnelStart", "UndecidedConnection"]

_TLS_HANDSHAKE = 0x16


@implementer(IHalfCloseableProtocol)
class UndecidedConnection(Protocol):
    """A connection that its first bytes hand to a successor. All that follows goes straight there.

    A subclass decides in ``dataReceived``, and calls ``hand_over``.
    """

    transport: IStreamTransport

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._successor: Protocol | None = None

    def connectionMade(self) -> None:
        self._listener.came(self)

    def hand_over(self, successor: Protocol, begun: bytes) -> None:
        """Let a protocol go on, with the bytes that have come so far."""
        self._successor = successor
        successor.makeConnection(self.transport)
        self.dataReceived = successor.dataReceived  # type: ignore[method-assign]
        if begun:
            successor.dataReceived(begun)

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


class TunnelStart(UndecidedConnection):
    """Waits for a tunnel's first byte, which tells TLS from plain HTTP.

    ``tls`` and ``plain`` make the protocol that takes the connection over.
    """

    def __init__(
        self, listener: Listener, tls: Callable[[], Protocol], plain: Callable[[], Protocol]
    ) -> None:
        super().__init__(listener)
        self._tls = tls
        self._plain = plain
        self._since = listener.now

    def dataReceived(self, data: bytes) -> None:
        made = self._tls if data[0] == _TLS_HANDSHAKE else self._plain
        self.hand_over(made(), data)

    def check(self, now: float) -> None:
        """Close a tunnel in which nothing has begun in time."""
        if self._successor is None and now - self._since > self._listener.limits.head_s > 0:
            self.transport.abortConnection()


@implementer(IHalfCloseableProtocol)
class RawTunnel(Protocol):
    """One end of a tunnel that is relayed unchanged. Each end applies back-pressure to the other.

    ``on_end`` is called once, when this end's connection is over.
    """

    transport: IStreamTransport

    def __init__(self, on_end: Callable[[], None] | None = None) -> None:
        self.peer: RawTunnel | None = None
        self._on_end = on_end
        self.early = b""
        self.closed_half = False
        self.lost = False

    def join(self, peer: RawTunnel) -> None:
        """Connect two ends. Both must have their transports."""
        self.peer, peer.peer = peer, self
        self.transport.registerProducer(peer.transport, True)
        peer.transport.registerProducer(self.transport, True)
        for end, other in ((self, peer), (peer, self)):
            if end.early:
                other.transport.write(end.early)
                end.early = b""

    def dataReceived(self, data: bytes) -> None:
        if self.peer is None:
            self.early += data
        else:
            self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        self.closed_half = True
        if self.peer is None:
            self.transport.loseConnection()
        elif self.peer.closed_half:
            self.close()
            self.peer.close()
        else:
            self.peer.transport.unregisterProducer()
            self.peer.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """The other direction may go on."""

    def close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        if self.lost:
            return
        self.lost = True
        if self._on_end is not None:
            self._on_end()
        if self.peer is not None and not self.peer.lost:
            self.peer.close()
