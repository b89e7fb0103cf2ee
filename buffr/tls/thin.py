"""TLS on a client's connection, with little between the socket and the protocol inside.

Twisted's ``TLSMemoryBIOProtocol`` learns by an exception that OpenSSL has
nothing more to give, and by another one that it has nothing more to send: two
for each request. Here the framing of the records tells. All else, as errors,
back-pressure and the ways in which a connection ends, is Twisted's.

This touches private names of Twisted's. If one is missing, ``server_tls``
gives Twisted's own protocol.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.wire.tls_records import Records

__all__ = ["ThinTLS", "close_at_once", "server_tls"]

_NAMES = (
    "_checkHandshakeStatus",
    "_flushSendBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_aborted",
    "_shutdownTLS",
    "_tlsShutdownFinished",
    "_unbufferPendingWrites",
)
_IS_THIN = all(hasattr(TLSMemoryBIOProtocol, name) for name in _NAMES)
_RECORD_BYTES = 1 << 14
"""The longest plain text of a record (RFC 8446 5.1)."""
_READ_BYTES = 1 << 15


def server_tls(
    inner: Protocol, creator: IOpenSSLServerConnectionCreator, reactor: IReactorTime
) -> TLSMemoryBIOProtocol:
    """The server's side of TLS around a protocol."""
    if _IS_THIN:
        return ThinTLS(_NO_FACTORY, inner, creator)
    factory = TLSMemoryBIOFactory(creator, False, _OneProtocol(inner), reactor)
    # Twisted's default gathers small writes for a turn; answers are written whole here.
    factory.protocol = TLSMemoryBIOProtocol
    return factory.buildProtocol(None)


def close_at_once(transport: object) -> None:
    """Close a transport on which nothing is under way.

    With TLS our close_notify is sent, and the peer's is not waited for: an
    idle client in a pool does not read (RFC 8446 6.1).
    """
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport.loseConnection()
        transport = transport.transport
    if transport is not None:
        transport.loseConnection()  # type: ignore[attr-defined]  # as all transports have it


class _OneProtocol(Factory):
    """A factory for the one protocol that TLS wraps."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def doStart(self) -> None:
        """There is no port to count."""

    def buildProtocol(self, addr: Any) -> Protocol:  # noqa: ARG002
        return self._protocol


class _NoFactory:
    """In the place of a factory that counts its protocols."""

    def registerProtocol(self, protocol: Protocol) -> None:
        """Nobody asks for it."""

    def unregisterProtocol(self, protocol: Protocol) -> None:
        """Nobody asks for it."""


_NO_FACTORY = _NoFactory()


@implementer(ISSLTransport)
class ThinTLS(TLSMemoryBIOProtocol):
    """The server's side of TLS around ``inner``.

    In TLS 1.3 the tickets for later sessions, which nobody waits for, go out
    together with the first answer.
    """

    def __init__(
        self, factory: Any, inner: Protocol, creator: IOpenSSLServerConnectionCreator
    ) -> None:
        super().__init__(factory, inner)
        self._creator = creator
        self._records = Records()

    def makeConnection(self, transport: Any) -> None:
        self._tlsConnection = self._creator.serverConnectionForTLS(self)
        self._tlsConnection.set_accept_state()
        self._appSendBuffer: list[bytes] = []
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        inner: Any = self.wrappedProtocol
        inner.makeConnection(self)
        # The handshake begins with the client's hello: OpenSSL would only say that it wants it.

    def dataReceived(self, data: bytes) -> None:
        whole = self._records.feed(data)
        connection = self._tlsConnection
        connection.bio_write(data)
        if not self._handshakeDone:
            self._go_on_shaking_hands()
            return
        if self._appSendBuffer:
            self._unbufferPendingWrites()
        if whole and not self._lostTLSConnection:
            # One record, of data: it gives all that there is, and no answer is due.
            try:
                plain = connection.recv(_READ_BYTES)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                pass  # something else in the clothes of data, as all of TLS 1.3 is
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
                return
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(plain)
                return
        self._take()
        if self._tlsConnection is not None:
            self._flushSendBIO()

    def _go_on_shaking_hands(self) -> None:
        self._checkHandshakeStatus()
        if self._handshakeDone:
            self._take()
            connection = self._tlsConnection
            if connection is not None and _is_waited_for(connection):
                self._flushSendBIO()

    def _take(self) -> None:
        """Give the protocol what was received, and notice the end of the session."""
        while not self._lostTLSConnection:
            try:
                plain = self._tlsConnection.recv(_READ_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(plain)

    def write(self, data: bytes) -> None:
        if (
            self._handshakeDone
            and len(data) <= _RECORD_BYTES
            and not (self.disconnecting or self._lostTLSConnection or self._appSendBuffer)
            and data
        ):
            connection = self._tlsConnection
            try:
                connection.send(data)
            except SSL.Error:
                self._tlsShutdownFinished(Failure())
            else:
                transport: Any = self.transport
                transport.write(connection.bio_read(_READ_BYTES))
        else:
            super().write(data)


def _is_waited_for(connection: SSL.Connection) -> bool:
    """Whether the client waits for the last words of the handshake, as before TLS 1.3."""
    return connection.get_protocol_version() != SSL.TLS1_3_VERSION
