"""A peer that ends the session within its handshake: buffr says so, on either leg."""

from __future__ import annotations

import ssl

import pytest
from handshakes import NOW, Echo, Handshake, new_authority
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from buffr.tls.contexts import LeafContexts, ServerTLS, names_tls
from buffr.tls.trust import ClientContexts, Trust
from buffr.upstream.failures import reason_of

CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"
SENTENCE = "TLS: the peer closed the session during the handshake"


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> LeafContexts:
    return LeafContexts(new_authority(tmp_path_factory.mktemp("ca")), lambda: NOW)


class TestCloseNotify:
    @pytest.mark.parametrize("kind", ["intercepted", "port"])
    def test_by_a_client(self, contexts: LeafContexts, kind: str) -> None:
        """In a tunnel, and on a port with TLS of its own."""
        tls: IOpenSSLServerConnectionCreator = ServerTLS(contexts, "localhost")
        if kind == "port":
            tls = names_tls(contexts, ["localhost"])
        shake = Handshake(tls, ssl.create_default_context(), "localhost")
        shake.server.dataReceived(shake.first_flight + CLOSE_NOTIFY)
        assert shake.transport.disconnecting
        self._is_told(shake.server, shake.echo)

    def test_by_an_upstream(self) -> None:
        creator: IOpenSSLClientConnectionCreator = ClientContexts().tls("localhost", Trust())
        echo = Echo()
        factory = TLSMemoryBIOFactory(creator, True, Factory.forProtocol(lambda: echo), Clock())
        client = factory.buildProtocol(None)
        client.makeConnection(StringTransport())
        client.dataReceived(CLOSE_NOTIFY)
        self._is_told(client, echo)

    @staticmethod
    def _is_told(wrapper: Protocol, echo: Echo) -> None:
        wrapper.connectionLost(connectionDone)
        assert echo.lost is not None
        assert isinstance(echo.lost.value, SSL.Error)
        assert reason_of(echo.lost.value) == SENTENCE
