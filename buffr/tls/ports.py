"""TLS on buffr's own ports: a leaf of its authority, or a pair of files."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from buffr.errors import ConfigError
from buffr.tls.contexts import LeafContexts, server_context
from buffr.tls.handshake import HandshakeConnection
from buffr.tls.pair import check_times, read_pair
from buffr.tls.server_name import BadServerName, server_name

__all__ = ["files_tls", "names_tls", "own_names"]


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _PortTLS:
    """TLS with one context, whatever name a client asks for."""

    context: Callable[[], SSL.Context]

    def serverConnectionForTLS(
        self,
        protocol: TLSMemoryBIOProtocol,  # noqa: ARG002
    ) -> SSL.Connection:
        return HandshakeConnection(self.context(), None)


def names_tls(contexts: LeafContexts, names: Sequence[str]) -> IOpenSSLServerConnectionCreator:
    """TLS with one leaf of the authority for all these names: host names and IP addresses.

    Raises ``ConfigError`` for a name that no certificate is made for.
    """
    if not names:
        raise ConfigError("tls_names: there is none", hint="name what clients connect to")
    safe = tuple(dict.fromkeys(_safe(name) for name in names))
    contexts.of(*safe)
    return _PortTLS(lambda: contexts.of(*safe))


def files_tls(cert_path: Path, key_path: Path, now: datetime) -> IOpenSSLServerConnectionCreator:
    """TLS with the certificate in a PEM file, the chain behind it, and its key.

    Raises ``ConfigError`` as ``read_pair`` does, and for a certificate that
    has expired or does not hold yet.
    """
    pair = read_pair("TLS", cert_path, key_path)
    what = f"TLS certificate {cert_path}"
    check_times(what, pair.certificate, now, hint="give one that is valid")
    try:
        context = server_context(pair.certificate, pair.key, pair.others)
    except SSL.Error as error:
        raise ConfigError(f"{what} cannot be served: {_reasons(error)}") from error
    return _PortTLS(lambda: context)


def own_names(machine: str | None = None) -> tuple[str, ...]:
    """What clients on this machine and beside it call it: by default with its own name."""
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
    """What OpenSSL says: its errors are lists of (library, function, reason)."""
    return ", ".join(reason for queue in error.args for (_, _, reason) in queue)
