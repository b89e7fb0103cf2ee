"""The pool: connections are kept, used again, tried anew, and let go."""

from __future__ import annotations

from typing import cast

import pytest
from pool_bench import PoolBench
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IHostnameResolver
from upstream_bench import TRIAL, Given, Wire, ok, rest_of

from buffr.errors import BadUpstreamAnswer, BuffrError, UpstreamFailed, UpstreamTimeout
from buffr.message import CHUNKED, Headers, Piece, Request
from buffr.origin import Origin
from buffr.tls.trust import ClientContexts, Trust
from buffr.upstream.connection import Patience, Response
from buffr.upstream.pool import PoolLimits

UNVERIFIED = ClientContexts().tls("127.0.0.1", Trust(verify=False))
HELLO = ok(b"Content-Length: 5\r\n", b"hello")


class SilentResolver:
    """Looks names up and never comes back."""

    def resolveHostName(self, *_: object, **__: object) -> None:
        """As ``IHostnameResolver`` has it."""


def served(bench: PoolBench, *, method: bytes = b"GET") -> Wire:
    """A new connection that has answered one request, and is idle."""
    sent = bench.send(method)
    wire = bench.connected()
    answered(bench, wire, sent)
    return wire


def answered(bench: PoolBench, wire: Wire, sent: Deferred[Response]) -> None:
    assert wire.taken() != b""
    bench.answer(wire, HELLO)
    assert rest_of(TRIAL.successResultOf(sent).body) == b"hello"


def failing(sent: Deferred[Response]) -> BuffrError:
    error = TRIAL.failureResultOf(sent, BuffrError).value
    assert isinstance(error, BuffrError)
    return error


class TestReuse:
    def test_one_connection_for_one_request_after_another(self) -> None:
        """An idle connection is used before another is opened."""
        bench = PoolBench()
        wire = served(bench)
        for _ in range(5):
            answered(bench, wire, bench.send())
        assert bench.dialled == 1

    def test_as_many_as_requests_at_a_time(self) -> None:
        """A connection serves one request at a time."""
        bench = PoolBench()
        for number in range(3):
            bench.send()
            bench.connected()
            assert bench.dialled == number + 1

    def test_the_last_used_is_next(self) -> None:
        """The warmest connection serves, and the others may expire."""
        bench = PoolBench()
        sent = [bench.send()]
        first = bench.connected()
        sent.append(bench.send())
        second = bench.connected()
        answered(bench, second, sent[1])
        answered(bench, first, sent[0])
        for _ in range(2):
            answered(bench, first, bench.send())

    def test_a_closed_one_is_not_used(self) -> None:
        """What the upstream closed while idle is forgotten."""
        bench = PoolBench()
        wire = served(bench)
        wire.hang_up()
        bench.send()
        assert bench.dialled == 2


class TestIdle:
    def test_it_expires(self) -> None:
        """After its time without use a connection is closed."""
        bench = PoolBench(limits=PoolLimits(idle_s=60))
        wire = served(bench)
        bench.reactor.advance(59)
        answered(bench, wire, bench.send())
        for wait_s, closed in ((59, False), (2, True)):
            bench.reactor.advance(wait_s)
            assert wire.disconnecting is closed
        bench.send()
        assert bench.dialled == 2

    def test_each_in_its_time(self) -> None:
        """The pool looks again for those that are left, and rests when none is."""
        bench = PoolBench(limits=PoolLimits(idle_s=60), patience=Patience(idle_s=0))
        sent = [bench.send()]
        first = bench.connected()
        sent.append(bench.send())
        second = bench.connected()
        answered(bench, first, sent[0])
        bench.reactor.advance(40)
        answered(bench, second, sent[1])
        bench.reactor.advance(20)
        assert (first.disconnecting, second.disconnecting) == (True, False)
        bench.reactor.advance(40)
        assert second.disconnecting
        bench.reactor.advance(0)
        assert bench.reactor.getDelayedCalls() == []

    def test_not_while_in_use(self) -> None:
        """A request that takes longer than the bound is not disturbed."""
        bench = PoolBench(limits=PoolLimits(idle_s=5))
        wire = served(bench)
        sent = bench.send()
        bench.reactor.advance(20)
        answered(bench, wire, sent)

    def test_bounded(self) -> None:
        """Beyond the bound a connection is closed when it has served."""
        bench = PoolBench(limits=PoolLimits(idle=2))
        sent, wires = list[Deferred[Response]](), list[Wire]()
        for _ in range(4):
            sent.append(bench.send())
            wires.append(bench.connected())
        for wire, each in zip(wires, sent, strict=True):
            answered(bench, wire, each)
        assert [wire.disconnecting for wire in wires] == [False, False, True, True]


