"""A client's connection inside a tunnel."""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

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


class InterceptedConnection(ClientConnection):
    """Speaks HTTP/1.1 inside a tunnel, as the listener would outside, but with its own handler.

    ``refused`` is told when the client would not have our certificate.
    """

    def __init__(
        self, listener: HTTPListener, handler: Handler, refused: Callable[[], None]
    ) -> None:
        super().__init__(listener, handler)
        self._refused = refused
        self._heard = False

    def dataReceived(self, data: bytes) -> None:
        self._heard = True
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._heard and isinstance(reason.value, SSL.Error):
            self._refused()
        super().connectionLost(reason)
