"""A parent proxy in memory: what it is asked, and what its answers become."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial import unittest
from zope.interface import implementer

from buffr.errors import BuffrError, UpstreamFailed
from buffr.testing.wire import Wire
from buffr.upstream.parent import ParentEndpoint

TRIAL = unittest.SynchronousTestCase()
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Inner(Protocol):
    """What is in the tunnel: it notes what comes, and says something at once."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Failure] = []

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


@implementer(IStreamClientEndpoint)
class Way:
    """The way to a parent, which is there at once."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.protocol: IProtocol | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        self.protocol = protocolFactory.buildProtocol(self.wire.getPeer())
        assert self.protocol is not None
        self.protocol.makeConnection(self.wire)
        return succeed(self.protocol)


@implementer(IStreamClientEndpoint)
class NoWay:
    """A parent that cannot be reached."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        return fail(error.ConnectionRefusedError())


class Asked:
    """A tunnel that has been asked for."""

    def __init__(self, host: str = "h.test", authorization: bytes | None = None) -> None:
        self.way = Way()
        self.inner = Inner()
        endpoint = ParentEndpoint(self.way, host, 443, authorization)
        self.tunnel = endpoint.connect(Factory.forProtocol(lambda: self.inner))

    @property
    def wire(self) -> Wire:
        return self.way.wire

    def said(self, *data: bytes) -> Asked:
        """The parent says this, piece by piece."""
        assert self.way.protocol is not None
        for piece in data:
            self.way.protocol.dataReceived(piece)
        return self

    def ended(self, reason: Exception) -> Asked:
        assert self.way.protocol is not None
        self.way.protocol.connectionLost(Failure(reason))
        return self

    def error(self) -> BuffrError:
        found: BuffrError = TRIAL.failureResultOf(self.tunnel, UpstreamFailed).value
        return found


def whole(data: bytes) -> list[bytes]:
    return [data]


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


class TestTheRequest:
    @pytest.mark.parametrize(
        ("host", "target"), [("h.test", b"h.test:443"), ("2001:db8::1", b"[2001:db8::1]:443")]
    )
    def test_it_names_host_and_port_twice(self, host: str, target: bytes) -> None:
        """RFC 9110 9.3.6 and RFC 9112 3.2.3; the port always, and IPv6 in brackets."""
        sent = Asked(host).wire.taken()
        assert sent == b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)

    def test_it_has_the_parents_credentials(self) -> None:
        sent = Asked(authorization=b"Basic abc").wire.taken()
        assert sent.endswith(b"\r\nProxy-Authorization: Basic abc\r\n\r\n")


@pytest.mark.parametrize("cut", [whole, bytewise])
class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            OK,
            b"HTTP/1.0 200\r\n\r\n",
            b"HTTP/1.1 204 Fine\r\nX: y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 102 Processing\r\n\r\n" + OK,
            b"HTTP/1.1 200 OK\nVia : x\n\n",
        ],
    )
    def test_any_2xx_is_a_tunnel(self, cut: Callable[[bytes], list[bytes]], answer: bytes) -> None:
        """From the end of its head on, whatever its fields say (RFC 9110 9.3.6)."""
        asked = Asked()
        asked.wire.taken()
        asked.said(*cut(answer + b"\x16rest"), b"more")
        found: object = TRIAL.successResultOf(asked.tunnel)
        assert found is asked.inner
        assert asked.inner.received == b"\x16restmore"
        transport: object = asked.inner.transport
        assert transport is asked.wire
        assert asked.wire.taken() == b"hello"
        assert not asked.wire.ends

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", "credentials (407)"),
            (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\n\r\n", "only Basic"),
            (b"HTTP/1.1 403 Not there\r\n\r\n", "refused the tunnel: 403 Not there"),
            (b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", "302 Found"),
            (b"220 smtp.test ESMTP\r\n\r\n", "the parent proxy does not answer in HTTP/1"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "the parent proxy's head is malformed"),
        ],
    )
    def test_all_else_is_an_error_and_the_end(
        self, cut: Callable[[bytes], list[bytes]], answer: bytes, words: str
    ) -> None:
        """Nothing of it reaches the protocol that was to be in the tunnel."""
        asked = Asked().said(*cut(answer))
        assert words in str(asked.error())
        assert asked.wire.ends[0] == "cut"
        assert asked.inner.transport is None
        asked.said(b"more").ended(ConnectionDone())


class TestEnds:
    def test_a_head_without_end_is_an_error(self) -> None:
        asked = Asked().said(b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 1000] * 66)
        assert "the parent proxy's head is over 65536 bytes" in str(asked.error())
        assert asked.wire.ends[0] == "cut"

    @pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n"])
    def test_a_close_before_the_answer_is_an_error(self, begun: bytes) -> None:
        asked = Asked().said(begun).ended(ConnectionDone())
        assert "the parent proxy: it closed the connection" in str(asked.error())

    def test_so_is_a_connection_that_is_lost(self) -> None:
        assert "dropped the connection" in str(Asked().ended(ConnectionLost()).error())

    def test_the_end_of_a_tunnel_is_the_end_of_what_is_in_it(self) -> None:
        asked = Asked().said(OK).ended(ConnectionLost())
        assert asked.inner.lost[0].check(ConnectionLost)

    def test_giving_up_cuts_it(self) -> None:
        asked = Asked()
        asked.tunnel.cancel()
        TRIAL.failureResultOf(asked.tunnel, CancelledError)
        assert asked.wire.ends == ["cut"]
        asked.ended(ConnectionDone())

    def test_a_parent_that_cannot_be_reached_is_told_as_it_is(self) -> None:
        endpoint = ParentEndpoint(NoWay(), "h.test", 443, None)
        tunnel = endpoint.connect(Factory.forProtocol(Protocol))
        TRIAL.failureResultOf(tunnel, error.ConnectionRefusedError)

    @given(st.lists(st.binary(max_size=30), max_size=8))
    def test_any_bytes_are_a_tunnel_or_the_one_error(self, pieces: list[bytes]) -> None:
        asked = Asked().said(b"HTTP/1.1 ", *pieces).ended(ConnectionDone())
        if asked.inner.transport is None:
            assert asked.error().status == 502
        else:
            TRIAL.successResultOf(asked.tunnel)
