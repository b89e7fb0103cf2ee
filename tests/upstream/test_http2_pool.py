"""Connections in HTTP/2 to an upstream that is played by the test, in memory."""

from __future__ import annotations

from typing import Any

import pytest
from http2_pair import OK, Heard
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from upstream_bench import TRIAL, broken, read_on, rest_of

from buffr.errors import BuffrError, UpstreamFailed, UpstreamTimeout, reset_of
from buffr.message import Headers, ResponseHead
from buffr.origin import Origin
from buffr.testing.wire import Wire
from buffr.upstream.connection import Patience, Response
from buffr.upstream.dialling import Dialler
from buffr.upstream.endpoints import endpoint_for, plain_endpoint
from buffr.upstream.hops import Mark
from buffr.upstream.http2 import Http2Connection, Http2Request, Http2Terms
from buffr.upstream.http2_pool import Http2Pool
from buffr.wire.http1_answer_heads import AnswerRules
from buffr.wire.http2.engines import ENGINES, EngineName, open_engine
from buffr.wire.http2.interface import Bounds, Code, Role

WINDOW = 70_000
BOUNDS = Bounds(stream_bytes=WINDOW, connection_bytes=2 * WINDOW)


class TlsWire(Wire):
    """What a protocol sees of TLS: what the handshake chose."""

    negotiatedProtocol = b"h2"  # Twisted's name


class Peer:
    """One connection's other end."""

    def __init__(self, protocol: Http2Connection, engine: EngineName, streams: int) -> None:
        self.heard = Heard()
        self.wire = TlsWire()
        bounds = Bounds(streams=streams, stream_bytes=WINDOW)
        self.engine = self.heard.engine = open_engine(Role.SERVER, self.heard, bounds, engine)
        self.wire.protocol = self.protocol = protocol
        protocol.makeConnection(self.wire)

    def talk(self) -> None:
        moved = True
        while moved:
            moved = False
            if data := self.wire.taken():
                self.engine.receive(data)
                moved = True
            while data := self.engine.take(16_000):
                self.wire.receive(data)
                moved = True

    def asked(self) -> list[int]:
        """The streams on which a request came since the last call."""
        self.talk()
        return [one[1] for one in self.heard.taken() if isinstance(one, tuple) and one[0] == "head"]

    def next(self) -> int:
        (stream,) = self.asked()
        return stream

    def answer(self, stream: int, body: bytes = b"", fields: Headers = OK) -> None:
        self.engine.answer(stream, fields, ended=False)
        self.engine.send(stream, body, ended=True)
        self.talk()

    def reset(self, stream: int, code: Code) -> None:
        self.engine.reset(stream, code)
        self.talk()


class Bench:
    """A pool of connections, and what the test makes of each."""

    def __init__(self, engine: EngineName, *, tls: bool = False) -> None:
        self.engine, self.tls = engine, tls
        self.reactor = MemoryReactorClock()
        self.informed: list[ResponseHead] = []
        direct = plain_endpoint(self.reactor, "127.0.0.1", 80, 10)
        endpoint = endpoint_for(Origin("http", "127.0.0.1", 80), direct, tls=None)
        dialler = Dialler(self.reactor, endpoint, 10)
        terms = Http2Terms(AnswerRules(), Patience(idle_s=30), BOUNDS, engine)
        self.pool = Http2Pool(self.reactor, dialler, terms, 60, tls=tls)

    def send(self, method: bytes = b"GET", body: bytes = b"") -> Deferred[Response | None]:
        fields = (
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"a.test"),
            (b":path", b"/"),
        )

        def made(_: Mark) -> Http2Request:
            return Http2Request(method, fields, body, self.informed.append)

        return Deferred.fromCoroutine(self.pool.send(made, body, hops=b""))

    @property
    def dialled(self) -> int:
        return len(self.reactor.tcpClients)

    def connected(self, streams: int = 100) -> Peer:
        """The newest connection comes about, to a peer that takes so many streams."""
        factory = self.reactor.tcpClients[-1][2]
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 80))
        peer = Peer(protocol, self.engine, streams)
        if not self.tls:
            peer.talk()
        return peer

    def refused(self) -> None:
        connector = self.reactor.connectors[-1]
        self.reactor.tcpClients[-1][2].clientConnectionFailed(connector, Failure(Refused()))


