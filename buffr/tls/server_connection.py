"""A server's end of TLS, made with less than pyOpenSSL makes for each of its connections.

pyOpenSSL lists each connection, with a weak reference, so that OpenSSL's
callbacks find it. A server's are called back while they shake hands and never
later: a client cannot renegotiate (RFC 8446 4.1.2; OpenSSL refuses it in TLS
1.2). So a connection is listed for as long as a step of the handshake takes.

This touches private names of pyOpenSSL's. If one is missing, a connection is
made and listed as pyOpenSSL does it.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from weakref import WeakValueDictionary, ref

from OpenSSL import SSL

from buffr.tls.handshake import HandshakeConnection, said_goodbye

__all__ = ["ServerConnection"]

_SET_AT_FIRST = {
    "_alpn_select_callback_args",
    "_app_data",
    "_context",
    "_cookie_generate_helper",
    "_cookie_verify_helper",
    "_from_ssl",
    "_into_ssl",
    "_socket",
    "_ssl",
    "_verify_callback",
    "_verify_helper",
}
"""What pyOpenSSL gives each connection. With more, or less, it is not what is known here."""
_OF_OPENSSL = (
    "BIO_new",
    "BIO_s_mem",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_new",
    "SSL_set_bio",
    "SSL_set_mode",
)

_lib: Any = getattr(SSL, "_lib", None)
_ffi: Any = getattr(SSL, "_ffi", None)
_listed: Any = getattr(getattr(SSL.Connection, "_reverse_mapping", None), "data", None)
"""By OpenSSL's pointer: something that returns the connection when it is called."""


@cache
def _is_known() -> bool:
    """Whether pyOpenSSL has all that is used here, and nothing else that would be missed."""
    if _lib is None or _ffi is None or _listed is None:
        return False
    probe = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    return (
        isinstance(SSL.Connection._reverse_mapping, WeakValueDictionary)  # noqa: SLF001
        and vars(probe).keys() == _SET_AT_FIRST
        and all(hasattr(_lib, name) for name in _OF_OPENSSL)
    )


class ServerConnection(HandshakeConnection):
    """For contexts without callbacks other than for names and protocols in the hello."""

    is_refused = False
    """Whether there is no certificate for what the client asked for."""

    _alpn_select_callback_args: Any = None
    _app_data: Any = None
    _cookie_generate_helper: Any = None
    _cookie_verify_helper: Any = None
    _socket: Any = None
    _verify_callback: Any = None
    _verify_helper: Any = None

    def __init__(self, context: Any) -> None:
        self._is_listed = not _is_known()
        """Whether pyOpenSSL itself has listed this connection."""
        if self._is_listed:
            super().__init__(context, None)
            return
        self._context = context
        context._used = True  # noqa: SLF001
        self._ssl: Any = _ffi.gc(_lib.SSL_new(context._context), _lib.SSL_free)  # noqa: SLF001
        self._into_ssl: Any = _lib.BIO_new(_lib.BIO_s_mem())
        self._from_ssl: Any = _lib.BIO_new(_lib.BIO_s_mem())
        _lib.SSL_set_mode(self._ssl, _lib.SSL_MODE_AUTO_RETRY)
        _lib.SSL_set_bio(self._ssl, self._into_ssl, self._from_ssl)

    def shake_hands(self) -> int:
        """Go on with the handshake. The result is ``SSL_do_handshake``'s."""
        ssl = self._ssl
        if self._is_listed:
            return int(_lib.SSL_do_handshake(ssl))
        _listed[ssl] = ref(self)
        try:
            return _lib.SSL_do_handshake(ssl)  # type: ignore[no-any-return]
        finally:
            del _listed[ssl]

    def do_handshake(self) -> None:
        result = self.shake_hands()
        try:
            self._raise_ssl_error(self._ssl, result)
        except SSL.ZeroReturnError:
            raise said_goodbye() from None
