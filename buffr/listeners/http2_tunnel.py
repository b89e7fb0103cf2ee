"""A stream of HTTP/2 as another protocol's transport, after CONNECT (RFC 9113 8.5, RFC 8441)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.transport.streams import IStreamTransport
from buffr.wire.http2.interface import Code

__all__ = ["Address", "StreamTransport"]

Address = IPv4Address | IPv6Address


class _Stream(Protocol):
    """The stream as its transport sees it."""

    @property
    def addresses(self) -> tuple[Address, Address]:
        """The client's address, and this side's."""

    def send(self, data: bytes, *, ended: bool = False) -> None:
        """Send bytes. ``full`` is called while they are too many, and ``sent`` after the last."""

    def consumed(self, size_bytes: int) -> None:
        """So many bytes were dealt with."""

    def close(self, code: Code | None = None) -> None:
        """The stream is over, in order if there is no code."""


@implementer(IStreamTransport)
class StreamTransport:
    """Gives a Twisted protocol what it expects of TCP.

    The end of either direction is END_STREAM, and a reset is CANCEL. As with
    TCP the protocol hears of its own closing in a later turn: ``soon`` calls
    a function then.
    """

    def __init__(
        self,
        stream: _Stream,
        protocol: TwistedProtocol,
        soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self.disconnecting = False
        self._stream = stream
        self._protocol = protocol
        self._soon = soon
        self._producer: Any = None
        self._producer_paused = False
        self._unread: list[bytes] = []
        self._reading = True
        self._peer_ended = False
        self._told_of_end = False
        self._ended = False
        """Whether this side's direction is closed."""
        self._ending = False
        self._over = False

    # What the client does.

    def received(self, data: bytes, *, ended: bool) -> None:
        """The client sent bytes; ``ended`` says that it sends no more."""
        if data:
            self._unread.append(data)
        self._peer_ended = self._peer_ended or ended
        self._read()

    def _read(self) -> None:
        while self._reading and self._unread and not self._over:
            data = self._unread.pop(0)
            if not self.disconnecting:
                self._protocol.dataReceived(data)
            self._stream.consumed(len(data))
        if self._reading and self._peer_ended and not (self._told_of_end or self._over):
            self._told_of_end = True
            if self._ended:
                self._end(Failure(ConnectionDone()))
            elif IHalfCloseableProtocol.providedBy(self._protocol):
                half_closing: Any = self._protocol
                half_closing.readConnectionLost()
            else:
                self.loseConnection()

    def full(self) -> None:
        """The client is behind: the producer is to wait."""
        if self._producer is not None:
            self._producer_paused = True
            self._producer.pauseProducing()

    def room(self) -> None:
        """The client takes more again."""
        if self._producer_paused:
            self._producer_paused = False
            self._producer.resumeProducing()

    def sent(self, unsent_bytes: int) -> bool:
        """All was sent that there is room for. Returns whether nothing is waited for any more."""
        if not self._ended or self._over:
            return True
        if unsent_bytes:
            return False
        if self.disconnecting or self._told_of_end:
            self._end(Failure(ConnectionDone()))
        return True

    def lost(self, reason: Failure) -> None:
        """The stream is gone."""
        if not self._over:
            self._over = True
            self._unread.clear()
            self._protocol.connectionLost(reason)

    def _end(self, reason: Failure, code: Code | None = None) -> None:
        if not (self._over or self._ending):
            self._ending = True
            self._stream.close(code)
            self._soon(lambda: self.lost(reason))

    # What the protocol does.

    def write(self, data: bytes) -> None:
        if data and not (self._ended or self._over):
            self._stream.send(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        if not (self._ended or self._over):
            self._ended = True
            self._stream.send(b"", ended=True)

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.loseWriteConnection()

    def abortConnection(self) -> None:
        self.disconnecting = self._ended = True
        self._end(Failure(ConnectionAborted()), Code.CANCEL)

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ARG002, FBT001
        self._producer, self._producer_paused = producer, False

    def unregisterProducer(self) -> None:
        self._producer, self._producer_paused = None, False

    def pauseProducing(self) -> None:
        self._reading = False

    def resumeProducing(self) -> None:
        if not self._reading:
            self._reading = True
            self._read()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Address:
        return self._stream.addresses[0]

    def getHost(self) -> Address:
        return self._stream.addresses[1]

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001
        """Streams have no such delay."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001
        """It is the connection's."""
