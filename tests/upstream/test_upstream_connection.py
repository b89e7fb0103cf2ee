"""A connection to an upstream: requests go out, answers come in, whatever the upstream does."""

from __future__ import annotations

import pytest
from attrs import evolve
from twisted.internet.defer import CancelledError
from upstream_bench import RULES, TRIAL, Bench, Given, broken, ok, read_on, rest_of, stream

from buffr.errors import (
    BadFraming,
    BadUpstreamAnswer,
    BodyCutShort,
    ClientGone,
    UpstreamFailed,
    UpstreamTimeout,
)
from buffr.message import CHUNKED, UNTIL_CLOSE, Piece
from buffr.upstream.connection import Patience

LENGTH = b"Content-Length: 5\r\n"
CODED = b"Transfer-Encoding: chunked\r\n"
HELLO = ok(LENGTH, b"hello")


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


class TestKeepAlive:
    def test_one_request_after_another(self) -> None:
        """The connection is free when an answer is all here, and takes the next request."""
        bench = Bench()
        assert bench.wire.no_delay
        for number in range(1, 4):
            response = bench.answered(HELLO)
            assert (response.head.status, response.length, bench.served()) == (200, 5, number)
            assert rest_of(response.body) == b"hello"
            assert bench.wire.taken() == b"GET / HTTP/1.1\r\n\r\n"
        assert not bench.wire.disconnecting

    def test_byte_by_byte(self) -> None:
        """Cuts make no difference to head, body and reuse."""
        bench = Bench()
        sent = bench.send()
        head, body = HELLO[:-5], HELLO[-5:]
        bench.receive(*bytewise(head)[:-1])
        TRIAL.assertNoResult(sent)
        bench.receive(head[-1:])
        response = TRIAL.successResultOf(sent)
        assert not bench.served()
        bench.receive(*bytewise(body))
        assert bench.served() == 1
        assert rest_of(response.body) == b"hello"

    @pytest.mark.parametrize(
        ("answer", "again"),
        [
            (HELLO, True),
            (ok(CODED, b"5\r\nhello\r\n0\r\n\r\n"), True),
            (ok(LENGTH + b"Connection: close\r\n", b"hello"), False),
            (ok(LENGTH + b"Connection: x, CLOSE\r\n", b"hello"), False),
            (HELLO.replace(b"1.1", b"1.0"), False),
            (ok(LENGTH + b"Connection: keep-alive\r\n", b"hello").replace(b"1.1", b"1.0"), True),
            (HELLO + b"HTTP/1.1 200 OK\r\n", False),
            (HELLO + b"\r\n", False),
        ],
    )
    def test_when_it_can_be_used_again(self, answer: bytes, *, again: bool) -> None:
        """Not when either side closes, nor when bytes came that nobody asked for."""
        bench = Bench()
        assert rest_of(bench.answered(answer).body) == b"hello"
        assert (bench.served(), bench.wire.disconnecting) == (again, not again)
        bench.clock.advance(0)
        assert bench.closed is not again

    def test_bytes_while_idle(self) -> None:
        """They would answer the next request: the connection is given up."""
        bench = Bench()
        bench.answered(HELLO)
        bench.receive(HELLO)
        assert bench.wire.disconnected
        assert bench.closed

    def test_the_upstream_closes_while_idle(self) -> None:
        """The pool hears of it."""
        bench = Bench()
        bench.answered(HELLO)
        bench.wire.hang_up()
        assert bench.closed


