"""A client's connection inside a tunnel."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.listeners.connection import ClientConnection, Handler
from buffr.listeners.listener import HTTPListener

__all__ = ["InterceptedConnection", "OneProtocol"]


class OneProtocol(Factory):
    """A factory for the one protocol that TLS is to wrap."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def doStart(self) -> None:
        """Factories count their ports; this one has none."""

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return self._protocol


@implementer(IHandshakeListener)
class InterceptedConnection(ClientConnection):
    """Speaks HTTP/1.1 inside a tunnel, as the listener would outside, but with its own handler.

    ``tls_failed`` is told why the TLS around it came to nothing; there is
    none where it is left out. A handshake has ``head_s`` seconds.
    """

    def __init__(
        self,
        listener: HTTPListener,
        handler: Handler,
        tls_failed: Callable[[SSL.Error], None] | None = None,
    ) -> None:
        super().__init__(listener, handler)
        self._tls_failed = tls_failed
        self._shaking_hands = tls_failed is not None

    def handshakeCompleted(self) -> None:
        self._shaking_hands = False
        self.since = self._listener.now

    def dataReceived(self, data: bytes) -> None:
        self._tls_failed = None
        super().dataReceived(data)

    def _bound_between_exchanges(self) -> float:
        if self._shaking_hands:
            return self._limits.head_s
        return super()._bound_between_exchanges()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._tls_failed is not None and isinstance(reason.value, SSL.Error):
            self._tls_failed(reason.value)
        super().connectionLost(reason)
