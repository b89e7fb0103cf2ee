"""TLS towards an upstream: which ends of a connection are those of an answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
import trustme
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from upstream_bench import RULES, TRIAL, Wire, broken, ok, rest_of
from zope.interface import implementer

from buffr.errors import BodyCutShort
from buffr.tls.trust import ClientContexts, Trust
from buffr.transport.streams import AnswerBody
from buffr.upstream.connection import Connection, Outgoing, Patience
from buffr.upstream.tls import TLSEndpoint
from buffr.wire.http1_answer_heads import AnswerRules

CODED = b"Transfer-Encoding: chunked\r\n"
REASON = "the upstream closed the connection without TLS's close_notify"


@implementer(IStreamClientEndpoint)
class _InMemory:
    """Connects at once, to a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        protocol = protocolFactory.buildProtocol(self._wire.getPeer())
        assert protocol is not None
        self._wire.protocol = protocol
        protocol.makeConnection(self._wire)
        return succeed(protocol)


class Secure:
    """A connection whose TLS is that of an ``ssl`` server in memory."""

    def __init__(self, rules: AnswerRules = RULES) -> None:
        self.clock = Clock()
        self.wire = Wire(self.clock)
        connection = Connection(
            self.clock, rules, Patience(idle_s=0), lambda _: None, lambda _: None
        )
        connection.expect_handshake()
        creator = ClientContexts().tls("localhost", Trust(verify=False))
        endpoint = TLSEndpoint(_InMemory(self.wire), creator)
        made: object = TRIAL.successResultOf(
            endpoint.connect(Factory.forProtocol(lambda: connection))
        )
        assert made is connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        self._to_server, self._to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self._to_server, self._to_client, server_side=True)
        while not connection.ready.called:
            self._step(self.server.do_handshake)
        outgoing = Outgoing(b"GET", b"GET / HTTP/1.1\r\n\r\n", b"", False, lambda _: None)
        self._sent = Deferred.fromCoroutine(connection.send(outgoing))

    def _step(self, move: Callable[[], object]) -> None:
        self._to_server.write(self.wire.taken())
        with suppress(ssl.SSLWantReadError):
            move()
        self.wire.receive(self._to_client.read())

    def answered(self, data: bytes) -> AnswerBody:
        self._step(lambda: self.server.read(65536))
        self._step(lambda: self.server.write(data))
        body: AnswerBody = TRIAL.successResultOf(self._sent).body
        return body

    def ends(self, how: str) -> None:
        """By a FIN with a close_notify before it or without, or by a reset."""
        if how == "close_notify":
            self._step(self.server.unwrap)
        self.wire.hang_up(ConnectionLost() if how == "reset" else ConnectionDone())


class TestEnds:
    @pytest.mark.parametrize(
        ("answer", "how", "uncertain"),
        [
            (ok(body=b"hello"), "close_notify", None),
            (ok(body=b"hello"), "fin", REASON),
            (ok(b"Transfer-Encoding: identity\r\n", b"hello"), "fin", REASON),
            (ok(b"Content-Length: 5\r\n", b"hello"), "fin", None),
            (ok(CODED, b"5\r\nhello\r\n0\r\n\r\n"), "fin", None),
        ],
    )
    def test_whole(self, answer: bytes, how: str, uncertain: str | None) -> None:
        """Clients take a body that ends with TCP as whole; it is told from one that TLS ended."""
        secure = Secure()
        body = secure.answered(answer)
        secure.ends(how)
        assert rest_of(body) == b"hello"
        assert body.uncertain == uncertain

    @pytest.mark.parametrize(
        ("answer", "how"),
        [
            (ok(body=b"hello"), "reset"),
            *(
                (ok(fields, body), how)
                for fields, body in (
                    (b"Content-Length: 9\r\n", b"hello"),
                    (CODED, b"5\r\nhello\r\n"),
                    (CODED, b"9\r\nhello"),
                )
                for how in ("close_notify", "fin", "reset")
            ),
        ],
    )
    def test_broken(self, answer: bytes, how: str) -> None:
        """A reset is never an end, nor is any before a length or the last chunk."""
        secure = Secure()
        body = secure.answered(answer)
        secure.ends(how)
        data, error = broken(body)
        assert data == b"hello"
        assert isinstance(error, BodyCutShort)

    def test_a_setting_has_it_broken(self) -> None:
        secure = Secure(evolve(RULES, lenient=False))
        body = secure.answered(ok(body=b"hello"))
        secure.ends("fin")
        assert isinstance(broken(body)[1], BodyCutShort)