class TestKeepAlive:
    """What the upstream says of its connections (``Keep-Alive: timeout=N``) is heeded."""

    @pytest.mark.parametrize(
        ("value", "used_at_s", "gone_at_s"),
        [
            (b"timeout=5", 3.9, 4.1),
            (b"max=100, timeout=5", 3.9, 4.1),
            (b'Timeout = "5", max=100', 3.9, 4.1),
            (b"timeout=2", 0.9, 1.1),
            (b"timeout=1", 0.4, 0.6),
            (b"timeout=100", 59.9, 60.1),
            (b"max=100", 59.9, 60.1),
            (b"timeout=soon", 59.9, 60.1),
            (b"xtimeout=5", 59.9, 60.1),
        ],
    )
    def test_a_connection_is_kept_no_longer(
        self, value: bytes, used_at_s: float, gone_at_s: float
    ) -> None:
        """A second less, for a request that is on its way; never longer than the setting says."""
        for after_s, gone in ((used_at_s, False), (gone_at_s, True)):
            bench = PoolBench(limits=PoolLimits(idle_s=60), patience=Patience(idle_s=0))
            wire = self._served(bench, value)
            bench.reactor.advance(after_s)
            assert wire.disconnecting is gone
            bench.send()
            assert bench.dialled == 1 + gone

    def test_none_is_kept_that_is_closed_at_once(self) -> None:
        bench = PoolBench()
        assert self._served(bench, b"timeout=0").disconnecting

    def test_one_that_is_late_to_be_closed_is_not_used(self) -> None:
        """A busy reactor may come to its timers late; the upstream has closed by then."""
        bench = PoolBench(patience=Patience(idle_s=0))
        wire = self._served(bench, b"timeout=5")
        bench.reactor.rightNow += 4.5
        bench.send()
        assert wire.disconnecting
        assert bench.dialled == 2

    def test_each_in_its_time(self) -> None:
        """The one that was used last may be the first to expire."""
        bench = PoolBench(limits=PoolLimits(idle_s=60), patience=Patience(idle_s=0))
        sent = [bench.send()]
        first = bench.connected()
        sent.append(bench.send())
        second = bench.connected()
        answered(bench, first, sent[0])
        self._answered(bench, second, sent[1], b"timeout=10")
        bench.reactor.advance(9.5)
        assert (first.disconnecting, second.disconnecting) == (False, True)
        bench.reactor.advance(51)
        assert first.disconnecting
        bench.reactor.advance(0)
        assert bench.reactor.getDelayedCalls() == []

    def _served(self, bench: PoolBench, value: bytes) -> Wire:
        sent = bench.send()
        wire = bench.connected()
        self._answered(bench, wire, sent, value)
        return wire

    @staticmethod
    def _answered(bench: PoolBench, wire: Wire, sent: Deferred[Response], value: bytes) -> None:
        bench.answer(wire, ok(b"Content-Length: 5\r\nKeep-Alive: %b\r\n" % value, b"hello"))
        assert rest_of(TRIAL.successResultOf(sent).body) == b"hello"


