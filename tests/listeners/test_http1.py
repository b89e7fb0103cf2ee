"""A client's connection: requests one at a time and in order, and what a client may do to it."""

from __future__ import annotations

from typing import cast

import pytest
from attrs import evolve
from client_bench import LIMITS, TRIAL, Bench, Exchange, get, post, rest_of, statuses
from client_bench import clients_leave as _clients_leave  # noqa: F401  # a fixture
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol

from buffr.errors import BadFraming, BuffrError, ClientGone, NoMatch
from buffr.listeners.client import ConnectionLimits
from buffr.listeners.http1 import TRANSITIONS, State
from buffr.message import CHUNKED, Piece, ResponseHead
from buffr.upstream.bound import Bonds
from buffr.wire.http1_head import HeadLimits
from buffr.wire.http1_requests import HeadMemo


async def _read_on(exchange: Exchange) -> None:
    while await exchange.stream.read() is not None:
        pass


CODED = b"Transfer-Encoding: chunked\r\n"


class TestPipelining:
    def test_one_at_a_time_and_in_order(self) -> None:
        """The second request waits for the first answer, however slow that is."""
        bench = Bench().send(get(b"/1") + get(b"/2") + get(b"/3"))
        assert bench.targets() == [b"/1"]
        bench.exchanges[0].answer(b"one")
        assert bench.targets() == [b"/1", b"/2"]
        bench.exchanges[1].answer(b"two")
        bench.exchanges[2].answer(b"three")
        assert [part[-5:] for part in bench.received().split(b"HTTP/1.1")[1:]] == [
            b"\r\none",
            b"\r\ntwo",
            b"three",
        ]
        assert bench.end() == "open"

    def test_hundreds_in_a_segment(self) -> None:
        """Answers without waiting follow each other without end and without recursion."""
        bench = Bench(prompt=True).send(get() * 2000)
        assert statuses(bench.received()) == [200] * 2000

    def test_requests_behind_bodies(self) -> None:
        """Every framing tells where the next request begins."""
        chunked = b"POST /2 HTTP/1.1\r\nHost: h\r\n" + CODED + b"\r\n1\r\nx\r\n0\r\n\r\n"
        raw = post(b"GET /no HTTP/1.1\r\n\r\n", b"/1") + chunked + get(b"/3")
        for bench in (Bench(prompt=True).send(raw), Bench(prompt=True).bytewise(raw)):
            assert bench.targets() == [b"/1", b"/2", b"/3"]
            assert statuses(bench.received()) == [200] * 3

    def test_a_client_that_does_not_read(self) -> None:
        """While answers wait for the client no further request is begun; then they go on."""
        bench = Bench().send(get(b"/1") + get(b"/2") + get(b"/3"))
        bench.full()
        bench.exchanges[0].answer()
        assert bench.targets() == [b"/1"]
        bench.drained()
        assert bench.targets() == [b"/1", b"/2"]
        bench.exchanges[1].answer()
        bench.exchanges[2].answer()
        assert statuses(bench.received()) == [200] * 3

    def test_a_client_that_does_not_read_at_all(self) -> None:
        """Answers that wait too long for their reader end the connection."""
        bench = Bench().send(get() * 3)
        bench.full()
        bench.exchanges[0].answer()
        bench.later(29)
        assert bench.end() == "open"
        bench.later(3)
        assert bench.end() == "cut"
        assert 408 not in statuses(bench.received())


