"""The certificates of upstreams that buffr trusts."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.errors import ConfigError, UpstreamFailed
from buffr.tls.handshake import HandshakeConnection

__all__ = ["ClientContexts", "Trust"]

_HTTP1 = (b"http/1.1",)
_HTTP2 = (b"h2", b"http/1.1")

_FAULTS = {
    9: "is not valid yet",
    10: "has expired",
    18: "is self-signed",
    19: "comes from an authority that is not trusted (a self-signed one in its chain)",
    20: "comes from an authority that is not trusted",
    21: "cannot be verified: the chain that was sent is not complete",
    23: "was revoked",
}
"""OpenSSL's verification errors (X509_V_ERR) that users meet."""


class _SystemAndFile(ssl.OpenSSLDefaultPaths):
    """The system's roots, and those of a PEM file."""

    def __init__(self, ca_file: Path) -> None:
        self._ca_file = ca_file

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        super()._addCACertsToContext(context)
        context.load_verify_locations(str(self._ca_file))


@frozen
class Trust:
    """What decides about TLS towards an upstream, apart from its name. Files are PEM.

    ``ca_file`` adds to the system's roots. Without ``verify``, every
    certificate is accepted. ``client_cert`` and ``client_key`` are what buffr
    presents, or both are ``None``.
    """

    ca_file: Path | None = None
    verify: bool = True
    client_cert: Path | None = None
    client_key: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it is made of."""
        files = (self.ca_file if self.verify else None, self.client_cert, self.client_key)
        return tuple(path for path in files if path is not None)


class ClientContexts:
    """TLS towards upstreams: one context for all with the same trust.

    A context holds the system's roots, which take about 10 ms and 900 KB to
    load. So it is made once for any number of names. A replaced file applies
    to upstreams made afterwards; the system's roots are those at first use.
    ``made`` counts contexts.
    """

    def __init__(self) -> None:
        self.made = 0
        self._kept: dict[Trust, tuple[_Stamps, SSL.Context]] = {}

    def tls(
        self, name: str, trust: Trust, *, http2: bool = False
    ) -> IOpenSSLClientConnectionCreator:
        """TLS towards a name, for which the certificate is verified (RFC 9525).

        ``http2`` offers HTTP/2 beside HTTP/1.1. Raises ``ConfigError`` for a file that cannot
        be used.
        """
        return _ClientTLS(name, self._context(trust), verify=trust.verify, http2=http2)

    def _context(self, trust: Trust) -> SSL.Context:
        kept, stamps = self._kept.get(trust), _stamps(trust.files)
        if kept is not None and kept[0] == stamps:
            return kept[1]
        context = _context(trust)
        self.made += 1
        self._kept[trust] = stamps, context
        return context


_Stamps = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and time of change of each file."""


def _stamps(files: tuple[Path, ...]) -> _Stamps:
    return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@implementer(IOpenSSLClientConnectionCreator)
class _ClientTLS:
    """TLS towards a name, for which the certificate is verified unless ``verify`` is off."""

    def __init__(self, name: str, context: SSL.Context, *, verify: bool, http2: bool) -> None:
        self._context = context
        self._verify = verify
        self._protocols = list(_HTTP2 if http2 else _HTTP1)
        if isIPAddress(name) or isIPv6Address(name):
            self._identity: DNS_ID | IPAddress_ID = IPAddress_ID(name)
            self._server_name = None
        else:
            self._identity = DNS_ID(name)
            self._server_name = name.encode("ascii")

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = HandshakeConnection(self._context, None)
        connection.set_alpn_protos(self._protocols)
        if self._server_name is not None:  # an address is never sent (RFC 6066 3)
            connection.set_tlsext_host_name(self._server_name)
        if self._verify:
            verification = _Verification(self._identity, protocol)
            connection.set_verify(
                SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verification.judge
            )
        return connection


class _Verification:
    """Verifies the certificates of one handshake, and reports what is wrong with them."""

    def __init__(self, identity: DNS_ID | IPAddress_ID, protocol: TLSMemoryBIOProtocol) -> None:
        self._identity = identity
        self._protocol: TLSMemoryBIOProtocol | None = protocol

    def judge(
        self, _: SSL.Connection, certificate: crypto.X509, fault: int, depth: int, ok: int
    ) -> bool:
        """OpenSSL's callback for each certificate of the chain, the leaf's being the last."""
        if not ok:
            words = _FAULTS.get(fault, f"cannot be verified (OpenSSL's error {fault})")
            self._fail(f"TLS: the upstream's certificate {words}")
            return False
        if depth:
            return True
        try:
            verify_service_identity(extract_patterns(certificate), [self._identity], [])
        except (VerificationError, ValueError):
            self._fail("TLS: the upstream's certificate is not for this host name")
            return False
        self._protocol = None
        return True

    def _fail(self, words: str) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            hint = "ca_file adds a trusted authority"
            protocol.failVerification(Failure(UpstreamFailed(words, hint=hint)))


def _context(trust: Trust) -> SSL.Context:
    """Raises ``ConfigError`` for a file that cannot be used."""
    own, roots = None, None
    if trust.client_cert is not None and trust.client_key is not None:
        own = _own_certificate(trust.client_cert, trust.client_key)
    if trust.verify and trust.ca_file is not None:
        _check(trust.ca_file)
        roots = _SystemAndFile(trust.ca_file)
    elif trust.verify:
        roots = ssl.platformTrust()
    return ssl.CertificateOptions(
        privateKey=None if own is None else own.privateKey.original,
        certificate=None if own is None else own.original,
        trustRoot=roots,
    ).getContext()


def _own_certificate(cert: Path, key: Path) -> ssl.PrivateCertificate:
    try:
        pem = key.read_bytes() + b"\n" + cert.read_bytes()
        own: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(pem)
        own.options().getContext().check_privatekey()
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except (SSL.Error, crypto.Error, VerifyError, ValueError) as error:
        raise ConfigError(
            f"client_cert {cert}, client_key {key}: not a certificate and its key",
            hint="give two PEM files that belong together, the key without a password",
        ) from error
    return own


def _check(ca_file: Path) -> None:
    """Trust roots are read at the first connection; report faults at the start."""
    try:
        SSL.Context(SSL.TLS_CLIENT_METHOD).load_verify_locations(str(ca_file))
    except SSL.Error as error:
        raise ConfigError(
            f"ca_file {ca_file}: no certificates can be read from it",
            hint="give a readable PEM file",
        ) from error
