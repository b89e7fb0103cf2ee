"""A TLS connection that knows what is spoken in it, and whose handshake errors have a message."""

from __future__ import annotations

from OpenSSL import SSL

__all__ = ["HTTP_1", "HTTP_2", "HandshakeConnection", "HandshakeLeft", "said_goodbye"]

HTTP_1 = (b"http/1.1", b"http/1.0")
HTTP_2 = (b"h2", *HTTP_1)
"""ALPN names of what is served (RFC 7301 6, RFC 9113 3.2), in order of preference."""


class HandshakeLeft(SSL.Error):
    """The peer closed the session during the handshake."""


def said_goodbye() -> HandshakeLeft:
    """The error for a close_notify during the handshake."""
    reason = "the peer closed the session during the handshake"
    return HandshakeLeft([("buffr", "handshake", reason)])


class HandshakeConnection(SSL.Connection):
    """Like pyOpenSSL's, but raises ``HandshakeLeft`` if the peer leaves during the handshake.

    pyOpenSSL raises ``ZeroReturnError`` for a close_notify (RFC 8446 6.1). It
    has no arguments, and Twisted looks for the first one.

    ``protocols`` are those that a server offers to the client's ALPN.
    """

    protocols: tuple[bytes, ...] = HTTP_1

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises ``SSL.Error``, ``HandshakeLeft``."""
        try:
            super().do_handshake()
        except SSL.ZeroReturnError:
            raise said_goodbye() from None