class TestRetry:
    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE"])
    @pytest.mark.parametrize("reset", [False, True])
    def test_a_safe_request_on_a_dead_connection(self, method: bytes, *, reset: bool) -> None:
        """It is sent once more, on a connection of its own."""
        bench = PoolBench()
        dead = served(bench)
        sent = bench.send(method)
        dead.hang_up(ConnectionLost() if reset else ConnectionDone())
        assert bench.dialled == 2
        wire = bench.connected()
        assert wire.value() == dead.value()
        bench.answer(wire, ok(b"Content-Length: 0\r\n"))
        assert TRIAL.successResultOf(sent).head.status == 200

    def test_once(self) -> None:
        """When the second connection breaks too, that is the answer."""
        bench = PoolBench()
        dead = served(bench)
        sent = bench.send()
        dead.hang_up()
        bench.connected().hang_up()
        assert type(failing(sent)) is UpstreamFailed
        assert bench.dialled == 2

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"QUERY", b"BREW"])
    def test_never_what_may_do_harm(self, method: bytes) -> None:
        """Nobody knows whether it was carried out."""
        bench = PoolBench()
        dead = served(bench)
        sent = bench.send(method)
        dead.hang_up()
        assert type(failing(sent)) is UpstreamFailed
        assert bench.dialled == 1

    @pytest.mark.parametrize("body", [b"x", Given(Piece(b"x"))])
    def test_never_with_a_body(self, body: bytes | Given) -> None:
        """A body may be gone by then."""
        bench = PoolBench()
        dead = served(bench)
        sent = bench.send(body=body, body_length=CHUNKED)
        dead.hang_up()
        failing(sent)
        assert bench.dialled == 1

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"H", UpstreamFailed),
            (b"HTTP/1.1 100 Continue\r\n\r\n", UpstreamFailed),
            (b"garbage\r\n\r\n", BadUpstreamAnswer),
        ],
    )
    def test_never_behind_a_byte_of_an_answer(self, data: bytes, error: type[BuffrError]) -> None:
        """A connection that spoke was not dead."""
        bench = PoolBench()
        pooled = served(bench)
        sent = bench.send()
        bench.answer(pooled, data)
        pooled.hang_up()
        assert type(failing(sent)) is error
        assert bench.dialled == 1

    def test_never_behind_a_time_out(self) -> None:
        """The upstream had its time."""
        bench = PoolBench()
        served(bench)
        sent = bench.send()
        bench.reactor.advance(31)
        assert isinstance(failing(sent), UpstreamTimeout)
        assert bench.dialled == 1

    def test_never_on_a_new_connection(self) -> None:
        """A first try that fails is a failure."""
        bench = PoolBench()
        sent = bench.send()
        bench.connected().hang_up()
        assert type(failing(sent)) is UpstreamFailed
        assert bench.dialled == 1