def answer_to(sent: Deferred[Response | None]) -> Response:
    response = TRIAL.successResultOf(sent)
    assert response is not None
    return response


def failure_of(sent: Deferred[Response | None]) -> BuffrError:
    error = TRIAL.failureResultOf(sent, BuffrError).value
    assert isinstance(error, BuffrError)
    return error


@pytest.fixture(params=ENGINES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


class TestWindows:
    def test_readers_who_leave_give_their_part_back(self, bench: Bench) -> None:
        first = bench.send()
        peer = bench.connected()
        peer.answer(peer.next())
        answer_to(first)
        for _ in range(120):
            left = bench.send()
            stream = peer.next()
            peer.answer(stream, bytes(2 * WINDOW))
            answer_to(left).abort()
            peer.talk()
        assert bench.dialled == 1
        sent = bench.send()
        stream = peer.next()
        peer.answer(stream, bytes(WINDOW))
        assert len(rest_of(answer_to(sent).body)) == WINDOW

    def test_no_reader_is_held_up_by_slow_ones(self, bench: Bench) -> None:
        slow = [bench.send()]
        peer = bench.connected()
        slow += [bench.send() for _ in range(60)]
        for stream in peer.asked():
            peer.answer(stream, bytes(2 * WINDOW))
        sent = bench.send()
        stream = peer.next()
        peer.answer(stream, b"x" * 1000)
        assert rest_of(answer_to(sent).body) == b"x" * 1000
        late = answer_to(slow[7]).body
        size = 0
        while size < 2 * WINDOW:
            size += len(read_on(late))
            peer.talk()

    def test_a_whole_answer_that_nobody_reads_yet_takes_no_room(self, bench: Bench) -> None:
        unread = [bench.send()]
        peer = bench.connected()
        for _ in range(150):
            peer.answer(peer.next(), bytes(WINDOW))
            unread.append(bench.send())
        peer.answer(peer.next(), b"last")
        assert rest_of(answer_to(unread[-1]).body) == b"last"
        assert len(rest_of(answer_to(unread[0]).body)) == WINDOW


class TestResets:
    @pytest.mark.parametrize("code", [Code.INTERNAL_ERROR, Code.CANCEL, Code.NO_ERROR])
    def test_one_that_was_dealt_with_is_not_asked_again(self, bench: Bench, code: Code) -> None:
        first = bench.send()
        peer = bench.connected()
        peer.answer(peer.next())
        answer_to(first)
        sent = bench.send()
        peer.reset(peer.next(), code)
        assert code.name in failure_of(sent).message
        assert peer.asked() == []

    def test_one_that_was_refused_is_asked_once_more(self, bench: Bench) -> None:
        sent = bench.send(b"POST", b"x")
        peer = bench.connected()
        peer.reset(peer.next(), Code.REFUSED_STREAM)
        peer.answer(peer.next(), b"done")
        assert rest_of(answer_to(sent).body) == b"done"

    def test_one_that_wants_http1_gets_it(self, bench: Bench) -> None:
        sent = bench.send()
        peer = bench.connected()
        peer.reset(peer.next(), Code.HTTP_1_1_REQUIRED)
        assert TRIAL.successResultOf(sent) is None

    def test_one_within_an_answer_cuts_it(self, bench: Bench) -> None:
        sent = bench.send()
        peer = bench.connected()
        stream = peer.next()
        peer.engine.answer(stream, OK, ended=False)
        peer.engine.send(stream, b"half")
        peer.talk()
        peer.reset(stream, Code.CANCEL)
        data, error = broken(answer_to(sent).body)
        assert (data, "CANCEL" in error.message) == (b"half", True)
        assert reset_of(error) == Code.CANCEL

    @pytest.mark.parametrize(
        ("fields", "uncertain"), [((), True), (((b"content-length", b"4"),), False)]
    )
    def test_one_without_an_error_ends_an_answer(
        self, bench: Bench, fields: Headers, *, uncertain: bool
    ) -> None:
        sent = bench.send()
        peer = bench.connected()
        stream = peer.next()
        peer.engine.answer(stream, OK + fields, ended=False)
        peer.engine.send(stream, b"whol")
        peer.talk()
        peer.reset(stream, Code.NO_ERROR)
        body = answer_to(sent).body
        assert rest_of(body) == b"whol"
        assert (body.uncertain is not None) == uncertain

    def test_one_without_an_error_is_no_end_before_the_end(self, bench: Bench) -> None:
        sent = bench.send()
        peer = bench.connected()
        stream = peer.next()
        peer.engine.answer(stream, (*OK, (b"content-length", b"5")), ended=False)
        peer.engine.send(stream, b"whol")
        peer.talk()
        peer.reset(stream, Code.NO_ERROR)
        assert broken(answer_to(sent).body)[0] == b"whol"

    def test_an_early_answer_ends_a_request_that_the_window_holds_up(self, bench: Bench) -> None:
        bench.send()
        peer = bench.connected()
        peer.answer(peer.next())
        peer.heard.held = True
        sent = bench.send(b"POST", bytes(3 * WINDOW))
        stream = peer.next()
        peer.answer(stream, b"too long")
        assert rest_of(answer_to(sent).body) == b"too long"
        assert ("reset", stream, Code.CANCEL) in peer.heard.taken()


class TestConnections:
    def test_an_idle_one_is_closed_though_tls_would_wait_for_its_producer(
        self, bench: Bench
    ) -> None:
        sent = bench.send()
        peer = bench.connected()
        peer.answer(peer.next())
        answer_to(sent)
        bench.reactor.advance(61)
        assert (peer.wire.end, peer.wire.producer) == ("closed", None)

    def test_one_that_went_silent_gets_no_more_requests(self, bench: Bench) -> None:
        sent = bench.send()
        dead = bench.connected()
        assert len(dead.asked()) == 1
        bench.reactor.advance(31)
        assert isinstance(failure_of(sent), UpstreamTimeout)
        again = bench.send()
        assert bench.dialled == 2
        alive = bench.connected()
        alive.answer(alive.next())
        answer_to(again)

    def test_one_with_a_slow_answer_stays(self, bench: Bench) -> None:
        slow, quick = bench.send(), bench.send()
        peer = bench.connected()
        first, second = peer.asked()
        bench.reactor.advance(29)
        peer.answer(second)
        bench.reactor.advance(2)
        assert isinstance(failure_of(slow), UpstreamTimeout)
        answer_to(quick)
        bench.send()
        assert (len(peer.asked()), bench.dialled) == (1, 1)
        assert first in peer.heard.over

    def test_a_full_one_is_not_waited_for(self, bench: Bench) -> None:
        first = bench.send()
        one = bench.connected(streams=1)
        second = bench.send()
        assert bench.dialled == 2
        other = bench.connected(streams=1)
        for peer, sent in ((one, first), (other, second)):
            peer.answer(peer.next())
            answer_to(sent)

    def test_none_is_refused_where_the_bound_is_not_known_yet(self, bench: Bench) -> None:
        sent = [bench.send() for _ in range(9)]
        one = bench.connected(streams=3)
        assert bench.dialled == 2
        for _ in range(3):
            for stream in one.asked():
                one.answer(stream)
        for each in sent:
            answer_to(each)
        assert bench.dialled == 2
        other = bench.connected()
        assert other.asked() == []

    def test_those_who_wait_share_what_was_made_for_them(self, bench: Bench) -> None:
        sent = [bench.send() for _ in range(6)]
        peers = [bench.connected(streams=2)]
        sent[3].cancel()
        TRIAL.failureResultOf(sent[3], CancelledError)
        while bench.dialled > len(peers):
            peers.append(bench.connected(streams=2))
        assert [len(peer.asked()) for peer in peers] == [2, 2, 1]
        bench.pool.close()
        for one in sent[:3] + sent[4:]:
            failure_of(one)

    def test_the_bound_of_a_peer_that_says_none_is_guessed(self, bench: Bench) -> None:
        silent = Bench(bench.engine)
        sent = [silent.send() for _ in range(3)]
        factory = silent.reactor.tcpClients[-1][2]
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 80))
        peer = Peer(protocol, bench.engine, 100)
        peer.engine.receive(peer.wire.taken())
        peer.engine.take(1 << 20)
        assert len(peer.heard.heads) == 1
        silent.reactor.advance(2)
        peer.engine.receive(peer.wire.taken())
        assert len(peer.heard.heads) == 3
        silent.pool.close()
        for one in sent:
            failure_of(one)

    def test_who_waits_when_the_pool_closes_is_told(self, bench: Bench) -> None:
        sent = [bench.send() for _ in range(3)]
        bench.connected(streams=1)
        bench.pool.close()
        for one in sent:
            assert isinstance(failure_of(one), UpstreamFailed)

    def test_many_wait_for_one_that_fails(self, bench: Bench) -> None:
        sent = [bench.send() for _ in range(20)]
        sent[3].cancel()
        TRIAL.failureResultOf(sent[3], CancelledError)
        bench.refused()
        for one in sent[:3] + sent[4:]:
            assert isinstance(failure_of(one), UpstreamFailed)
        assert bench.dialled == 1
        sent.append(bench.send())
        peer = bench.connected()
        peer.answer(peer.next())
        answer_to(sent[-1])

    def test_nobody_waits_any_more(self, bench: Bench) -> None:
        sent = bench.send()
        sent.cancel()
        TRIAL.failureResultOf(sent, CancelledError)
        peer = bench.connected()
        next_ = bench.send()
        assert bench.dialled == 1
        peer.answer(peer.next())
        answer_to(next_)

    def test_a_goaway_ends_it_after_what_is_under_way(self, bench: Bench) -> None:
        sent = bench.send()
        leaving = bench.connected()
        stream = leaving.next()
        leaving.engine.go_away()
        leaving.talk()
        later = bench.send()
        assert bench.dialled == 2
        leaving.answer(stream, b"late")
        assert rest_of(answer_to(sent).body) == b"late"
        assert leaving.wire.end == "closed"
        peer = bench.connected()
        peer.answer(peer.next())
        answer_to(later)


class TestTls:
    def test_a_pool_that_retires_lets_a_handshake_end(self, bench: Bench) -> None:
        bench = Bench(bench.engine, tls=True)
        sent = bench.send()
        peer = bench.connected()
        bench.pool.retire()
        peer.protocol.handshakeCompleted()
        peer.answer(peer.next())
        answer_to(sent)
        bench.reactor.advance(0)
        assert peer.wire.end == "closed"

    def test_an_upstream_that_chooses_http1_is_left_alone(self, bench: Bench) -> None:
        bench = Bench(bench.engine, tls=True)
        sent = [bench.send() for _ in range(5)]
        peer = bench.connected()
        peer.wire.negotiatedProtocol = b"http/1.1"
        peer.protocol.handshakeCompleted()
        assert [TRIAL.successResultOf(one) for one in sent] == [None] * 5
        assert (peer.wire.end, bench.pool.declines, bench.dialled) == ("closed", True, 1)
        bench.reactor.advance(601)
        assert not bench.pool.declines