class TestBuffer:
    def test_bounded_while_an_answer_is_due(self) -> None:
        """Above the bound the client is held back; it goes on when there is room."""
        bench = Bench().send(get(b"/1"), get(b"/2") * 60)
        assert bench.paused()
        for number in range(50):
            bench.exchanges[number].answer()
        assert not bench.paused()
        assert len(bench.exchanges) == 51

    def test_bounded_while_answers_wait_for_their_reader(self) -> None:
        """A client that only sends is held back too; it goes on when it has read."""
        bench = Bench().send(get(b"/1"))
        bench.full()
        bench.exchanges[0].answer()
        bench.send(get(b"/2") * 20)
        assert not bench.paused()
        bench.send(get(b"/2") * 40)
        assert bench.paused()
        bench.drained()
        for number in range(1, 61):
            bench.exchanges[number].answer()
        assert not bench.paused()

    def test_a_held_client_stays_held_for_a_slow_body(self) -> None:
        """What waited was the next request's body: its reader decides, not the buffer."""
        bench = Bench().send(get(b"/1"))
        head = b"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n"
        bench.send(head + b"x" * 100_000)
        assert bench.paused()
        bench.exchanges[0].answer()
        assert bench.targets() == [b"/1", b"/2"]
        assert bench.paused()
        assert len(rest_of(bench.exchanges[1].stream)) == 100_000
        assert not bench.paused()

    def test_a_read_body_does_not_let_a_full_buffer_loose(self) -> None:
        """Pipelined requests over the bound hold the client, whatever its body's reader does."""
        bench = Bench()
        bench.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n")
        bench.send(b"x" * 70_000 + get() * 40)
        bench.send(get())
        assert bench.paused()
        rest_of(bench.exchanges[0].stream)
        assert bench.paused()
        bench.exchanges[0].answer()
        for number in range(1, 40):
            bench.exchanges[number].answer()
        assert not bench.paused()


class TestHead:
    @pytest.mark.parametrize("raw", [get(), post(b"hello"), b"\r\n" + get(), b"\r\n" * 8 + get()])
    def test_byte_by_byte(self, raw: bytes) -> None:
        """Cuts make no difference; some empty lines before a request are forgiven."""
        bench = Bench().bytewise(raw[:-1])
        assert bench.exchanges == []
        bench.send(raw[-1:])
        assert len(bench.exchanges) == 1

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            (b"\0", 400),
            (b" GET / HTTP/1.1\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01", 400),
            (b"\n", 400),
            (b"\r\r", 400),
            (b"GET / HTTP/1.1\nHost: h\n\n", 400),
            (b"GET / HTTP/1.1\r\nX-A: b\n", 400),
            (b"GET / HTTP/1.1\r\nX-A: b\rc", 400),
            (b"\r\n" * 9 + get(), 400),
            (b"\r\n" * 1000, 400),
            (b"A" * 3000, 431),
            (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 3000, 431),
            (get(fields=b"X-A: " + b"a" * 2000 + b"\r\n"), 431),
            (get(fields=b"X: y\r\n" * 20), 431),
            (get(version=b"2.0"), 505),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (get(fields=b"Expect: magic\r\n"), 417),
            (get(fields=CODED + b"Content-Length: 1\r\n"), 400),
        ],
    )
    @pytest.mark.parametrize("whole", [False, True])
    def test_refused(self, raw: bytes, status: int, *, whole: bool) -> None:
        """As soon as no further byte can mend it: one answer, a close, and no handler."""
        bench = Bench()
        bench.send(raw) if whole else bench.bytewise(raw)
        received = bench.received()
        assert statuses(received) == [status]
        assert b"Connection: close\r\n" in received
        assert (bench.exchanges, len(bench.refusals)) == ([], 1)
        assert bench.end() == "half closed"
        bench.send(get() * 3)
        assert (bench.exchanges, bench.received()) == ([], b"")

    def test_requests_before_a_bad_one(self) -> None:
        """They are answered first, in order."""
        bench = Bench().send(get(b"/1") + b"BAD\r\n\r\n" + get(b"/3"))
        bench.exchanges[0].answer()
        assert statuses(bench.received()) == [200, 400]
        assert bench.targets() == [b"/1"]

    def test_in_time(self) -> None:
        """A head that trickles in has so much time as a whole, and then gets 408."""
        bench = Bench()
        for byte in get()[:19]:
            bench.send(bytes([byte])).later(1)
        assert bench.received() == b""
        bench.send(b"x").later(3)
        assert statuses(bench.received()) == [408]
        assert bench.end() == "half closed"

    def test_in_time_behind_an_answer(self) -> None:
        """The time of a head that came early begins with the answer before it."""
        bench = Bench().send(get() + b"GET /2")
        bench.later(200)
        bench.exchanges[0].answer()
        bench.later(19)
        assert statuses(bench.received()) == [200]
        bench.later(3)
        assert statuses(bench.received()) == [408]

    def test_without_bounds(self) -> None:
        """Zero means that it waits for ever."""
        bench = Bench(ConnectionLimits(idle_s=0, head_s=0, body_idle_s=0, half_close_s=0))
        bench.later(2000).send(b"GET /").later(2000)
        assert (bench.received(), bench.end()) == (b"", "open")


