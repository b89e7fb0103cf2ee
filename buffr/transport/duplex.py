"""Bytes both ways, with back-pressure: what is left of an exchange once HTTP has stepped aside.

A WebSocket session speaks over two of them. A connection becomes one by its
upgrade; a stream of HTTP/2 can be one as well (RFC 8441).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Port

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.transport.streams import IStreamTransport

__all__ = ["Duplex", "DuplexUser", "TransportDuplex"]


class DuplexUser(Port):
    """Speaks over a duplex, and hears what its peer does."""

    def received(self, data: bytes) -> None:
        """Take the next bytes."""

    def pause_sending(self) -> None:
        """The peer is slow: write no more until ``resume_sending``."""

    def resume_sending(self) -> None:
        """The peer takes more again."""

    def ended(self) -> None:
        """The peer sends no more. It may still read."""

    def closed(self, reason: Failure) -> None:
        """The duplex is gone. ``reason`` is a ``ConnectionDone`` if it was closed in order."""


class Duplex(Port):
    """The bytes to and from one peer."""

    def start(self, user: DuplexUser) -> None:
        """Give the user what has come and what comes. Call it in the turn that gave the duplex."""

    def write(self, data: bytes) -> None:
        """Send bytes. What the peer does not take waits, and ``pause_sending`` is called."""

    def pause_reading(self) -> None:
        """Hold the peer back until ``resume_reading``."""

    def resume_reading(self) -> None:
        """Take more from the peer again."""

    def end(self) -> bool:
        """Send no more, and go on reading. Returns whether the peer can be told that."""

    def close(self) -> None:
        """Close once everything is sent."""

    def abort(self) -> None:
        """Close at once."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class TransportDuplex(Protocol):
    """A whole connection as a duplex. Whoever speaks HTTP on it hands it over to this protocol."""

    transport: IStreamTransport
    write: Callable[[bytes], None]

    def __init__(self) -> None:
        self._user: DuplexUser | None = None
        self._early = b""

    # The transport.

    def connectionMade(self) -> None:
        self.write = self.transport.write
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        self._early += data

    def pauseProducing(self) -> None:
        if self._user is not None:
            self._user.pause_sending()

    def resumeProducing(self) -> None:
        if self._user is not None:
            self._user.resume_sending()

    def stopProducing(self) -> None:
        """The transport is going away; ``connectionLost`` says so too."""

    def readConnectionLost(self) -> None:
        if self._user is not None:
            self._user.ended()

    def writeConnectionLost(self) -> None:
        """Our side is closed; the peer's end is waited for."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._user is not None:
            self._user.closed(reason)

    # The user.

    def start(self, user: DuplexUser) -> None:
        self._user = user
        self.dataReceived = user.received  # type: ignore[method-assign]  # a call less for each
        early, self._early = self._early, b""
        if early:
            user.received(early)

    def pause_reading(self) -> None:
        self.transport.pauseProducing()

    def resume_reading(self) -> None:
        self.transport.resumeProducing()

    def end(self) -> bool:
        """As in ``Duplex``. TLS cannot close one direction alone."""
        if ISSLTransport.providedBy(self.transport):
            return False
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        return True

    def close(self) -> None:
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        self.transport.abortConnection()