class TestFraming:
    @pytest.mark.parametrize(
        ("method", "head"),
        [
            (b"HEAD", ok(LENGTH)),
            (b"HEAD", ok(CODED)),
            (b"HEAD", ok()),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\n" + LENGTH + b"\r\n"),
            (b"GET", ok(b"Content-Length: 0\r\n")),
        ],
    )
    def test_no_body(self, method: bytes, head: bytes) -> None:
        """The answer is whole with its head."""
        bench = Bench()
        response = bench.answered(head, method=method)
        assert (response.length, bench.served()) == (0, 1)
        assert rest_of(response.body) == b""

    @pytest.mark.parametrize("cut", [False, True])
    def test_chunked(self, *, cut: bool) -> None:
        """The sender's chunks and trailers come through."""
        raw = ok(CODED, b"3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        bench = Bench()
        response = bench.answered(*(bytewise(raw) if cut else [raw]))
        assert response.length == CHUNKED
        assert rest_of(response.body) == b"abcde"
        assert response.body.trailers == ((b"X-T", b"1"),)
        assert bench.served() == 1

    def test_until_close(self) -> None:
        """An orderly close ends the body and the connection."""
        bench = Bench()
        response = bench.answered(ok(body=b"hel"))
        assert response.length == UNTIL_CLOSE
        bench.receive(b"lo")
        assert [read_on(response.body), read_on(response.body)] == [b"hel", b"lo"]
        bench.wire.hang_up()
        assert rest_of(response.body) == b""
        assert (bench.served(), bench.closed) == (0, True)


class TestInterim:
    HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

    @pytest.mark.parametrize("cut", [False, True])
    def test_they_are_passed_on(self, *, cut: bool) -> None:
        """In their order, with their fields, before the answer."""
        raw = b"HTTP/1.1 100 Continue\r\n\r\n" + self.HINTS + HELLO
        bench = Bench()
        response = bench.answered(*(bytewise(raw) if cut else [raw]))
        assert [head.status for head in bench.informed] == [100, 103]
        assert bench.informed[1].headers == ((b"Link", b"</a>"),)
        assert rest_of(response.body) == b"hello"

    def test_they_are_bounded(self) -> None:
        """An upstream that never comes to its answer is given up."""
        bench = Bench()
        sent = bench.send()
        bench.receive(self.HINTS * 20_000 + HELLO)
        assert isinstance(bench.fails(sent), BadUpstreamAnswer)
        assert len(bench.informed) == 32

    def test_as_many_as_the_bound_allows(self) -> None:
        """The bound holds for one request, not for the connection."""
        bench = Bench()
        for _ in range(2):
            assert rest_of(bench.answered(self.HINTS * 32 + HELLO).body) == b"hello"

    def test_the_bound_is_a_setting(self) -> None:
        bench = Bench(rules=evolve(RULES, interim=2))
        sent = bench.send()
        bench.receive(self.HINTS * 3 + HELLO)
        assert len(bench.informed) == 2
        assert "limits.interim_answers" in str(bench.fails(sent))

    def test_nobody_asked_to_switch(self) -> None:
        """101 without an upgrade is no answer."""
        bench = Bench()
        sent = bench.send()
        bench.receive(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw")
        assert isinstance(bench.fails(sent), BadUpstreamAnswer)


class TestRepaired:
    """Heads that a proxy may repair: the answer is as it would be, and the connection the last."""

    @pytest.mark.parametrize(
        "answer",
        [
            ok(LENGTH, b"hello").replace(b"\r\n", b"\n"),
            ok(LENGTH + LENGTH, b"hello"),
            ok(b"X-A: b\r\n c\r\n" + LENGTH, b"hello"),
            ok(b"Content-Length : 5\r\n", b"hello"),
            ok(b"Transfer-Encoding: identity\r\n" + LENGTH, b"hello"),
            ok(CODED + b"Content-Length: 99\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
            ok(CODED + CODED, b"5\r\nhello\r\n0\r\n\r\n"),
            b"HTTP/1.1 103 Hints\n\n" + HELLO,
        ],
    )
    @pytest.mark.parametrize("cut", [False, True])
    def test_the_connection_is_closed_behind_the_answer(self, answer: bytes, *, cut: bool) -> None:
        """What an upstream sends behind it might be another's answer by its own count."""
        bench = Bench()
        response = bench.answered(*(bytewise(answer) if cut else [answer]))
        assert rest_of(response.body) == b"hello"
        assert response.faults
        assert (bench.served(), bench.wire.disconnecting) == (0, True)

    def test_bytes_behind_it_belong_to_nobody(self) -> None:
        bench = Bench()
        response = bench.answered(ok(LENGTH + LENGTH, b"hello" + HELLO))
        assert rest_of(response.body) == b"hello"
        assert not bench.served()
        bench.clock.advance(0)
        assert bench.closed

    def test_a_setting_refuses_it(self) -> None:
        bench = Bench(rules=evolve(RULES, lenient=False))
        sent = bench.send()
        bench.receive(ok(LENGTH + LENGTH, b"hello"))
        error = bench.fails(sent)
        assert type(error) is BadUpstreamAnswer
        assert "the same Content-Length more than once" in error.message
        assert "lenient" in error.hint


class TestBroken:
    @pytest.mark.parametrize("data", [b"", b"H", HELLO[:20]])
    def test_no_answer(self, data: bytes) -> None:
        """A close before the head is whole is a failure of the upstream."""
        bench = Bench()
        sent = bench.send()
        if data:
            bench.receive(data)
        bench.wire.hang_up()
        error = bench.fails(sent)
        assert type(error) is UpstreamFailed
        assert bench.connection.answered is bool(data)

    @pytest.mark.parametrize(
        "data",
        [
            b"hello there\r\n\r\n",
            b"HTTP/1.1 9999 X\r\n\r\n",
            ok(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"hi"),
            ok(b"Content-Length: 2\r\nTransfer-Encoding: gzip, chunked\r\n", b"hi"),
            ok(b"X-A: b\rX-B: c\r\n"),
            ok(b"X: y\r\n" * 21),
            ok(b"X: " + b"a" * 1000 + b"\r\n"),
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1000,
            b"\0" * 1001,
        ],
    )
    def test_malformed_head(self, data: bytes) -> None:
        """What is no head, or over the bounds, is refused, and nothing is read behind it."""
        bench = Bench()
        sent = bench.send()
        bench.receive(data)
        assert type(bench.fails(sent)) is BadUpstreamAnswer

    @pytest.mark.parametrize(
        "answer", [ok(b"Content-Length: 9\r\n", b"hello"), ok(CODED, b"5\r\nhello\r\n")]
    )
    @pytest.mark.parametrize("reset", [False, True])
    def test_truncated(self, answer: bytes, *, reset: bool) -> None:
        """What came is read, and then that the rest is missing."""
        bench = Bench()
        response = bench.answered(answer)
        if reset:
            bench.wire.reset()
        else:
            bench.wire.hang_up()
        assert read_on(response.body) == b"hello"
        TRIAL.failureResultOf(response.body.read(), BodyCutShort)
        assert (bench.served(), bench.closed) == (0, True)

    def test_until_close_broken_off(self) -> None:
        """Only an orderly close ends a body that has no other end."""
        bench = Bench()
        response = bench.answered(ok(body=b"hello"))
        bench.wire.reset()
        assert read_on(response.body) == b"hello"
        TRIAL.failureResultOf(response.body.read(), BodyCutShort)

    @pytest.mark.parametrize("at_once", [False, True])
    def test_bad_chunk(self, *, at_once: bool) -> None:
        """The body breaks off where its framing does, also in the segment of the head."""
        bench = Bench()
        head, bad = ok(CODED), b"zz\r\nhi\r\n0\r\n\r\n"
        response = bench.answered(*([head + bad] if at_once else [head, bad]))
        TRIAL.failureResultOf(response.body.read(), BadUpstreamAnswer)
        assert bench.wire.disconnected
        assert bench.closed

    def test_after_the_break_nothing_counts(self) -> None:
        """Bytes and closes behind a failure change nothing."""
        bench = Bench()
        response = bench.answered(ok(CODED, b"zz\r\n"))
        bench.receive(HELLO)
        bench.clock.advance(0)
        TRIAL.failureResultOf(response.body.read(), BadUpstreamAnswer)
        assert not bench.served()


class TestRequestBody:
    PIECES = (Piece(b"ab", 3), Piece(b"c"), Piece(b"de", 2))

    def test_bytes(self) -> None:
        """A body that is all here goes out with the head."""
        bench = Bench()
        bench.send(b"hello", method=b"POST")
        assert bench.wire.taken() == b"POST / HTTP/1.1\r\n\r\nhello"

    @pytest.mark.parametrize(
        ("chunked", "wire"),
        [(False, b"abcde"), (True, b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")],
    )
    def test_reader(self, *, chunked: bool, wire: bytes) -> None:
        """Pieces go out as they are, or in the chunks that they came in."""
        bench = Bench()
        sent = bench.send(Given(*self.PIECES, trailers=((b"X-T", b"1"),)), chunked=chunked)
        assert bench.wire.taken() == b"GET / HTTP/1.1\r\n\r\n" + wire
        bench.receive(HELLO)
        assert rest_of(TRIAL.successResultOf(sent).body) == b"hello"

    def test_reuse_after_a_body_that_was_all_here(self) -> None:
        """A spooled body that goes out without waiting leaves the connection usable."""
        bench = Bench()
        sent = bench.send(Given(*self.PIECES))
        bench.receive(HELLO)
        TRIAL.successResultOf(sent)
        assert (bench.served(), bench.wire.disconnecting) == (1, False)

    def test_reuse_after_a_body_that_came_slowly(self) -> None:
        """So does one that went out piece by piece."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        body.feed(self.PIECES)
        body.finish()
        assert bench.wire.taken().endswith(b"abcde")
        bench.receive(HELLO)
        TRIAL.successResultOf(sent)
        assert bench.served() == 1

    def test_back_pressure(self) -> None:
        """While the upstream does not read, nothing more is read from the client."""
        bench, asked = Bench(), list[Piece]()

        class Counted(Given):
            async def read(self) -> Piece | None:
                piece = await super().read()
                if piece is not None:
                    asked.append(piece)
                return piece

        bench.connection.pauseProducing()
        sent = bench.send(Counted(*self.PIECES))
        assert len(asked) == 1
        bench.connection.resumeProducing()
        assert len(asked) == 3
        bench.receive(HELLO)
        TRIAL.successResultOf(sent)
        assert bench.served() == 1

    def test_a_body_that_breaks_off(self) -> None:
        """The request cannot be ended: the connection is cut, and the cause told."""
        bench, body = Bench(), stream()
        sent = bench.send(body, chunked=True)
        body.feed(self.PIECES)
        body.fail(BadFraming("bad chunk"))
        assert isinstance(bench.fails(sent), BadFraming)
        assert b"0\r\n" not in bench.wire.taken()

    def test_a_body_that_breaks_off_behind_the_answers_head(self) -> None:
        """The answer, which may depend on the rest, breaks off too."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        bench.receive(ok(LENGTH, b"he"))
        response = TRIAL.successResultOf(sent)
        body.fail(ClientGone("gone"))
        assert read_on(response.body) == b"he"
        TRIAL.failureResultOf(response.body.read(), ClientGone)
        assert bench.wire.disconnected


class TestEarlyAnswer:
    def test_the_rest_of_the_body_is_not_sent(self) -> None:
        """An answer that is whole before its request ends the connection, not the answer."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        bench.receive(HELLO)
        response = TRIAL.successResultOf(sent)
        assert rest_of(response.body) == b"hello"
        assert (bench.served(), bench.wire.disconnecting) == (0, True)
        bench.wire.taken()
        body.feed([Piece(b"late")])
        assert bench.wire.taken() == b""

    def test_the_body_goes_on_while_the_answer_comes(self) -> None:
        """Both directions flow at once, and the connection serves on when both are over."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        bench.receive(ok(CODED, b"1\r\na\r\n"))
        response = TRIAL.successResultOf(sent)
        bench.wire.taken()
        body.feed([Piece(b"x")])
        assert bench.wire.taken() == b"x"
        assert read_on(response.body) == b"a"
        body.finish()
        assert not bench.served()
        bench.receive(b"0\r\n\r\n")
        assert bench.served() == 1

    def test_the_upstream_waits_no_longer(self) -> None:
        """It closes while the body is still going out: the answer is whole all the same."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        bench.receive(ok(body=b"too large"))
        response = TRIAL.successResultOf(sent)
        bench.wire.hang_up()
        assert rest_of(response.body) == b"too large"
        assert bench.closed


class TestBackPressure:
    def test_a_slow_reader_holds_the_upstream(self) -> None:
        """Reading stops above the bound, and goes on when the reader has caught up."""
        bench = Bench()
        response = bench.answered(ok(b"Content-Length: 300000\r\n"))
        bench.receive(b"x" * 60_000)
        assert bench.wire.producerState == "producing"
        bench.receive(b"x" * 60_000)
        assert bench.wire.producerState == "paused"
        read_on(response.body)
        read_on(response.body)
        assert bench.wire.producerState == "producing"

    def test_the_end_of_a_body_holds_nobody(self) -> None:
        """A body that is all here, but not read, does not keep the next answer from coming."""
        bench = Bench()
        slow = bench.answered(ok(b"Content-Length: 100000\r\n"), b"x" * 100_000)
        assert bench.served() == 1
        assert bench.wire.producerState == "producing"
        quick = bench.answered(HELLO)
        assert rest_of(quick.body) == b"hello"
        assert len(rest_of(slow.body)) == 100_000

    def test_a_paused_body_that_ends(self) -> None:
        """Bytes that were on their way may end a body that is paused: the wire flows again."""
        bench = Bench()
        slow = bench.answered(ok(b"Content-Length: 200000\r\n"), b"x" * 100_000)
        assert bench.wire.producerState == "paused"
        bench.receive(b"x" * 100_000)
        assert (bench.served(), bench.wire.producerState) == (1, "producing")
        assert len(rest_of(slow.body)) == 200_000

    def test_an_old_body_has_no_say(self) -> None:
        """When it is read at last, the answer that comes now is not let loose."""
        bench = Bench()
        old = bench.answered(ok(b"Content-Length: 100000\r\n"), b"x" * 100_000)
        new = bench.answered(ok(b"Content-Length: 200000\r\n"), b"x" * 100_000)
        assert bench.wire.producerState == "paused"
        assert len(rest_of(old.body)) == 100_000
        assert bench.wire.producerState == "paused"
        assert read_on(new.body) == b"x" * 100_000
        assert bench.wire.producerState == "producing"

    def test_a_reader_behind_a_closed_connection(self) -> None:
        """Nothing is resumed that is gone."""
        bench = Bench()
        response = bench.answered(ok(b"Content-Length: 300000\r\n"), b"x" * 100_000)
        bench.wire.reset()
        read_on(response.body)
        assert bench.wire.producerState == "paused"
        TRIAL.failureResultOf(response.body.read(), BodyCutShort)


class TestPatience:
    def test_silence_before_the_head(self) -> None:
        """An upstream that says nothing for the bound is given up."""
        bench = Bench(Patience(idle_s=10))
        sent = bench.send()
        bench.clock.advance(9.9)
        TRIAL.assertNoResult(sent)
        bench.clock.advance(0.2)
        error = bench.fails(sent)
        assert isinstance(error, UpstreamTimeout)
        assert "silent for 10 s" in error.message

    def test_each_byte_counts(self) -> None:
        """Whoever says something now and then is not silent."""
        bench = Bench(Patience(idle_s=10))
        sent = bench.send()
        for byte in bytewise(HELLO[:-1]):
            bench.clock.advance(9)
            bench.receive(byte)
        response = TRIAL.successResultOf(sent)
        bench.clock.advance(11)
        data, error = broken(response.body)
        assert (data, type(error)) == (b"hell", UpstreamTimeout)

    def test_sending_counts(self) -> None:
        """As long as the body goes out, no answer is due."""
        bench, body = Bench(Patience(idle_s=10)), stream()
        sent = bench.send(body)
        for _ in range(5):
            bench.clock.advance(9)
            body.feed([Piece(b"x")])
        TRIAL.assertNoResult(sent)
        bench.clock.advance(11)
        assert isinstance(bench.fails(sent), UpstreamTimeout)

    def test_our_own_slowness_does_not_count(self) -> None:
        """While the reader holds the answer back the upstream cannot speak; then it can again."""
        bench = Bench(Patience(idle_s=10))
        response = bench.answered(ok(b"Content-Length: 300000\r\n"), b"x" * 100_000)
        for _ in range(10):
            bench.clock.advance(9)
        assert len(read_on(response.body)) == 100_000
        bench.clock.advance(9)
        assert bench.wire.connected
        bench.clock.advance(9)
        TRIAL.failureResultOf(response.body.read(), UpstreamTimeout)

    @pytest.mark.parametrize("idle_s", [0, 10])
    def test_the_whole_answer(self, idle_s: float) -> None:
        """The total is a bound whatever goes on."""
        bench = Bench(Patience(idle_s=idle_s, total_s=30))
        response = bench.answered(ok(b"Content-Length: 99\r\n"))
        for _ in range(6):
            bench.clock.advance(4.9)
            bench.receive(b"x")
        bench.clock.advance(1)
        assert bench.wire.disconnected
        data, error = broken(response.body)
        assert data == b"x" * 6
        assert "took over 30 s" in error.message

    def test_nothing_is_left_ticking(self) -> None:
        """Between requests no time runs out, and the next request has its own.

        One timer serves them all: it would cost each of them more to stop it.
        """
        bench = Bench(Patience(idle_s=10, total_s=20))
        for _ in range(3):
            assert rest_of(bench.answered(HELLO).body) == b"hello"
            assert len(bench.clock.getDelayedCalls()) == 1
            assert rest_of(bench.answered(HELLO).body) == b"hello"
            assert len(bench.clock.getDelayedCalls()) == 1
            bench.clock.advance(1000)
            assert bench.clock.getDelayedCalls() == []
        bench.send()
        bench.wire.hang_up()
        assert bench.clock.getDelayedCalls() == []

    def test_without_bounds(self) -> None:
        """Zero means that it waits for ever."""
        bench = Bench(Patience(idle_s=0, total_s=0))
        bench.send()
        assert bench.clock.getDelayedCalls() == []


class TestGivenUp:
    def test_before_the_head(self) -> None:
        """Cancelling a request cuts its connection; a late answer reaches nobody."""
        bench, body = Bench(), stream()
        sent = bench.send(body)
        sent.cancel()
        TRIAL.failureResultOf(sent, CancelledError)
        assert bench.wire.disconnected
        assert bench.closed
        bench.receive(HELLO)
        bench.clock.advance(0)
        assert not bench.served()
        bench.wire.taken()
        body.feed([Piece(b"late")])
        assert bench.wire.taken() == b""

    def test_inside_the_body(self) -> None:
        """An answer that is not all here is aborted with its connection."""
        bench = Bench()
        response = bench.answered(ok(LENGTH, b"he"))
        response.abort()
        assert bench.wire.disconnected
        assert broken(response.body)[0] == b"he"

    def test_behind_the_body(self) -> None:
        """An answer that is all here leaves the connection to others."""
        bench = Bench()
        old = bench.answered(HELLO)
        old.abort()
        assert not bench.wire.disconnected
        new = bench.answered(ok(LENGTH))
        old.abort()
        assert not bench.wire.disconnected
        bench.receive(b"world")
        assert rest_of(new.body) == b"world"


class TestHandshake:
    def test_plain(self) -> None:
        """A connection without TLS is ready at once."""
        TRIAL.successResultOf(Bench().connection.ready)

    def test_with_tls(self) -> None:
        """With TLS it is ready when that is, once."""
        bench = Bench(tls=True)
        TRIAL.assertNoResult(bench.connection.ready)
        bench.connection.handshakeCompleted()
        TRIAL.successResultOf(bench.connection.ready)
        bench.connection.handshakeCompleted()

    def test_lost_in_the_handshake(self) -> None:
        """Who waits for it hears why it will not come."""
        bench = Bench(tls=True)
        bench.wire.reset()
        failure = TRIAL.failureResultOf(bench.connection.ready, UpstreamFailed)
        assert "dropped the connection" in failure.value.message
