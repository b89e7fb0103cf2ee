"""Why a connection failed, in a message for users."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import error

from buffr.errors import BuffrError

__all__ = ["reason_of"]


def reason_of(value: BaseException | None) -> str | None:
    """Why a connection ended or could not be made; ``None`` for an orderly close."""
    match value:
        case error.ConnectionDone():
            return None
        case BuffrError():
            return str(value)
        case error.DNSLookupError():
            return "DNS: the upstream's name does not resolve"
        case error.ConnectionRefusedError():
            return "the upstream refused the connection"
        case error.TimeoutError() | error.TCPTimedOutError():
            return "time-out while connecting to the upstream"
        case error.NoRouteError():
            return "no route to the upstream"
        case error.ConnectionLost():
            return "the upstream dropped the connection"
        case SSL.Error():
            return f"TLS: {_openssl_words(value)}"
        case error.ConnectError() if value.osError is not None:
            return f"connecting to the upstream failed: {value.osError}"
    return f"the connection to the upstream failed: {value}"


def _openssl_words(value: SSL.Error) -> str:
    if isinstance(value, SSL.ZeroReturnError):
        return "the upstream ended the session"
    reasons = value.args[0] if value.args and isinstance(value.args[0], list) else ()
    words = "; ".join(str(entry[-1]) for entry in reasons if entry and entry[-1])
    return words or "the handshake failed"
