"""Connections that are bound to a client's: whose they are, and how both end."""

from __future__ import annotations

from base64 import b64encode

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from pool_bench import PoolBench
from twisted.internet.defer import CancelledError, Deferred
from upstream_bench import TRIAL, Wire, ok, rest_of

from buffr.errors import UpstreamFailed
from buffr.message import Headers, Request
from buffr.upstream.bound import Bonds, continues_handshake
from buffr.upstream.connection import Response
from buffr.upstream.pool import PoolLimits

NTLM = b"NTLMSSP\0"
FIRST = (b"Authorization", b"NTLM " + b64encode(NTLM + b"\1\0\0\0"))
THIRD = (b"Authorization", b"NTLM " + b64encode(NTLM + b"\3\0\0\0"))
OFFER = b"HTTP/1.1 401 Who\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
CHALLENGE = b"HTTP/1.1 401 Who\r\nWWW-Authenticate: NTLM AAAA\r\nContent-Length: 0\r\n\r\n"
SERVED = ok(b"Content-Length: 2\r\n", b"ok")


@define(eq=False)
class Client:
    """A client's connection; notes how often it was told to close."""

    bonds: set[Bonds] = field(factory=set)
    lost: bool = False
    parted: int = 0

    def part(self) -> None:
        self.parted += 1

    def leave(self) -> None:
        self.lost = True
        for bonds in list(self.bonds):
            bonds.left(self)


class Bench(PoolBench):
    """Sends the requests of clients."""

    def asks(self, client: Client | None, *fields: tuple[bytes, bytes]) -> Deferred[Response]:
        headers: Headers = ((b"Host", b"client.test"), *fields)
        sending = self.upstream.send(
            Request(b"GET", b"/p", headers), b"", lambda _: None, client=client
        )
        return Deferred.fromCoroutine(sending)

    def gets(
        self,
        client: Client | None,
        *fields: tuple[bytes, bytes],
        said: bytes = SERVED,
        wire: Wire | None = None,
    ) -> Wire:
        """A request and its answer; the connection that both went over, by default a new one."""
        before = self.dialled
        sent = self.asks(client, *fields)
        assert self.dialled - before == (wire is None)
        if wire is None:
            wire = self.connected()
        assert wire.taken()
        self.answer(wire, said)
        rest_of(TRIAL.successResultOf(sent).body)
        return wire

    def authenticated(self, client: Client | None) -> Wire:
        wire = self.gets(client, FIRST, said=CHALLENGE)
        return self.gets(client, THIRD, wire=wire)


class TestWhose:
    def test_all_legs_and_what_follows_have_one_connection(self) -> None:
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        for _ in range(3):
            bench.gets(client, wire=wire)
        assert (bench.dialled, client.parted) == (1, 0)

    def test_others_have_another(self) -> None:
        """An idle one in the pool has served nobody's credentials, and never does."""
        bench, client, other = Bench(), Client(), Client()
        pooled = bench.gets(other)
        bench.authenticated(client)
        bench.gets(other, wire=pooled)
        bench.gets(None, wire=pooled)
        bench.authenticated(other)
        assert bench.dialled == 3

    def test_the_offer_makes_it_the_clients(self) -> None:
        """Also where the whole answer came at once, so that the connection was idle already."""
        bench, client = Bench(), Client()
        wire = bench.gets(client, said=OFFER)
        bench.gets(Client())
        bench.gets(client, FIRST, said=CHALLENGE, wire=wire)

    def test_a_slow_offer_too(self) -> None:
        bench, client = Bench(), Client()
        sent = bench.asks(client)
        wire = bench.connected()
        wire.taken()
        bench.answer(wire, OFFER.replace(b"Length: 0", b"Length: 2"))
        TRIAL.successResultOf(sent)
        bench.gets(Client())
        bench.answer(wire, b"no")
        bench.gets(client, FIRST, said=CHALLENGE, wire=wire)

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
        ],
    )
    def test_other_answers_do_not(self, said: bytes) -> None:
        bench = Bench()
        wire = bench.gets(Client(), said=said)
        bench.gets(Client(), wire=wire)

    def test_without_a_client_it_is_nobodys(self) -> None:
        """buffr itself asks so at times."""
        bench = Bench()
        for wire in (bench.gets(None, said=OFFER), bench.gets(None, FIRST, said=CHALLENGE)):
            bench.reactor.advance(0)
            assert not wire.connected