class TestMemo:
    HEADS = (
        *(get(), get(fields=b"X: y\r\n"), post(b"hello"), get(version=b"1.0"), b"\r\n" + get()),
        *(get(fields=b"X : y\r\n"), get(fields=b"Expect: x\r\n"), get(b"/#"), get(version=b"3.0")),
        post(b"", fields=CODED),
    )

    @pytest.mark.parametrize("raw", HEADS)
    def test_warm_is_as_cold(self, raw: bytes) -> None:
        """The third connection that sends a head gets what the first one got."""
        memo = HeadMemo()
        cold, _, warm = (Bench(prompt=True, memo=memo).send(raw) for _ in range(3))
        assert warm.received() == cold.received()
        assert warm.targets() == cold.targets()
        assert warm.end() == cold.end()

    def test_what_is_remembered_is_framed_anew(self) -> None:
        """A head's parse is shared; its body is not."""
        memo = HeadMemo()
        for body in (b"hello", b"world", b"again"):
            bench = Bench(memo=memo).send(post(body))
            assert bench.exchanges[0].body == body


class TestBody:
    def test_a_small_one_is_waited_for(self) -> None:
        """The exchange starts when the body is all here."""
        bench = Bench().bytewise(post(b"hello")[:-1])
        assert bench.exchanges == []
        bench.send(b"o")
        assert bench.exchanges[0].body == b"hello"

    @pytest.mark.parametrize(
        ("fields", "length"),
        [
            (b"Content-Length: 65537\r\n", 65537),
            (CODED, CHUNKED),
            (b"Content-Length: 5\r\nExpect: 100-continue\r\n", 5),
        ],
    )
    def test_others_stream(self, fields: bytes, length: int) -> None:
        """Large and chunked ones, and those that wait to be asked for, start with their head."""
        bench = Bench().send(get(fields=fields))
        assert bench.exchanges[0].request.body_length == length
        TRIAL.assertNoResult(bench.exchanges[0].stream.read())

    def test_chunks_and_trailers(self) -> None:
        """They come through as they were sent."""
        bench = Bench().send(get(fields=CODED))
        bench.bytewise(b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n" + get(b"/2"))
        stream = bench.exchanges[0].stream
        sizes = [TRIAL.successResultOf(stream.read()) for _ in range(5)]
        assert [piece.chunk for piece in sizes if piece is not None] == [3, None, None, 2, None]
        assert rest_of(stream) == b""
        assert stream.trailers == ((b"X-T", b"1"),)
        bench.exchanges[0].answer()
        assert bench.targets() == [b"/", b"/2"]

    def test_back_pressure(self) -> None:
        """A slow handler holds the client back."""
        bench = Bench().send(get(fields=b"Content-Length: 900000\r\n"))
        bench.send(b"x" * 60_000)
        assert not bench.paused()
        bench.send(b"x" * 60_000)
        assert bench.paused()
        rest_of(bench.exchanges[0].stream)
        assert not bench.paused()

    @pytest.mark.parametrize("whole", [False, True])
    def test_broken_framing(self, *, whole: bool) -> None:
        """The handler hears of it, the client gets 400 and a close; what follows is not read."""
        bench = Bench()
        head, bad = get(fields=CODED), b"2\r\nab\r\nzz\r\n" + get(b"/2")
        bench.send(head + bad) if whole else bench.send(head, bad)
        exchange = bench.exchanges[0]
        failure = TRIAL.failureResultOf(exchange.stream.read(), BadFraming)
        exchange.over.errback(failure)
        assert statuses(bench.received()) == [400]
        assert bench.end() == "half closed"
        assert bench.targets() == [b"/"]

    def test_a_body_that_was_not_read(self) -> None:
        """Its answer goes out, and the connection ends: the rest would be taken for a request."""
        bench = Bench().send(get(fields=b"Content-Length: 900000\r\n") + b"x" * 100_000)
        bench.exchanges[0].answer(b"too large", status=413)
        received = bench.received()
        assert statuses(received) == [413]
        assert bench.end() == "half closed"
        assert not bench.paused()
        bench.send(get(b"/2"))
        assert bench.targets() == [b"/"]

    def test_a_body_that_is_here_and_was_not_read(self) -> None:
        """It is dropped, and the next request is served."""
        bench = Bench().send(get(fields=CODED) + b"2\r\nab\r\n0\r\n\r\n")
        bench.exchanges[0].answer()
        bench.send(get(b"/2"))
        assert bench.targets() == [b"/", b"/2"]
        assert bench.end() == "open"

    @pytest.mark.parametrize("streamed", [False, True])
    def test_in_time(self, *, streamed: bool) -> None:
        """Silence inside a body is bounded, each byte begins it anew, and the client is cut off."""
        fields = CODED if streamed else b"Content-Length: 50\r\n"
        bench = Bench().send(get(fields=fields) + (b"ff\r\n" if streamed else b""))
        for _ in range(10):
            bench.later(29).send(b"x")
        assert bench.end() == "open"
        bench.later(32)
        assert bench.end() in ("cut", "half closed")
        assert statuses(bench.received()) in ([], [408])

    @pytest.mark.parametrize(
        "head",
        [get(fields=CODED) + b"ffff\r\n", get(fields=b"Content-Length: 50000\r\n")],
        ids=["streamed", "waited for"],
    )
    @pytest.mark.parametrize(
        ("each", "after_s", "in_time"), [(1, 20, False), (9, 290, False), (11, 400, True)]
    )
    def test_at_a_rate(self, head: bytes, each: int, after_s: int, *, in_time: bool) -> None:
        """A body that trickles in without a pause is refused after a while; a faster one is not."""
        bench = Bench(evolve(LIMITS, body_bytes_per_s=10)).send(head)
        if streams := bool(bench.exchanges):
            reading = Deferred.fromCoroutine(_read_on(bench.exchanges[0]))
            reading.addErrback(bench.exchanges[0].over.errback)
        for _ in range(after_s):
            bench.send(b"x" * each).later(1)
        assert bench.received() == b""
        for _ in range(20):
            bench.send(b"x" * each).later(1)
        assert statuses(bench.received()) == ([] if in_time else [408])
        assert streams or in_time or bench.exchanges == []

    def test_at_a_rate_while_it_is_answered(self) -> None:
        """Then both sides may be talking: a client is silent until it has something to say."""
        bench = Bench(evolve(LIMITS, body_bytes_per_s=10)).send(get(fields=CODED) + b"ffff\r\n")
        sink = bench.exchanges[0].sink
        sink.begin(ResponseHead(200, b"OK", ((b"Content-Length", b"2"),)))
        for _ in range(100):
            bench.send(b"x").later(1)
        assert bench.end() == "open"

    def test_a_slow_handler_is_not_the_clients_fault(self) -> None:
        """A client that is held back, or that waits for its answer, has all the time it needs."""
        bench = Bench().send(get(fields=b"Content-Length: 900000\r\n") + b"x" * 100_000)
        bench.later(500)
        rest_of(bench.exchanges[0].stream)
        bench.later(29).send(b"x" * 800_000)
        rest_of(bench.exchanges[0].stream)
        bench.later(500)
        assert bench.end() == "open"
        bench.exchanges[0].answer()
        assert statuses(bench.received()) == [200]


class TestIdle:
    def test_it_ends(self) -> None:
        """A connection without a request is closed after its time, without a word."""
        bench = Bench().later(69)
        assert bench.end() == "open"
        bench.later(3)
        assert (bench.end(), bench.received()) == ("cut", b"")
        assert bench.known == []

    def test_each_answer_begins_it_anew(self) -> None:
        """The time counts from the last answer."""
        bench = Bench()
        for number in range(3):
            bench.send(get()).later(200)
            bench.exchanges[number].answer()
            bench.later(69)
        assert bench.end() == "open"


class TestLingering:
    def test_what_comes_is_dropped(self) -> None:
        """After a refusal our side is closed, and the client's bytes lead nowhere."""
        bench = Bench().send(b"BAD\r\n\r\n")
        assert bench.end() == "half closed"
        for _ in range(100):
            bench.send(b"x" * 10_000)
        assert (bench.exchanges, bench.connection._buffer) == ([], b"")
        assert not bench.paused()

    def test_a_client_that_was_held_back(self) -> None:
        """What it still sends is read and dropped, so that it can read its answer."""
        bench = Bench().send(get(fields=b"Connection: close\r\n") + get() * 60)
        bench.send(get())
        assert bench.paused()
        bench.exchanges[0].answer()
        assert bench.end() == "half closed"
        assert not bench.paused()

    @pytest.mark.parametrize("talks", [False, True])
    def test_for_a_while(self, *, talks: bool) -> None:
        """A client that never closes is cut off, also when it goes on sending."""
        bench = Bench().send(b"BAD\r\n\r\n")
        for _ in range(40):
            if talks and bench.wire.connected:
                bench.send(b"x")
            bench.later(1)
        assert bench.end() == "cut"

    def test_the_client_closes(self) -> None:
        """That is the end."""
        bench = Bench().send(b"BAD\r\n\r\n")
        bench.half_close()
        bench.wire.turn()
        assert bench.end() == "closed"
        assert bench.known == []

    def test_nothing_unread_nothing_to_wait_for(self) -> None:
        """Where the whole request was read, the connection is simply closed."""
        bench = Bench().send(get(fields=b"Connection: close\r\n"))
        bench.exchanges[0].answer()
        assert bench.end() == "closed"
        assert b"Connection: close\r\n" in bench.received()
        bench.wire.turn()
        assert bench.known == []


class TestHalfClose:
    def test_answers_still_come(self) -> None:
        """A client that sends no more gets all that it asked for, then a close."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.half_close()
        bench.exchanges[0].answer()
        assert bench.end() == "open"
        bench.exchanges[1].answer()
        received = bench.received()
        assert statuses(received) == [200, 200]
        assert received.count(b"Connection: close") == 1
        assert bench.end() == "closed"

    @pytest.mark.parametrize("sent", [b"", b"GET / HT", post(b"hello")[:-2]])
    def test_a_client_that_is_owed_nothing(self, sent: bytes) -> None:
        """It is closed at once, also with a request that can no longer become whole."""
        bench = Bench()
        if sent:
            bench.send(sent)
        bench.half_close()
        bench.wire.turn()
        assert bench.end() == "closed"
        assert bench.known == []

    def test_part_of_a_request_behind_the_last(self) -> None:
        """It is not waited for when the answer before it is out."""
        bench = Bench().send(get(b"/1") + b"GET /2 HT")
        bench.half_close()
        bench.exchanges[0].answer()
        assert statuses(bench.received()) == [200]
        assert bench.end() == "closed"

    def test_a_body_that_is_not_whole(self) -> None:
        """The exchange is over: its body breaks off."""
        bench = Bench().send(get(fields=CODED) + b"5\r\nhel")
        stream = bench.exchanges[0].stream
        bench.half_close()
        assert bench.exchanges[0].cancelled
        TRIAL.successResultOf(stream.read())
        TRIAL.failureResultOf(stream.read(), ClientGone)
        assert bench.end() in ("closed", "cut")

    def test_in_time(self) -> None:
        """An answer that takes too long for such a client is given up; progress counts."""
        bench = Bench().send(get())
        bench.half_close()
        exchange = bench.exchanges[0]
        bench.later(9)
        exchange.sink.begin(ResponseHead(200, b"OK", ((b"Content-Length", b"5"),)))
        exchange.sink.flush()
        bench.later(9)
        assert bench.end() == "open"
        bench.later(3)
        assert bench.end() == "cut"
        assert exchange.cancelled

    @pytest.mark.parametrize(
        ("sent", "gone"),
        [
            (get(), True),
            (get(fields=b"Connection: close\r\n"), False),
            (get(version=b"1.0"), False),
            (get(b"/1") + get(b"/2"), False),
        ],
    )
    def test_before_an_answer_begins(self, sent: bytes, *, gone: bool) -> None:
        """A client with no reason to close one side has closed both: it is soon given up.

        Where it said that this is its last request, or sent more, the end of
        what it sends may be only that.
        """
        bench = Bench().send(sent)
        bench.half_close()
        for call in bench.after_called:
            call()
        assert bench.end() == ("cut" if gone else "open")
        bench.wire.turn()
        assert bench.exchanges[0].cancelled is gone

    def test_an_answer_has_begun(self) -> None:
        """Then it is not cut short."""
        bench = Bench().send(get())
        bench.half_close()
        sink = bench.exchanges[0].sink
        sink.begin(ResponseHead(200, b"OK", ((b"Content-Length", b"2"),)))
        for call in bench.after_called:
            call()
        sink.write(Piece(b"ok", None))
        sink.end(())
        assert bench.received().endswith(b"ok")
        assert not bench.exchanges[0].cancelled

    def test_answers_that_wait_for_their_reader(self) -> None:
        """Pipelined requests of a client that reads slowly are served all the same."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.full()
        bench.exchanges[0].answer()
        bench.half_close()
        assert bench.end() == "open"
        bench.drained()
        bench.exchanges[1].answer()
        assert statuses(bench.received()) == [200, 200]
        assert bench.end() == "closed"


class TestLeaving:
    @pytest.mark.parametrize("reset", [False, True])
    def test_in_the_middle_of_a_pipeline(self, *, reset: bool) -> None:
        """The running exchange is cancelled, and the waiting ones never start."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.leave(reset=reset)
        assert bench.exchanges[0].cancelled
        assert bench.targets() == [b"/1"]
        assert bench.known == []

    def test_while_it_is_waited_for(self) -> None:
        """Who waits for room in its buffers hears of it."""
        bench = Bench().send(get())
        bench.full()
        draining = bench.exchanges[0].sink.drain()
        waiting = TRIAL.assertNoResult(draining)
        bench.leave()
        assert waiting is None
        assert bench.exchanges[0].cancelled

    def test_inside_its_body(self) -> None:
        """The reader of the body hears of it."""
        bench = Bench().send(get(fields=CODED) + b"5\r\nhel")
        bench.leave()
        stream = bench.exchanges[0].stream
        TRIAL.successResultOf(stream.read())
        TRIAL.failureResultOf(stream.read(), ClientGone)

    def test_before_anything(self) -> None:
        """Nothing is left of it."""
        bench = Bench()
        assert bench.known == [bench.connection]
        bench.leave()
        assert bench.known == []

    def test_an_answer_that_comes_too_late(self) -> None:
        """It goes nowhere, and disturbs nobody."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        exchange = bench.exchanges[0]
        bench.leave()
        exchange.answer()
        assert bench.targets() == [b"/1"]


class TestStop:
    def test_nothing_under_way(self) -> None:
        """The connection is closed at once."""
        bench = Bench()
        bench.stopping = True
        bench.connection.stop()
        bench.wire.turn()
        assert bench.known == []

    def test_part_of_a_head(self) -> None:
        """What is not a request yet is none."""
        bench = Bench().send(b"GET /")
        bench.stopping = True
        bench.connection.stop()
        assert bench.end() == "closed"

    def test_an_exchange_under_way(self) -> None:
        """It is answered, with the word that this is the last; what waits behind it is not."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.stopping = True
        bench.connection.stop()
        assert bench.end() == "open"
        bench.exchanges[0].answer()
        assert b"Connection: close" in bench.received()
        assert bench.targets() == [b"/1"]
        assert bench.end() in ("closed", "half closed")

    def test_an_answer_under_way(self) -> None:
        """An answer whose head had promised more requests is the last one all the same."""
        bench = Bench().send(get())
        sink = bench.exchanges[0].sink
        sink.begin(ResponseHead(200, b"OK", ((b"Content-Length", b"0"),)))
        sink.flush()
        bench.stopping = True
        bench.connection.stop()
        assert bench.end() == "open"
        sink.end(())
        bench.exchanges[0].finish()
        assert bench.end() == "closed"
        bench.wire.turn()
        assert bench.known == []


class TestFaults:
    def test_an_error_is_an_answer(self) -> None:
        """Status, reason and words; the connection serves on where the error allows it."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.exchanges[0].over.errback(NoMatch("nothing matches", hint="record it"))
        received = bench.received()
        assert received.startswith(b"HTTP/1.1 599 No Recorded Interaction\r\n")
        assert received.endswith(b"buffr: nothing matches; record it\n")
        assert bench.targets() == [b"/1", b"/2"]

    def test_a_defect_is_an_answer(self) -> None:
        """No client hangs because of a fault of ours, and none sees its words."""
        bench = Bench().send(get())
        bench.exchanges[0].over.errback(ZeroDivisionError("secret"))
        received = bench.received()
        assert statuses(received) == [500]
        assert b"secret" not in received

    @pytest.mark.parametrize("error", [NoMatch("late"), BuffrError("late"), ValueError("late")])
    def test_behind_a_begun_answer(self, error: Exception) -> None:
        """The connection ends with the body open: half an answer is never taken for a whole one."""
        bench = Bench().send(get() * 2)
        exchange = bench.exchanges[0]
        exchange.sink.begin(ResponseHead(200, b"OK", ((b"Transfer-Encoding", b"chunked"),)))
        exchange.sink.flush()
        exchange.over.errback(error)
        assert statuses(bench.received()) == [200]
        assert bench.end() == "closed"
        assert len(bench.exchanges) == 1

    def test_behind_a_whole_answer(self) -> None:
        """The client has its answer; the next one is not harmed."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        exchange = bench.exchanges[0]
        head = ResponseHead(200, b"OK", ((b"Content-Length", b"0"),))
        exchange.sink.answer(head, b"", (), ())
        exchange.over.errback(BuffrError("late"))
        assert bench.targets() == [b"/1", b"/2"]
        bench.exchanges[1].answer()
        assert statuses(bench.received()) == [200, 200]
        assert bench.end() == "open"

    def test_client_gone(self) -> None:
        """Somebody else noticed that the client left: the connection is cut."""
        bench = Bench().send(get())
        bench.exchanges[0].over.errback(ClientGone("gone"))
        assert (bench.end(), bench.received()) == ("cut", b"")


class TestHostileBytes:
    _PARTS = st.sampled_from(
        [
            *(get(b"/1"), get(b"/2", b"Connection: close\r\n"), get(b"/3", version=b"1.0")),
            *(
                post(b"hello", b"/4"),
                get(b"/5", CODED) + b"2\r\nab\r\n0\r\n\r\n",
                get(b"/6", CODED),
            ),
            *(b"5\r\n", b"\r\n", b"\n", b"\r", b"\0", b"GET ", b"0\r\n\r\n", b"Host: x\r\n", b"x"),
            *(post(b"x" * 70_000, b"/7"), get(b"/8", b"Expect: 100-continue\r\n")),
        ]
    )

    @given(st.data(), st.lists(_PARTS | st.binary(max_size=20), max_size=6))
    def test_cuts_make_no_difference(self, data: st.DataObject, parts: list[bytes]) -> None:
        """The same requests reach the handler, and as many answers the client."""
        raw = b"".join(parts)
        places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
        cut = [raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True)]
        limits = ConnectionLimits(HeadLimits(2000, 20), buffer_bytes=1000)
        one, other = Bench(limits, prompt=True).send(raw), Bench(limits, prompt=True).send(*cut)
        assert other.targets() == one.targets()
        assert len(statuses(other.received())) == len(statuses(one.received()))
        assert (other.end() == "open") is (one.end() == "open")
        for bench in (one, other):
            bench.later(1000)
            assert bench.known == []


class TestParting:
    """The connection that a client takes for authenticated ends with that of the upstream."""

    def test_at_once_where_nothing_is_under_way(self) -> None:
        bench = Bench().send(get(b"/1"))
        bench.exchanges[0].answer()
        assert bench.end() == "open"
        bench.connection.part()
        assert bench.end() == "closed"

    def test_behind_the_answer_which_says_so(self) -> None:
        """What is pipelined behind is not begun: it would go to somebody else."""
        bench = Bench().send(get(b"/1") + get(b"/2"))
        bench.connection.part()
        assert bench.end() == "open"
        bench.exchanges[0].answer(b"one")
        assert b"Connection: close\r\n" in bench.received()
        assert bench.targets() == [b"/1"]
        assert bench.end() in ("closed", "half closed")

    def test_behind_an_answer_that_has_begun(self) -> None:
        """Its head said nothing of it yet."""
        bench = Bench().send(get(b"/1"))
        sink = bench.exchanges[0].sink
        sink.begin(ResponseHead(200, b"OK", ((b"Content-Length", b"2"),)))
        sink.write(Piece(b"o"))
        bench.connection.part()
        sink.write(Piece(b"k"))
        sink.end(())
        bench.exchanges[0].finish()
        assert bench.received().endswith(b"\r\n\r\nok")
        assert bench.end() == "closed"

    def test_tells_what_is_bound_to_it(self) -> None:
        """When it is lost, and when it goes on in another protocol."""
        for end in ("lost", "handed over"):
            bench = Bench().send(get(b"/1"))
            bonds = _Bonds()
            bench.connection.bonds.add(cast("Bonds", bonds))
            if end == "lost":
                bench.leave()
            else:
                bench.connection.hand_over(Protocol())
            assert bonds.told == [bench.connection]


class _Bonds:
    def __init__(self) -> None:
        self.told: list[object] = []

    def left(self, client: object) -> None:
        self.told.append(client)


class TestStates:
    def test_every_state_can_be_reached_and_left(self) -> None:
        """But for the last one, which all others can come to."""
        reached: set[State] = set()
        ahead = {State.IDLE}
        while ahead:
            reached |= ahead
            ahead = {after for state in ahead for after in TRANSITIONS[state]} - reached
        assert reached == set(State) == set(TRANSITIONS)
        assert [state for state in State if State.CLOSED not in TRANSITIONS[state]] == [
            State.CLOSED
        ]
