"""TLS towards clients: on intercepted connections, and on buffr's own ports.

One ``LeafContexts`` holds a context for each requested name, and one
``ServerTLS`` belongs to each intercepted connection. The certificate is for
the name in the hello (RFC 6066 3), otherwise for the name in the CONNECT. An
own port has one certificate: a leaf of the authority, or a pair of files.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from buffr.errors import BuffrError, ConfigError
from buffr.tls.authority import Authority
from buffr.tls.handshake import HTTP_1, HTTP_2
from buffr.tls.pair import PairKey, check_times, read_pair
from buffr.tls.server_connection import ServerConnection
from buffr.tls.server_name import BadServerName, server_name

__all__ = ["LeafContexts", "ServerTLS", "files_tls", "names_tls", "own_names", "server_context"]

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secret and authenticated (RFC 9325 4.2)."""
_CIPHERS_1_3 = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
"""The first that the client has is used: it makes the cheapest handshakes."""
_NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: otherwise OpenSSL looks for a chain in each handshake where none is
given. pyOpenSSL has no name for it."""
_SESSION_CONTEXT = b"buffr"
_RENEWED_AFTER = timedelta(days=30)


def _plain_context() -> SSL.Context:
    """TLS 1.2 and 1.3 without a certificate, so that it fails unless it is replaced.

    Sessions are resumed by tickets (RFC 5077, RFC 8446 2.2), which the client
    keeps; nothing is kept here.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _NO_AUTO_CHAIN)
    context.set_cipher_list(_CIPHERS)
    if hasattr(context, "set_tls13_ciphersuites"):  # pyOpenSSL has it since 25.2
        context.set_tls13_ciphersuites(_CIPHERS_1_3)
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(_SESSION_CONTEXT)
    context.set_alpn_select_callback(_choose_protocol)
    return context


def server_context(
    certificate: x509.Certificate, key: PairKey, chain: Sequence[x509.Certificate] = ()
) -> SSL.Context:
    """A context that serves this certificate, with the connection's choice of protocols.

    It can be used from the start, or replace the context of a connection that
    began with another one; ALPN is then taken from here (RFC 7301).
    """
    context = _plain_context()
    serving: Any = context  # separate stubs know pyOpenSSL's own X509 and PKey only
    serving.use_certificate(certificate)
    serving.use_privatekey(key)
    for one in chain:
        serving.add_extra_chain_cert(one)
    return context


def _choose_protocol(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """The first that both speak, otherwise the alert no_application_protocol (RFC 7301 3.2).

    It is not called for a client without ALPN, which gets HTTP/1.1.
    """
    assert isinstance(connection, ServerConnection)
    for protocol in connection.protocols:
        if protocol in offered:
            return protocol
    names = b", ".join(offered).decode("ascii", "backslashreplace")
    raise SSL.Error([("buffr", "ALPN", f"the client offers {names}, and not http/1.1")])


@frozen
class _Minted:
    context: SSL.Context
    at: datetime
    until: datetime


class LeafContexts:
    """A context for each name, minted on first use.

    At most ``bound`` are kept, at 22 KB each; the least recently used one is
    evicted first. ``now`` returns the time with its zone. ``minted`` counts
    leaves, ``asked`` the handshakes that asked for one. Use it from one thread;
    as nothing waits in between, a name that many ask for at once is minted once.
    """

    def __init__(
        self, authority: Authority, now: Callable[[], datetime], *, bound: int = 1024
    ) -> None:
        self.minted = 0
        self.asked = 0
        self.opening = _plain_context()
        self.opening.set_tlsext_servername_callback(_choose_context)
        self._authority = authority
        self._now = now
        self._bound = bound
        self._kept: OrderedDict[tuple[str, ...], _Minted] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, *names: str) -> SSL.Context:
        """The context with one leaf for these names, each as returned by ``server_name``.

        A leaf is renewed after 30 days, and if the clock has been set back.
        Raises ``ConfigError`` if the authority has expired meanwhile.
        """
        self.asked += 1
        now = self._now()
        kept = self._kept.get(names)
        if kept is not None and kept.at <= now < kept.until:
            self._kept.move_to_end(names)
            return kept.context
        context = self._mint(names, now)
        self._kept[names] = _Minted(context, now, now + _RENEWED_AFTER)
        self._kept.move_to_end(names)
        if len(self._kept) > self._bound:
            self._kept.popitem(last=False)
        return context

    def _mint(self, names: tuple[str, ...], now: datetime) -> SSL.Context:
        leaf = self._authority.leaf(names, now)
        self.minted += 1
        return server_context(leaf, self._authority.issuer.leaf_key, self._authority.chain)

    def serving(self, host: str, *, http2: bool = False) -> ServerTLS:
        """TLS towards one client that asked for a tunnel to this host. Raises ``BadServerName``."""
        return ServerTLS(self, server_name(host.encode("ascii")), http2=http2)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """TLS towards one client, for ``TLSMemoryBIOFactory``.

    ``fallback_name`` is for a client that sends no server name, as for an IP
    address: the host of its CONNECT, as returned by ``server_name``. ``http2``
    offers HTTP/2 beside HTTP/1.1.

    After the hello, ``name`` is the name in the client's certificate. If there
    is none, the handshake fails, nothing is minted, and ``refusal`` says why.
    """

    def __init__(self, contexts: LeafContexts, fallback_name: str, *, http2: bool = False) -> None:
        self.name: str | None = None
        self.refusal: BuffrError | None = None
        self._contexts = contexts
        self._fallback_name = fallback_name
        self.protocols = HTTP_2 if http2 else HTTP_1

    def serverConnectionForTLS(
        self,
        protocol: TLSMemoryBIOProtocol,  # noqa: ARG002
    ) -> SSL.Connection:
        return _Opening(self._contexts.opening, self)

    def context_for(self, asked: bytes | None) -> SSL.Context | None:
        """The context for the name in a hello, or ``None`` to refuse it."""
        try:
            name = self._fallback_name if asked is None else server_name(asked)
            context = self._contexts.of(name)
        except BuffrError as error:
            self.refusal = error
            return None
        self.name = name
        return context


