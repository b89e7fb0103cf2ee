"""A TLS server on a loopback port, for the clients of ``test_loopback``.

``python loopback_server.py CERT KEY FALLBACK_NAME`` prints its port and
serves until its standard input ends.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet import reactor as installed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, ServerTLS

reactor: Any = installed
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Answer(Protocol):
    """Answers the first bytes that come."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(_ANSWER)
        self.transport.loseConnection()


class UntilEnd(Protocol):
    """Stops the reactor when standard input ends."""

    def connectionLost(self, *_: object) -> None:
        reactor.stop()


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class Tunnels:
    """A ``ServerTLS`` for each connection, as after a CONNECT to one host."""

    contexts: LeafContexts
    fallback_name: str

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return ServerTLS(self.contexts, self.fallback_name).serverConnectionForTLS(protocol)


def main(cert: str, key: str, fallback_name: str) -> None:
    authority = Authority.load_or_create(Path(cert), Path(key), datetime.now(UTC))
    contexts = LeafContexts(authority, lambda: datetime.now(UTC))
    factory = TLSMemoryBIOFactory(
        Tunnels(contexts, fallback_name), False, Factory.forProtocol(Answer), reactor
    )
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    sys.stdout.write(f"{port.getHost().port}\n")
    sys.stdout.flush()
    StandardIO(UntilEnd())
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
