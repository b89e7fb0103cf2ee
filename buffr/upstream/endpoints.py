"""How a connection to an origin is made: by name or address, directly or through a parent proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from buffr.errors import BuffrError
from buffr.origin import Origin
from buffr.upstream.parent import ParentEndpoint
from buffr.upstream.tls import TLSEndpoint

__all__ = ["NameLookup", "WithLookup", "endpoint_for", "plain_endpoint"]

_FOREVER_S = 86400.0
_STANDS_FOR_THE_NAME = "host.invalid"
"""``NameLookup`` has the real name. Twisted refuses names that are not valid in IDNA 2008."""


def plain_endpoint(
    reactor: Any,
    host: str,
    port: int,
    connect_s: float,
    *,
    judge: Callable[[str], None] | None = None,
) -> IStreamClientEndpoint:
    """TCP to a name or an address within ``connect_s`` seconds; zero means no bound.

    ``judge`` raises a ``BuffrError`` for an address of the name that must not
    be connected to.
    """
    timeout = connect_s or _FOREVER_S
    # A name's endpoint spreads its attempts over time, even with a single address.
    if isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, timeout)
    if isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, timeout)
    return _NameEndpoint(reactor, host, port, timeout, judge)


@implementer(IStreamClientEndpoint)
class _NameEndpoint:
    """Connects to a name's addresses, except those for which ``judge`` raises an error."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        timeout_s: float,
        judge: Callable[[str], None] | None,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self._judge = judge

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        lookup = NameLookup(self._reactor.nameResolver, self._host, self._judge)
        endpoint = HostnameEndpoint(
            WithLookup(self._reactor, lookup), _STANDS_FOR_THE_NAME, self._port, self._timeout_s
        )
        try:
            return await endpoint.connect(factory)
        except DNSLookupError as error:
            if lookup.refusal is not None:
                raise lookup.refusal from error
            raise DNSLookupError(f"no address for {self._host}") from error


def endpoint_for(
    origin: Origin,
    direct: IStreamClientEndpoint,
    *,
    tls: IOpenSSLClientConnectionCreator | None,
    parent: IStreamClientEndpoint | None = None,
    authorization: bytes | None = None,
) -> IStreamClientEndpoint:
    """The endpoint for an origin.

    ``direct`` leads to the origin, and ``parent`` to a proxy in front of it:
    TLS goes through a tunnel of the proxy, plain requests to the proxy itself.
    """
    if tls is None:
        return direct if parent is None else parent
    if parent is not None:
        direct = ParentEndpoint(parent, origin.host, origin.port, authorization)
    return TLSEndpoint(direct, tls)


_Judge = Callable[[str], None]


@implementer(IHostnameResolver)
class NameLookup:
    """Looks up ``name``, whatever name it is asked for.

    So the name reaches the system's resolver as it is written: host names
    may have underscores (``my_service``), hyphens where IDNA 2008 has none
    (``r3---sn-4g5e``), or A-labels that it does not know.

    Addresses for which ``judge`` raises a ``BuffrError`` are left out;
    ``refusal`` is the last such error.
    """

    def __init__(self, resolver: IHostnameResolver, name: str, judge: _Judge | None) -> None:
        self.refusal: BuffrError | None = None
        self._resolver = resolver
        self._name = name
        self._judge = judge

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803, ARG002
        portNumber: int = 0,  # noqa: N803
        addressTypes: Sequence[type[IAddress]] | None = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        receiver = resolutionReceiver
        if self._judge is not None:
            receiver = _Judged(resolutionReceiver, partial(self._allows, self._judge))
        return self._resolver.resolveHostName(
            receiver, self._name, portNumber, addressTypes, transportSemantics
        )

    def _allows(self, judge: _Judge, address: IAddress) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            return True
        try:
            judge(address.host)
        except BuffrError as error:
            self.refusal = error
            return False
        return True


@implementer(IResolutionReceiver)
class _Judged:
    """Passes on the addresses of a look-up that are allowed."""

    def __init__(self, receiver: IResolutionReceiver, allows: Callable[[IAddress], bool]) -> None:
        self._receiver = receiver
        self._allows = allows

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        if self._allows(address):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IReactorPluggableNameResolver)
class WithLookup:
    """A reactor with another name resolver."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self.nameResolver = resolver
        self._reactor = reactor

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        before, self.nameResolver = self.nameResolver, resolver
        return before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)
