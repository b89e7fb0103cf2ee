"""A transport in memory, for protocols that are tested without sockets."""

from __future__ import annotations

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.transport.streams import IStreamTransport

__all__ = ["Wire"]


@implementer(IStreamTransport, IPushProducer)
class Wire(StringTransport):
    """Notes what is written, and how this side ends it: ``ends``, in order.

    Like TCP it ends after the turn in which it was closed: by itself on a
    ``clock``, else at ``turn``. ``hang_up`` and ``reset`` are the peer's.
    """

    def __init__(self, clock: Clock | None = None, protocol: IProtocol | None = None) -> None:
        super().__init__(lenient=True)
        self.protocol = protocol
        self.ends: list[str] = []
        self.no_delay = False
        self._clock = clock

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: FBT001  # Twisted's signature
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:  # noqa: FBT001
        raise NotImplementedError

    def getTcpKeepAlive(self) -> bool:
        raise NotImplementedError

    def unregisterProducer(self) -> None:
        """Like TCP's; a no-op if nothing is registered."""
        self.producer = None
        self.streaming = None

    def loseWriteConnection(self) -> None:
        self.ends.append("half closed")

    def loseConnection(self) -> None:
        if not self.disconnected:
            self.ends.append("closed")
        if not self.disconnecting:
            self.disconnecting = True
            if self._clock is not None:
                self._clock.callLater(0, self.hang_up)

    def abortConnection(self) -> None:
        self.ends.append("cut")
        if not self.disconnected:
            self.disconnected = self.disconnecting = True
            if self._clock is not None:
                self._clock.callLater(0, self.hang_up, ConnectionAborted())

    def turn(self) -> None:
        """The reactor's next turn, in which a closed connection ends once all is written."""
        if self.connected and self.disconnecting and (self.disconnected or self.producer is None):
            self.hang_up(ConnectionAborted() if self.disconnected else None)

    def receive(self, data: bytes) -> None:
        """Bytes from the peer."""
        assert self.protocol is not None
        self.protocol.dataReceived(data)

    def hang_up(self, reason: Exception | None = None) -> None:
        """The connection is gone: in order, or for this reason."""
        if self.connected:
            self.connected = False
            self.disconnecting = True
            assert self.protocol is not None
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    def reset(self) -> None:
        """The peer resets it."""
        self.hang_up(ConnectionLost())

    @property
    def end(self) -> str:
        """How this side is ending it: ``open`` while it is not."""
        return self.ends[-1] if self.ends else "open"

    @property
    def paused(self) -> bool:
        return bool(self.producerState == "paused")

    def taken(self) -> bytes:
        """The bytes written since the last call."""
        value: bytes = self.value()
        self.clear()
        return value
