"""Which certificates of upstreams buffr trusts."""

from __future__ import annotations

from pathlib import Path

from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from buffr.errors import ConfigError

__all__ = ["client_tls"]

_ALPN = [b"http/1.1"]


class _SystemAndFile(ssl.OpenSSLDefaultPaths):
    """The system's roots, and those of a PEM file beside them."""

    def __init__(self, ca_file: Path) -> None:
        self._ca_file = ca_file

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        super()._addCACertsToContext(context)
        context.load_verify_locations(str(self._ca_file))


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS towards whoever answers, for a host that the settings name."""

    def __init__(self, host: str) -> None:
        self._context = ssl.CertificateOptions(verify=False, acceptableProtocols=_ALPN).getContext()
        named = not (isIPAddress(host) or isIPv6Address(host))
        self._server_name = host.encode("idna") if named else None

    def clientConnectionForTLS(
        self,
        protocol: TLSMemoryBIOProtocol,  # noqa: ARG002
    ) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        return connection


def client_tls(
    host: str, *, ca_file: Path | None = None, verify: bool = True
) -> IOpenSSLClientConnectionCreator:
    """How to open TLS towards a host: its certificate and its name are verified.

    Raises ``ConfigError`` for a ``ca_file`` that holds no certificates.
    """
    if not verify:
        return _Unverified(host)
    root = ssl.platformTrust() if ca_file is None else _SystemAndFile(ca_file)
    creator = ssl.optionsForClientTLS(host, trustRoot=root, acceptableProtocols=_ALPN)
    if ca_file is not None:
        _check(ca_file)
    return creator


def _check(ca_file: Path) -> None:
    """Twisted reads trust roots at the first connection; say what is wrong at the start."""
    try:
        SSL.Context(SSL.TLS_CLIENT_METHOD).load_verify_locations(str(ca_file))
    except SSL.Error as error:
        raise ConfigError(
            f"ca_file {ca_file}: no certificates can be read from it",
            hint="give a readable PEM file",
        ) from error