class TestTheEnd:
    def test_of_the_client_is_its_connections(self) -> None:
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        client.leave()
        bench.reactor.advance(0)
        assert not wire.connected
        assert not client.bonds

    def test_of_the_client_within_an_answer_lets_that_end(self) -> None:
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        bench.asks(client)
        client.leave()
        bench.reactor.advance(0)
        assert wire.connected
        bench.answer(wire, SERVED)
        bench.reactor.advance(0)
        assert not wire.connected

    def test_of_the_client_before_the_connection_stands(self) -> None:
        bench, client = Bench(), Client()
        sent = bench.asks(client, FIRST)
        client.leave()
        wire = bench.connected()
        bench.answer(wire, CHALLENGE)
        TRIAL.successResultOf(sent)
        bench.reactor.advance(0)
        assert not wire.connected
        assert not client.bonds

    def test_of_the_connection_is_the_clients(self) -> None:
        bench, client = Bench(), Client()
        bench.authenticated(client).hang_up()
        assert client.parted == 1
        bench.gets(client)

    def test_with_an_answer_is_told_before_that_goes_out(self) -> None:
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        sent = bench.asks(client)
        bench.answer(wire, ok(b"Content-Length: 2\r\nConnection: close\r\n"))
        TRIAL.successResultOf(sent)
        assert client.parted == 1

    def test_before_a_safe_request_has_it_repeated(self) -> None:
        """As nobody's, on a new connection; the new one is the client's."""
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        sent = bench.asks(client)
        wire.hang_up()
        assert client.parted >= 1
        again = bench.connected()
        bench.answer(again, OFFER)
        assert TRIAL.successResultOf(sent).head.status == 401
        bench.gets(client, wire=again)

    def test_before_the_third_message_does_not(self) -> None:
        bench, client = Bench(), Client()
        wire = bench.gets(client, FIRST, said=CHALLENGE)
        sent = bench.asks(client, THIRD)
        wire.hang_up()
        TRIAL.failureResultOf(sent, UpstreamFailed)
        assert client.parted >= 1
        assert bench.dialled == 1

    def test_of_the_way_is_everybodys(self) -> None:
        bench, idle, busy = Bench(), Client(), Client()
        wires = [bench.authenticated(one) for one in (idle, busy)]
        sent = bench.asks(busy)
        bench.upstream.close()
        bench.reactor.advance(0)
        assert not any(wire.connected for wire in wires)
        TRIAL.failureResultOf(sent, UpstreamFailed)
        assert idle.parted >= 1
        assert busy.parted >= 1
        assert not bench.reactor.getDelayedCalls()

    def test_of_what_the_settings_said_before(self) -> None:
        """A gateway that is reloaded: what is idle goes at once, the rest with its answer."""
        bench, idle, busy = Bench(), Client(), Client()
        first, second = bench.authenticated(idle), bench.authenticated(busy)
        bench.asks(busy)
        bench.upstream.retire()
        bench.reactor.advance(0)
        assert (first.connected, second.connected) == (False, True)
        bench.answer(second, SERVED)
        bench.reactor.advance(0)
        assert not second.connected
        assert idle.parted == 1
        assert busy.parted

    def test_of_an_answer_that_was_given_up(self) -> None:
        """What follows on the client's connection does not wait for it."""
        bench, client = Bench(), Client()
        wire = bench.authenticated(client)
        sent = bench.asks(client)
        sent.addErrback(lambda failure: failure.trap(CancelledError))
        sent.cancel()
        bench.reactor.advance(0)
        assert not wire.connected
        bench.gets(client)


class TestBounds:
    def test_the_one_unused_for_longest_gives_way(self) -> None:
        bench = Bench(limits=PoolLimits(bound=2))
        clients = [Client() for _ in range(3)]
        wires = [bench.authenticated(one) for one in clients[:2]]
        bench.gets(clients[0], wire=wires[0])
        bench.authenticated(clients[2])
        bench.reactor.advance(0)
        assert [one.parted for one in clients] == [0, 1, 0]
        assert [wire.connected for wire in wires] == [True, False]

    def test_where_all_are_busy_one_more_is_not_held(self) -> None:
        """It serves its one request, and its client has to begin anew."""
        bench = Bench(limits=PoolLimits(bound=1))
        busy, more = Client(), Client()
        bench.authenticated(busy)
        bench.asks(busy)
        wire = bench.gets(more, FIRST, said=CHALLENGE)
        bench.reactor.advance(0)
        assert (busy.parted, more.parted) == (0, 1)
        assert not wire.connected

    def test_an_unused_one_is_closed_in_time(self) -> None:
        bench = Bench(limits=PoolLimits(bound_idle_s=30))
        first, second = Client(), Client()
        wires = [bench.authenticated(first)]
        bench.reactor.advance(20)
        wires.append(bench.authenticated(second))
        bench.reactor.pump([10, 0])
        assert [wire.connected for wire in wires] == [False, True]
        assert (first.parted, second.parted) == (1, 0)
        bench.gets(second, wire=wires[1])
        bench.reactor.pump([29, 0])
        assert [wire.connected for wire in wires] == [False, True]
        bench.reactor.pump([1, 0])
        assert [wire.connected for wire in wires] == [False, False]
        assert not bench.reactor.getDelayedCalls()

    def test_they_are_none_of_the_pools(self) -> None:
        """Its own bounds do not count them: nought there closes no connection between two legs."""
        bench, client = Bench(limits=PoolLimits(idle=0, idle_s=0)), Client()
        wire = bench.gets(client, FIRST, said=CHALLENGE)
        bench.reactor.advance(5)
        bench.gets(client, THIRD, wire=wire)


class TestContinuesHandshake:
    """Whether only the connection that sent the challenge can take the credentials."""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (b"NTLM " + b64encode(NTLM + b"\3\0\0\0" + bytes(300)), True),
            (b"ntlm  " + b64encode(NTLM + b"\3\0\0\0"), True),
            (b"Negotiate " + b64encode(NTLM + b"\3\0\0\0"), True),
            (b"Negotiate " + b64encode(b"\xa1\x81\x10" + bytes(20)), True),
            (b"NTLM " + b64encode(NTLM + b"\1\0\0\0" + bytes(300)), False),
            (b"Negotiate " + b64encode(b"\x60\x81\x10" + bytes(20)), False),
            (b"NTLM", False),
            (b"NTLM ", False),
            (b"NTLM TYPE3", False),
            (b"Basic dTpw", False),
            (b"Bearer a.b.c", False),
        ],
    )
    def test_by_its_message(self, value: bytes, expected: bool) -> None:
        headers = ((b"Authorization", value),)
        assert continues_handshake(Request(b"GET", b"/", headers)) is expected

    @given(st.binary(max_size=200))
    def test_never_fails(self, value: bytes) -> None:
        continues_handshake(Request(b"GET", b"/", ((b"authorization", value),)))
