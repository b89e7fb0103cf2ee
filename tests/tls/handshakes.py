"""TLS handshakes in memory: a client of the ssl module against what buffr serves with."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from buffr.tls.authority import Authority
from buffr.tls.thin import server_tls

NOW = datetime.now(UTC)


def new_authority(directory: Path, now: datetime = NOW) -> Authority:
    return Authority.load_or_create(directory / "buffr-ca.pem", directory / "buffr-ca.key", now)


def trusting(
    authority: Authority,
    *,
    version: ssl.TLSVersion | None = None,
    offering: list[str] | None = None,
) -> ssl.SSLContext:
    """A client's context that trusts the authority and verifies names."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if offering is not None:
        context.set_alpn_protocols(offering)
    return context


class Echo(Protocol):
    """Sends back what comes, and remembers why it ended."""

    lost: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class Handshake:
    """One connection between an ssl client and a server, step by step.

    ``stock``: over Twisted's own TLS. ``first_flight`` is the client's hello,
    which a test may change before ``finish`` hands it over.
    """

    def __init__(
        self,
        creator: IOpenSSLServerConnectionCreator,
        client: ssl.SSLContext,
        host: str | None,
        session: ssl.SSLSession | None = None,
        *,
        stock: bool = False,
    ) -> None:
        self._to_client = ssl.MemoryBIO()
        self._to_server = ssl.MemoryBIO()
        self.client = client.wrap_bio(
            self._to_client, self._to_server, server_hostname=host, session=session
        )
        self.echo = Echo()
        self._clock = Clock()
        if stock:
            factory = TLSMemoryBIOFactory(creator, False, _always(self.echo), self._clock)
            # The default gathers small writes for a turn.
            factory.protocol = TLSMemoryBIOProtocol
            self.server: Protocol = factory.buildProtocol(None)
        else:
            self.server = server_tls(self.echo, creator, self._clock)
        self.transport = StringTransport()
        self.server.makeConnection(self.transport)
        self.alert = b""
        self._step()
        self.first_flight = self._to_server.read()

    def finish(self) -> Handshake:
        """Complete the handshake. Raises ``ssl.SSLError`` where the client does not get through."""
        self.server.dataReceived(self.first_flight)
        while True:
            self._client_reads()
            try:
                done = self._step()
            finally:
                self._server_reads()
            if done:
                return self
            assert self.transport.value(), "both sides wait"

    def say(self, data: bytes) -> bytes:
        """Send data, and read what comes back; TLS 1.3 tickets come with it."""
        self.client.write(data)
        self._server_reads()
        self._clock.advance(0)
        self._client_reads()
        return self.client.read(len(data))

    def connection(self) -> SSL.Connection:
        assert isinstance(self.server, TLSMemoryBIOProtocol)
        handle = self.server.getHandle()
        assert isinstance(handle, SSL.Connection)
        return handle

    def _step(self) -> bool:
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _client_reads(self) -> None:
        self._to_client.write(self.transport.value())
        self.transport.clear()

    def _server_reads(self) -> None:
        data = self._to_server.read()
        if data:
            self.server.dataReceived(data)


def _always(protocol: Protocol) -> Factory:
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]
    return factory


def certificate_of(handshake: Handshake) -> bytes:
    certificate = handshake.client.getpeercert(binary_form=True)
    assert certificate is not None
    return certificate
