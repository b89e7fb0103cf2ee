"""A client's connection inside a tunnel."""

from __future__ import annotations

from typing import Protocol as Port

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.listeners.http1 import ClientConnection, Handler
from buffr.listeners.listener import HTTPListener
from buffr.tls.handshake import HandshakeLeft

__all__ = ["InterceptedConnection", "OneProtocol", "TLSWatch"]


class OneProtocol(Factory):
    """A factory for the one protocol that TLS is to wrap."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def doStart(self) -> None:
        """Factories count their ports; this one has none."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return self._protocol


class TLSWatch(Port):
    """Is told what becomes of a client's TLS."""

    def failed(self, error: SSL.Error) -> None:
        """It failed by an alert, or a fault in it."""

    def left(self, after_s: float | None) -> None:
        """The client left without a request, so long after the handshake; ``None`` for within."""

    def asked(self) -> None:
        """The first bytes of a request came."""


@implementer(IHandshakeListener)
class InterceptedConnection(ClientConnection):
    """Speaks HTTP/1.1 inside a tunnel, as the listener would outside, but with its own handler.

    ``tls`` is told what becomes of the TLS around it; there is none where it
    is left out. A handshake has ``head_s`` seconds.
    """

    def __init__(
        self,
        listener: HTTPListener,
        handler: Handler,
        tls: TLSWatch | None = None,
    ) -> None:
        super().__init__(listener, handler)
        self._tls = tls
        self._shaking_hands = tls is not None

    def handshakeCompleted(self) -> None:
        self._shaking_hands = False
        self.since = self._listener.now

    def dataReceived(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.asked()
            self._tls = None
        super().dataReceived(data)

    def _bound_between_exchanges(self) -> float:
        if self._shaking_hands:
            return self._limits.head_s
        return super()._bound_between_exchanges()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tls is not None:
            self._came_to_nothing(self._tls, reason.value)
        super().connectionLost(reason)

    def _came_to_nothing(self, tls: TLSWatch, reason: BaseException | None) -> None:
        # In TLS 1.3 a client's alert may come when the handshake is over for the server.
        if isinstance(reason, SSL.Error) and not isinstance(reason, HandshakeLeft):
            tls.failed(reason)
        elif not (self.closing or self._listener.stopping):
            tls.left(None if self._shaking_hands else self._listener.now - self.since)