class _Opening(ServerConnection):
    """A connection that knows its ``ServerTLS``; Twisted uses its app data."""

    def __init__(self, context: SSL.Context, serving: ServerTLS) -> None:
        super().__init__(context)
        self.serving = serving
        self.protocols = serving.protocols

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises ``SSL.Error`` if the name is refused.

        OpenSSL fails too, as it has no certificate, but not if the client
        resumes a session, which needs none (RFC 8446 2.2).
        """
        try:
            super().do_handshake()
        finally:
            refusal = self.serving.refusal
            if refusal is not None:
                raise SSL.Error([("buffr", "SNI", refusal.message)])


def _choose_context(connection: SSL.Connection) -> None:
    """OpenSSL's callback for each hello, with or without a name.

    A connection that keeps its first context has no certificate, and fails
    with the alert handshake_failure (RFC 8446 6.2). A TLS 1.2 client that
    resumes a session is served under the name of that session.
    """
    assert isinstance(connection, _Opening)
    context = connection.serving.context_for(connection.get_servername())
    if context is None:
        connection.is_refused = True
    else:
        connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _PortTLS:
    """TLS with the same context for all names."""

    context: Callable[[], SSL.Context]
    http2: bool

    def serverConnectionForTLS(
        self,
        protocol: TLSMemoryBIOProtocol,  # noqa: ARG002
    ) -> SSL.Connection:
        connection = ServerConnection(self.context())
        if self.http2:
            connection.protocols = HTTP_2
        return connection


def names_tls(
    contexts: LeafContexts, names: Sequence[str], *, http2: bool = False
) -> IOpenSSLServerConnectionCreator:
    """TLS with one leaf of the authority for all these host names and IP addresses.

    Raises ``ConfigError`` for a name that is not valid in a certificate.
    """
    if not names:
        raise ConfigError("tls_names: is empty", hint="list the names that clients connect to")
    safe = tuple(dict.fromkeys(_safe(name) for name in names))
    contexts.of(*safe)
    return _PortTLS(lambda: contexts.of(*safe), http2)


def files_tls(
    cert_path: Path, key_path: Path, now: datetime, *, http2: bool = False
) -> IOpenSSLServerConnectionCreator:
    """TLS with the certificate in a PEM file, the chain after it, and its key.

    Raises ``ConfigError`` like ``read_pair``, and for a certificate that has
    expired or is not valid yet.
    """
    pair = read_pair("TLS", cert_path, key_path)
    what = f"TLS certificate {cert_path}"
    check_times(what, pair.certificate, now, hint="give one that is valid")
    try:
        context = server_context(pair.certificate, pair.key, pair.others)
    except SSL.Error as error:
        raise ConfigError(f"{what} cannot be served: {_reasons(error)}") from error
    return _PortTLS(lambda: context, http2)


def own_names(machine: str | None = None) -> tuple[str, ...]:
    """The names that clients on this machine and its network use for it."""
    names = ["localhost", "127.0.0.1", "::1"]
    with suppress(BadServerName, UnicodeEncodeError):
        names.append(server_name((machine or socket.gethostname()).encode("ascii")))
    return tuple(dict.fromkeys(names))


def _safe(name: str) -> str:
    try:
        return server_name(name.encode("utf-8", "surrogateescape"))
    except BadServerName as error:
        raise ConfigError(f"tls_names: {error.message}") from error


def _reasons(error: SSL.Error) -> str:
    """OpenSSL's reasons: its errors are lists of (library, function, reason)."""
    return ", ".join(reason for queue in error.args for (_, _, reason) in queue)
