"""Transports in memory."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from buffr.transport.streams import IStreamTransport

__all__ = ["Wire"]


@implementer(IStreamTransport, IPushProducer)
class Wire(StringTransport):
    """A transport that notes how it ends."""

    def __init__(self) -> None:
        super().__init__(lenient=True)
        self.ends: list[str] = []

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As TCP has it."""

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        raise NotImplementedError

    def getTcpKeepAlive(self) -> bool:
        raise NotImplementedError

    def unregisterProducer(self) -> None:
        """As TCP has it, which does not mind if there is none."""
        self.producer = None

    def loseWriteConnection(self) -> None:
        self.ends.append("half closed")

    def loseConnection(self) -> None:
        self.ends.append("closed")

    def abortConnection(self) -> None:
        self.ends.append("cut")

    def taken(self) -> bytes:
        value: bytes = self.value()
        self.clear()
        return value
