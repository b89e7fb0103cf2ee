"""How the connection to an origin is made: by its name or a fixed address, directly or not."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

from buffr.upstream.origin import Origin
from buffr.upstream.parent import ParentEndpoint

__all__ = ["endpoint_for", "plain_endpoint"]

_FOREVER_S = 86400.0


def plain_endpoint(reactor: Any, host: str, port: int, connect_s: float) -> IStreamClientEndpoint:
    """TCP to a name or an address within ``connect_s`` seconds; zero waits without a bound."""
    timeout = connect_s or _FOREVER_S
    # A name's endpoint spreads its attempts over time, even where there is but one address.
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout)
    return HostnameEndpoint(reactor, host, port, timeout=timeout)


def endpoint_for(
    origin: Origin,
    direct: IStreamClientEndpoint,
    *,
    tls: IOpenSSLClientConnectionCreator | None,
    parent: IStreamClientEndpoint | None = None,
    authorization: bytes | None = None,
) -> IStreamClientEndpoint:
    """The connection to an origin.

    ``direct`` leads to it and ``parent`` to a proxy before it, of which TLS
    asks for a tunnel; plain requests go to the proxy itself.
    """
    if tls is None:
        return direct if parent is None else parent
    if parent is not None:
        direct = ParentEndpoint(parent, origin.host, origin.port, authorization)
    return wrapClientTLS(tls, direct)
