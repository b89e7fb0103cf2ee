"""A TLS connection whose handshake errors have a message."""

from __future__ import annotations

from OpenSSL import SSL

__all__ = ["HandshakeConnection", "HandshakeLeft"]


class HandshakeLeft(SSL.Error):
    """The peer closed the session during the handshake."""


class HandshakeConnection(SSL.Connection):
    """Like pyOpenSSL's, but raises ``HandshakeLeft`` if the peer leaves during the handshake.

    pyOpenSSL raises ``ZeroReturnError`` for a close_notify (RFC 8446 6.1). It
    has no arguments, and Twisted looks for the first one.
    """

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises ``SSL.Error``, ``HandshakeLeft``."""
        try:
            super().do_handshake()
        except SSL.ZeroReturnError:
            reason = "the peer closed the session during the handshake"
            raise HandshakeLeft([("buffr", "handshake", reason)]) from None