class TestDialling:
    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            (Refused(), "refused"),
            (TCPTimedOutError(), "time-out"),
            (NoRouteError(), "no route"),
            (DNSLookupError(), "DNS"),
            (OSError("odd"), "odd"),
        ],
    )
    def test_it_fails(self, reason: Exception, words: str) -> None:
        """Whatever the platform says is said in words, with status 502."""
        bench = PoolBench()
        sent = bench.send()
        bench.fails(reason)
        bench.reactor.advance(1)
        error = failing(sent)
        assert (type(error), error.status) == (UpstreamFailed, 502)
        assert words in error.message

    def test_it_takes_too_long(self) -> None:
        """The bound on connecting holds."""
        bench = PoolBench(patience=Patience(connect_s=10))
        sent = bench.send()
        bench.reactor.advance(9)
        TRIAL.assertNoResult(sent)
        bench.reactor.advance(1)
        assert "time-out while connecting to the upstream" in failing(sent).message
        assert bench.reactor.connectors[-1].stoppedConnecting

    def test_the_name_takes_too_long(self) -> None:
        """So it does while the name is looked up."""
        bench = PoolBench(patience=Patience(connect_s=10), origin=Origin("http", "slow.test", 80))
        bench.reactor.nameResolver = cast("IHostnameResolver", SilentResolver())
        sent = bench.send()
        bench.reactor.advance(10)
        assert "time-out while connecting to the upstream" in failing(sent).message

    def test_without_a_bound(self) -> None:
        """Zero means that it waits as long as the platform does."""
        bench = PoolBench(patience=Patience(connect_s=0))
        sent = bench.send()
        bench.reactor.advance(3600)
        TRIAL.assertNoResult(sent)

    def test_it_is_given_up(self) -> None:
        """Nobody connects for a client that has left."""
        bench = PoolBench()
        sent = bench.send()
        sent.cancel()
        TRIAL.failureResultOf(sent, CancelledError)
        assert bench.reactor.connectors[-1].stoppedConnecting

    def test_a_handshake_takes_too_long(self) -> None:
        """The bound is one for TCP and TLS together; the connection is closed."""
        origin = Origin("https", "127.0.0.1", 443)
        bench = PoolBench(origin=origin, tls=UNVERIFIED)
        sent = bench.send()
        bench.reactor.advance(8)
        wire = bench.connected()
        assert wire.taken().startswith(b"\x16\x03\x01")
        bench.reactor.advance(1)
        TRIAL.assertNoResult(sent)
        bench.reactor.advance(1)
        assert "TLS handshake" in failing(sent).message
        assert wire.disconnected

    def test_a_handshake_is_given_up(self) -> None:
        """A client that leaves takes the half-open connection with it."""
        origin = Origin("https", "127.0.0.1", 443)
        bench = PoolBench(origin=origin, tls=UNVERIFIED)
        sent = bench.send()
        wire = bench.connected()
        sent.cancel()
        TRIAL.failureResultOf(sent, CancelledError)
        assert wire.disconnected
        assert [call for call in bench.reactor.getDelayedCalls() if call.getTime() > 5] == []

    def test_no_tls_on_the_other_side(self) -> None:
        """What is not a handshake is told as a fault of TLS."""
        origin = Origin("https", "127.0.0.1", 443)
        bench = PoolBench(origin=origin, tls=UNVERIFIED)
        sent = bench.send()
        bench.answer(bench.connected(), b"HTTP/1.1 400 Bad Request\r\n\r\n")
        bench.reactor.advance(0)
        assert failing(sent).message.startswith("TLS: ")


class TestClose:
    def test_idle_ones_are_closed(self) -> None:
        """In order, and nothing is left ticking."""
        bench = PoolBench()
        wire = served(bench)
        bench.upstream.close()
        assert wire.disconnecting
        assert not wire.disconnected
        bench.reactor.advance(0)
        assert bench.reactor.getDelayedCalls() == []

    @pytest.mark.parametrize("pooled", [False, True])
    def test_what_is_under_way_is_given_up(self, *, pooled: bool) -> None:
        """At once, and nothing is tried anew."""
        bench = PoolBench()
        if pooled:
            wire = served(bench)
            sent = bench.send()
        else:
            sent = bench.send()
            wire = bench.connected()
        bench.upstream.close()
        assert wire.disconnected
        failing(sent)
        assert bench.dialled == 1

    def test_what_is_not_connected_yet(self) -> None:
        """Nobody waits for a connection any more."""
        bench = PoolBench()
        sent = bench.send()
        bench.upstream.close()
        assert type(failing(sent)) is UpstreamFailed
        assert bench.reactor.connectors[-1].stoppedConnecting

    def test_nothing_is_opened_any_more(self) -> None:
        """A request that comes too late is refused."""
        bench = PoolBench()
        served(bench)
        bench.upstream.close()
        assert type(failing(bench.send())) is UpstreamFailed
        assert bench.dialled == 1


