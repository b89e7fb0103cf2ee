"""TLS on a client's connection, with little between the socket and the protocol inside.

Twisted's ``TLSMemoryBIOProtocol`` learns by an exception that OpenSSL has
nothing more to give, and by another one that it has nothing more to send.
pyOpenSSL makes a buffer for each record, and looks for an error after each
call. Here OpenSSL is called itself, and what it returns is the answer. All
else, as errors, back-pressure and the ways in which a connection ends, is
Twisted's.

This touches private names of Twisted's and of pyOpenSSL's. If one is missing,
``server_tls`` gives Twisted's own protocol.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.tls.server_connection import ServerConnection

__all__ = ["ThinTLS", "close_at_once", "server_tls"]

_OF_TWISTED = (
    "_bufferedWrite",
    "_checkHandshakeStatus",
    "_flushSendBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_aborted",
    "_reason",
    "_shutdownTLS",
    "_tlsShutdownFinished",
    "_unbufferPendingWrites",
    "_write",
)
_OF_PYOPENSSL = ("_ssl", "_into_ssl", "_from_ssl", "_raise_ssl_error")
_OF_OPENSSL = (
    "BIO_read",
    "BIO_write",
    "SSL_ERROR_WANT_READ",
    "SSL_do_handshake",
    "SSL_get_error",
    "SSL_read",
    "SSL_set_accept_state",
    "SSL_version",
    "SSL_write",
    "TLS1_3_VERSION",
)
_RECORD_BYTES = 1 << 14
"""The longest plain text of a record (RFC 8446 5.1)."""
_ROOM_BYTES = 1 << 15

_LOST = Failure(CONNECTION_LOST)

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
_room: Any = b"" if _ffi is None else _ffi.new("char[]", _ROOM_BYTES)
"""Where OpenSSL puts what it gives, before it is copied. The reactor's thread alone uses it."""
_in_room: Any = b"" if _ffi is None else _ffi.buffer(_room)


@cache
def _is_thin() -> bool:
    """Whether all is there that ``ThinTLS`` uses."""
    if _lib is None or _ffi is None:
        return False
    probe = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    return (
        all(hasattr(TLSMemoryBIOProtocol, name) for name in _OF_TWISTED)
        and all(hasattr(probe, name) for name in _OF_PYOPENSSL)
        and all(hasattr(_lib, name) for name in _OF_OPENSSL)
    )


def server_tls(
    inner: Protocol, creator: IOpenSSLServerConnectionCreator, reactor: IReactorTime
) -> TLSMemoryBIOProtocol:
    """The server's side of TLS around a protocol."""
    if _is_thin():
        return ThinTLS(inner, creator)
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


@implementer(ISSLTransport)
class ThinTLS(TLSMemoryBIOProtocol):
    """The server's side of TLS around ``inner``.

    In TLS 1.3 the tickets for later sessions, which nobody waits for, go out
    together with the first answer.
    """

    def __init__(self, inner: Protocol, creator: IOpenSSLServerConnectionCreator) -> None:
        self.wrappedProtocol: Any = inner
        self._creator = creator
        self._appSendBuffer: list[bytes] = []

    def makeConnection(self, transport: Any) -> None:
        connection: Any = self._creator.serverConnectionForTLS(self)
        _lib.SSL_set_accept_state(connection._ssl)  # noqa: SLF001
        self._tlsConnection = connection
        self._ssl, self._into, self._from = (
            connection._ssl,  # noqa: SLF001
            connection._into_ssl,  # noqa: SLF001
            connection._from_ssl,  # noqa: SLF001
        )
        self.connected = 1
        self.transport = transport
        self.is_prepared = getattr(transport, "is_prepared", False)  # or ``delay_nothing`` asks it
        self.wrappedProtocol.makeConnection(self)
        # The handshake begins with the client's hello: OpenSSL would only say that it wants it.

    def dataReceived(self, data: bytes) -> None:
        _lib.BIO_write(self._into, data, len(data))
        if not self._handshakeDone:
            self._go_on_shaking_hands()
            return
        if self._appSendBuffer:
            self._unbufferPendingWrites()
        self._take()
        self._flushSendBIO()

    def _go_on_shaking_hands(self) -> None:
        if self._aborted:
            return
        ssl, connection = self._ssl, self._tlsConnection
        if isinstance(connection, ServerConnection):
            result, refused = connection.shake_hands(), connection.is_refused
        else:
            result, refused = _lib.SSL_do_handshake(ssl), False
        if result > 0 and not refused:
            self._handshakeDone = True
            inner = self.wrappedProtocol
            if IHandshakeListener.providedBy(inner):
                inner.handshakeCompleted()
        elif not refused and _lib.SSL_get_error(ssl, result) == _lib.SSL_ERROR_WANT_READ:
            self._flushSendBIO()
            return
        else:
            self._checkHandshakeStatus()  # asked again, OpenSSL says the same
        if self._handshakeDone:
            self._take()
            if _lib.SSL_version(ssl) != _lib.TLS1_3_VERSION:
                # Before TLS 1.3 the client waits for the last words of the handshake.
                self._flushSendBIO()

    def _take(self) -> None:
        """Give the protocol what was received, and notice the end of the session."""
        ssl = self._ssl
        while not self._lostTLSConnection:
            count = _lib.SSL_read(ssl, _room, _ROOM_BYTES)
            if count > 0:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(_in_room[:count])
            elif _lib.SSL_get_error(ssl, count) == _lib.SSL_ERROR_WANT_READ:
                return
            else:
                self._over(count)

    def _over(self, result: int) -> None:
        """End after a result of OpenSSL's that is neither data nor a wish for more."""
        try:
            self._tlsConnection._raise_ssl_error(self._ssl, result)  # noqa: SLF001
        except SSL.ZeroReturnError:
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        except SSL.Error:
            self._tlsShutdownFinished(Failure())

    def _write(self, data: bytes) -> None:
        ssl, done = self._ssl, 0
        while done < len(data) and not self._lostTLSConnection:
            record = data if len(data) <= _RECORD_BYTES else data[done : done + _RECORD_BYTES]
            count = _lib.SSL_write(ssl, record, len(record))
            if count > 0:
                done += count
                self._flushSendBIO()
            elif _lib.SSL_get_error(ssl, count) == _lib.SSL_ERROR_WANT_READ:
                self._bufferedWrite(data[done:])
                return
            else:
                self._over(count)

    def _flushSendBIO(self) -> None:
        count = _lib.BIO_read(self._from, _room, _ROOM_BYTES)
        if count > 0:
            transport: Any = self.transport
            transport.write(_in_room[:count])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._lostTLSConnection:
            # The client closed without a close_notify, so there may have been more to come
            # (RFC 8446 6.1). All that has come was taken.
            self._lostTLSConnection = True
            self._reason = self._reason or _LOST
        why, self._reason = self._reason or reason, None
        self.connected = 0
        self.wrappedProtocol.connectionLost(why)
        # What referred to this session by way of the protocol inside would keep it, which is
        # large, until garbage is collected.
        nothing: Any = None
        self.wrappedProtocol = self._tlsConnection = self._producer = nothing
