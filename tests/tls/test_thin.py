"""buffr's TLS layer does what Twisted's own does, with less between socket and protocol."""

from __future__ import annotations

import gc
import ssl
from collections.abc import Callable
from weakref import ref

import pytest
from handshakes import NOW, Handshake, new_authority, trusting
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, ServerTLS
from buffr.tls.thin import ThinTLS, server_tls
from buffr.transport.streams import IStreamTransport

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("ca"))


Make = Callable[..., tuple[Handshake, "Inner"]]


class Inner:
    """What the protocol inside got, and why it ended."""

    def __init__(self, shake: Handshake) -> None:
        self.got: list[bytes] = []
        self.shake = shake
        echo = shake.echo.dataReceived

        def received(data: bytes) -> None:
            self.got.append(data)
            echo(data)

        shake.echo.dataReceived = received  # type: ignore[method-assign]

    def told(self) -> tuple[object, ...]:
        shake = self.shake
        lost = shake.echo.lost
        why = None if lost is None else (lost.type, str(lost.value))
        return b"".join(self.got), why, shake.transport.disconnecting


@pytest.fixture(params=VERSIONS, ids=str)
def both(request: pytest.FixtureRequest, authority: Authority) -> list[Inner]:
    """A session over each of the two layers, after its handshake."""
    made = []
    for stock in (False, True):
        creator = ServerTLS(LeafContexts(authority, lambda: NOW), "h.test")
        client = trusting(authority, version=request.param)
        shake = Handshake(creator, client, "h.test", stock=stock)
        assert isinstance(shake.server, ThinTLS) is not stock
        made.append(Inner(shake.finish()))
    return made


def same(both: list[Inner], act: Callable[[Handshake], object]) -> tuple[object, ...]:
    """What came of it, which is the same in both."""
    done = [act(inner.shake) for inner in both]
    assert done[0] == done[1]
    assert both[0].told() == both[1].told()
    return both[0].told()


class TestSame:
    def test_small_messages(self, both: list[Inner]) -> None:
        for size in (1, 200, 16384):
            same(both, lambda shake, size=size: shake.say(b"x" * size))  # type: ignore[misc]

    @pytest.mark.parametrize("cut", [1, 4, 5, 6, 30, 10_000])
    def test_records_in_pieces_and_together(self, both: list[Inner], cut: int) -> None:
        def act(shake: Handshake) -> None:
            for text in (b"one", b"two" * 500, b"", b"three"):
                shake.client.write(text)
            sent = shake._to_server.read()
            for start in range(0, len(sent), cut):
                shake.server.dataReceived(sent[start : start + cut])
            shake.say(b"four")

        told = same(both, act)
        assert told[0] == b"one" + b"two" * 500 + b"three" + b"four"

    def test_a_long_message_each_way(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> bytes:
            left = b"y" * 100_000
            while left:
                left = left[shake.client.write(left) :]
            shake._server_reads()
            shake._client_reads()
            got = b""
            while len(got) < 100_000:
                got += shake.client.read(65536)
            return got

        assert same(both, act)[0] == b"y" * 100_000

    def test_the_client_says_goodbye(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> None:
            with pytest.raises(ssl.SSLWantReadError):
                shake.client.unwrap()
            shake._server_reads()
            shake.server.connectionLost(connectionDone)

        told = same(both, act)
        assert told[1] is not None
        assert told[1][0] is ConnectionDone  # type: ignore[index]

    def test_the_client_is_gone(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> None:
            shake.server.connectionLost(Failure(ConnectionLost()))
            shake.transport.loseConnection()  # only Twisted's own layer closes what is gone

        same(both, act)

    def test_a_record_that_is_forged(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> None:
            shake.say(b"fine")
            shake.client.write(b"something")
            sent = shake._to_server.read()
            shake.server.dataReceived(sent[:-1] + bytes([sent[-1] ^ 1]))
            shake.server.connectionLost(connectionDone)

        told = same(both, act)
        assert told[0] == b"fine"
        assert told[2]

    def test_bytes_that_are_not_tls(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> None:
            shake.server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
            shake.server.connectionLost(connectionDone)

        same(both, act)

    def test_writes_after_the_end(self, both: list[Inner]) -> None:
        def act(shake: Handshake) -> bytes:
            transport = shake.echo.transport
            assert transport is not None
            transport.write(b"last words")
            transport.loseConnection()
            transport.write(b"too late")
            shake._client_reads()
            return shake.client.read(100)

        same(both, act)
        assert both[0].shake.client.pending() == 0


@implementer(IProducer)
class _Reader(Protocol):
    """A protocol that its transport keeps from writing while the client does not read."""

    transport: IStreamTransport

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    def stopProducing(self) -> None:
        """Nothing is produced."""


class TestTheEnd:
    def test_leaves_nothing_to_collect(self, authority: Authority) -> None:
        """A session has 20 KB or more, which must not wait for a collection."""
        creator = ServerTLS(LeafContexts(authority, lambda: NOW), "h.test")
        layer = server_tls(_Reader(), creator, Clock())
        transport = StringTransport()
        layer.makeConnection(transport)
        gone = ref(layer)
        gc.disable()
        try:
            transport.unregisterProducer()  # as a socket that is gone does
            layer.connectionLost(connectionDone)
            del layer
            assert gone() is None
        finally:
            gc.enable()


class TestTickets:
    def test_go_out_with_the_first_answer(self, authority: Authority) -> None:
        """In TLS 1.3 nothing waits for them, so they are no send of their own."""
        creator = ServerTLS(LeafContexts(authority, lambda: NOW), "h.test")
        client = trusting(authority, version=ssl.TLSVersion.TLSv1_3)
        shake = Handshake(creator, client, "h.test").finish()
        assert not shake.transport.value()
        shake.say(b"x")
        session = shake.client.session
        assert session is not None
        assert session.has_ticket
        again = Handshake(creator, client, "h.test", session).finish()
        assert again.client.session_reused