class TestHead:
    @pytest.mark.parametrize(
        ("headers", "sent"),
        [
            (((b"Host", b"c"), (b"X-a", b"1")), b"Host: 127.0.0.1\r\nX-a: 1\r\n"),
            (((b"X-a", b"1"), (b"HOST", b"c")), b"X-a: 1\r\nHOST: 127.0.0.1\r\n"),
            (((b"X-a", b"1"),), b"Host: 127.0.0.1\r\nX-a: 1\r\n"),
            (
                ((b"Host", b"c"), (b"Connection", b"x-b"), (b"X-B", b"1"), (b"TE", b"trailers")),
                b"Host: 127.0.0.1\r\n",
            ),
            (
                ((b"Host", b"c"), (b"Transfer-Encoding", b"chunked"), (b"Trailer", b"X-T")),
                b"Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n",
            ),
        ],
    )
    def test_fields(self, headers: Headers, sent: bytes) -> None:
        """``Host`` names the origin in the place and case of the client's; all else stays."""
        bench = PoolBench()
        bench.send(headers=headers)
        assert bench.connected().value() == b"GET /p HTTP/1.1\r\n" + sent + b"\r\n"

    @pytest.mark.parametrize(
        ("sent", "arrives"),
        [
            (b"http://client.test/b", b"https://127.0.0.1:8443/base/b"),
            (b"https://client.test:443/b?c", b"https://127.0.0.1:8443/base/b?c"),
            (b"http://client.test", b"https://127.0.0.1:8443/base/"),
            (b"/b", b"/base/b"),
            (b"http://other.test/b", b"http://other.test/b"),
            (b"https://127.0.0.1:8443/base/b", b"https://127.0.0.1:8443/base/b"),
        ],
    )
    def test_a_destination_goes_the_way_of_the_host(self, sent: bytes, arrives: bytes) -> None:
        """RFC 4918 10.3: a server takes it for its own by its authority."""
        origin = Origin("https", "127.0.0.1", 8443, "/base")
        headers = ((b"Host", b"client.test"), (b"Destination", sent), (b"If", b"<%b> (<t>)" % sent))
        request = Request(b"MOVE", b"/a", headers)
        head = PoolBench(origin=origin).upstream._head(request, expect_met=False)
        assert head == (
            b"MOVE /base/a HTTP/1.1\r\nHost: 127.0.0.1:8443\r\n"
            b"Destination: %b\r\nIf: <%b> (<t>)\r\n\r\n" % (arrives, arrives)
        )

    def test_a_destination_beside_the_clients_host(self) -> None:
        """With ``keep_host`` the server knows itself by that; its scheme is its own."""
        headers = ((b"Host", b"client.test"), (b"Destination", b"http://client.test/b"))
        bench = PoolBench(origin=Origin("https", "127.0.0.1", 8443), keep_host=True)
        head = bench.upstream._head(Request(b"COPY", b"/a", headers), expect_met=False)
        assert b"\r\nDestination: https://client.test/b\r\n" in head

    def test_keep_host(self) -> None:
        """The client's ``Host``, where it sent one."""
        bench = PoolBench(keep_host=True)
        bench.send()
        assert bench.connected().value() == b"GET /p HTTP/1.1\r\nHost: client.test\r\n\r\n"

    @pytest.mark.parametrize(
        ("target", "sent"),
        [(b"/p?q", b"/v1/p?q"), (b"/", b"/v1/"), (b"//x", b"/v1//x"), (b"*", b"*")],
    )
    def test_base_path(self, target: bytes, sent: bytes) -> None:
        """The origin's path stands before the target, unless that is none."""
        bench = PoolBench(origin=Origin("http", "127.0.0.1", 8080, "/v1"))
        bench.send(target=target)
        assert bench.connected().value().startswith(b"GET " + sent + b" HTTP/1.1\r\n")

    @pytest.mark.parametrize("met", [False, True])
    def test_expect(self, *, met: bool) -> None:
        """An expectation that buffr has met itself does not go on."""
        bench = PoolBench()
        bench.send(headers=((b"Expect", b"100-continue"),), expect_met=met)
        assert (b"Expect" in bench.connected().value()) is not met
