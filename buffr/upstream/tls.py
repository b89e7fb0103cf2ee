"""TLS towards an upstream, which knows how the connection below it ended."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["TLSEndpoint", "UpstreamTLS"]


class UpstreamTLS(TLSMemoryBIOProtocol):
    """Like Twisted's, which reports the end of TCP and a reset in the same way.

    ``closed_in_order`` says whether TCP ended with a FIN, with or without close_notify.
    """

    closed_in_order = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed_in_order = reason.check(ConnectionDone) is not None
        super().connectionLost(reason)


@implementer(IStreamClientEndpoint)
class TLSEndpoint:
    """Connects through TLS. Each write is a record of its own."""

    def __init__(
        self, plain: IStreamClientEndpoint, creator: IOpenSSLClientConnectionCreator
    ) -> None:
        self._plain = plain
        self._creator = creator

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Connect a protocol, whose transport is an ``UpstreamTLS``. Fails as the endpoint does."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        wrapping = TLSMemoryBIOFactory(self._creator, True, factory)
        wrapping.protocol = UpstreamTLS
        wrapper: Any = await self._plain.connect(wrapping)
        protocol: IProtocol = wrapper.wrappedProtocol
        return protocol
