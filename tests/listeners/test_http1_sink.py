"""Answers on the client's wire: framed for its version, kept alive or closed, whole or cut."""

from __future__ import annotations

import pytest
from client_bench import TRIAL, Bench, get, statuses
from client_bench import clients_leave as _clients_leave  # noqa: F401  # a fixture
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buffr.errors import (
    BadRequest,
    BuffrError,
    ClientGone,
    KeyNeeded,
    NoMatch,
    NoSuchRoute,
    RateLimited,
)
from buffr.message import Headers, Piece, ResponseHead

LENGTH = (b"Content-Length", b"5")
CODED = (b"Transfer-Encoding", b"chunked")
TRAILER = (b"Trailer", b"X-T")
TRAILERS: Headers = ((b"X-T", b"1"),)
PIECES = (Piece(b"he", 3), Piece(b"l"), Piece(b"lo", 2))
CHUNKS = b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"


def requested(version: bytes = b"1.1", method: bytes = b"GET", fields: bytes = b"") -> Bench:
    """A connection with one request under way."""
    return Bench().send(get(fields=fields, version=version).replace(b"GET", method))


def head(*headers: tuple[bytes, bytes], status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"OK", headers)


def in_steps(bench: Bench, answer: ResponseHead) -> bytes:
    sink = bench.exchanges[0].sink
    sink.begin(answer)
    for piece in PIECES:
        sink.write(piece)
    sink.end(TRAILERS)
    return bench.received()


def at_once(bench: Bench, answer: ResponseHead) -> bytes:
    bench.exchanges[0].sink.answer(answer, b"hello", [3, 2], TRAILERS)
    return bench.received()


FRAMED = [
    (b"1.1", b"GET", b"", (LENGTH,), (LENGTH,), b"", b"hello"),
    (b"1.1", b"GET", b"", (CODED, TRAILER), (CODED, TRAILER), b"", CHUNKS),
    (b"1.1", b"GET", b"close", (LENGTH,), (LENGTH,), b"close", b"hello"),
    (b"1.1", b"GET", b"close", (CODED,), (CODED,), b"close", CHUNKS),
    (b"1.1", b"HEAD", b"", (LENGTH,), (LENGTH,), b"", b""),
    (b"1.1", b"HEAD", b"", (CODED,), (CODED,), b"", b""),
    (b"1.1", b"HEAD", b"", (), (), b"", b""),
    (b"1.0", b"GET", b"", (LENGTH,), (LENGTH,), b"close", b"hello"),
    (b"1.0", b"GET", b"keep-alive", (LENGTH,), (LENGTH,), b"keep-alive", b"hello"),
    (b"1.0", b"GET", b"keep-alive", (CODED, TRAILER), (), b"close", b"hello"),
    (b"1.0", b"GET", b"", (CODED,), (), b"close", b"hello"),
    (b"1.0", b"GET", b"keep-alive", (), (), b"close", b"hello"),
    (b"1.0", b"HEAD", b"keep-alive", (LENGTH,), (LENGTH,), b"keep-alive", b""),
    (b"1.0", b"HEAD", b"keep-alive", (CODED,), (), b"keep-alive", b""),
]


class TestFraming:
    @pytest.mark.parametrize("stepwise", [False, True])
    @pytest.mark.parametrize(
        ("version", "method", "asked", "headers", "sent", "persistence", "body"), FRAMED
    )
    def test_for_the_clients_version(
        self,
        version: bytes,
        method: bytes,
        asked: bytes,
        headers: Headers,
        sent: Headers,
        persistence: bytes,
        body: bytes,
        *,
        stepwise: bool,
    ) -> None:
        """Fields, persistence and body are as this client can take them (RFC 9112 6)."""
        fields = b"Connection: " + asked + b"\r\n" if asked else b""
        bench = requested(version, method, fields)
        received = (in_steps if stepwise else at_once)(bench, head(*headers))
        if persistence:
            sent = (*sent, (b"Connection", persistence))
        lines = b"".join(b"%b: %b\r\n" % field for field in sent)
        assert received == b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + body
        assert bench.end() == ("closed" if persistence == b"close" else "open")

    def test_a_body_of_no_known_length(self) -> None:
        """HTTP/1.1 gets it in chunks, one for each piece, and the connection lives on."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.begin(head())
        for data in (b"ab", b"", b"cde"):
            sink.write(Piece(data))
        sink.end(())
        chunks = b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
        coding = b"Transfer-Encoding: chunked\r\n\r\n"
        assert bench.received() == b"HTTP/1.1 200 OK\r\n" + coding + chunks
        assert bench.end() == "open"

    @pytest.mark.parametrize("version", [b"1.0", b"1.1"])
    @pytest.mark.parametrize("status", [204, 304])
    def test_answers_without_a_body(self, version: bytes, status: int) -> None:
        """Nothing follows the head, whatever the fields say."""
        bench = requested(version, fields=b"Connection: keep-alive\r\n")
        received = at_once(bench, head((b"ETag", b"x"), status=status))
        assert received.endswith(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in received
        assert bench.end() == "open"

    @given(st.lists(st.binary(min_size=1, max_size=9)), st.sampled_from([b"1.0", b"1.1"]))
    def test_at_once_and_in_steps(self, chunks: list[bytes], version: bytes) -> None:
        """Both ways give the same bytes."""
        body, sizes = b"".join(chunks), [len(chunk) for chunk in chunks]
        for headers in ((CODED,), ((b"Content-Length", b"%d" % len(body)),)):
            one, other = requested(version), requested(version)
            one.exchanges[0].sink.answer(head(*headers), body, sizes, ())
            sink = other.exchanges[0].sink
            sink.begin(head(*headers))
            for chunk in chunks:
                sink.write(Piece(chunk, len(chunk)))
            sink.end(())
            assert one.received() == other.received()


class TestHead:
    def test_it_waits_for_the_first_piece(self) -> None:
        """Both go out in one write."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.begin(head(LENGTH))
        assert bench.received() == b""
        sink.write(Piece(b"he"))
        assert bench.received().endswith(b"\r\n\r\nhe")
        sink.write(Piece(b"llo"))
        assert bench.received() == b"llo"

    def test_it_does_not_wait_for_nothing(self) -> None:
        """Flushed it goes out alone, and once."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.begin(head(LENGTH))
        sink.flush()
        assert bench.received().endswith(b"\r\n\r\n")
        sink.flush()
        sink.write(Piece(b"hello"))
        sink.end(())
        assert bench.received() == b"hello"


class TestInterim:
    HINTS = ResponseHead(103, b"Early Hints", ((b"Link", b"</a>"),))

    def test_before_the_answer(self) -> None:
        """A 1.1 client gets each one."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.inform(ResponseHead(100, b"Continue", ()))
        sink.inform(self.HINTS)
        raw = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert bench.received() == raw
        bench.exchanges[0].answer()
        assert statuses(bench.received()) == [200]

    def test_http_1_0_knows_none(self) -> None:
        """It would take the first one for the answer."""
        bench = requested(b"1.0")
        bench.exchanges[0].sink.inform(self.HINTS)
        assert bench.received() == b""

    def test_not_behind_the_head(self) -> None:
        """An answer that has begun is not interrupted."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.begin(head(LENGTH))
        sink.inform(self.HINTS)
        sink.flush()
        sink.inform(self.HINTS)
        assert statuses(bench.received()) == [200]


class TestAbort:
    @pytest.mark.parametrize("written", [0, 1])
    def test_the_client_can_tell(self, written: int) -> None:
        """What is here goes out, and the connection closes without an end of the body."""
        bench = requested()
        sink = bench.exchanges[0].sink
        sink.begin(head(CODED))
        for piece in PIECES[:written]:
            sink.write(piece)
        sink.abort()
        received = bench.received()
        assert statuses(received) == [200]
        assert not received.endswith(b"0\r\n\r\n")
        assert bench.end() == "closed"

    def test_until_close(self) -> None:
        """A body that the close would end is cut by a reset instead."""
        bench = requested(b"1.0")
        sink = bench.exchanges[0].sink
        sink.begin(head())
        sink.write(Piece(b"hel"))
        sink.abort()
        assert bench.end() == "cut"

    def test_behind_the_end(self) -> None:
        """A whole answer stays whole, and so does the next one."""
        bench = Bench().send(get() * 2)
        first = bench.exchanges[0].sink
        first.answer(head(LENGTH), b"hello", [5], ())
        first.abort()
        first.refuse(NoMatch("late"))
        bench.exchanges[1].answer()
        assert statuses(bench.received()) == [200, 200]
        assert bench.end() == "open"


class TestRefuse:
    @pytest.mark.parametrize(("version", "persistence"), [(b"1.1", b""), (b"1.0", b"close")])
    def test_words(self, version: bytes, persistence: bytes) -> None:
        """Status and reason of the error, and its message and hint as text."""
        bench = requested(version)
        bench.exchanges[0].sink.refuse(NoMatch("nothing é", hint="record it"))
        text = "buffr: nothing é; record it\n".encode()
        received = bench.received()
        assert received.startswith(b"HTTP/1.1 599 No Recorded Interaction\r\nContent-Type: text/pl")
        assert b"Content-Length: %d\r\n" % len(text) in received
        assert received.endswith(b"\r\n\r\n" + text)
        assert (b"Connection: close" in received) is bool(persistence)

    @pytest.mark.parametrize(
        ("error", "phrase"),
        [
            (KeyNeeded("no key"), b"Unauthorized: buffr: no key\n"),
            (NoSuchRoute("no route"), b"Not Found: buffr: no route\n"),
            (RateLimited("later", 7, ()), b"Too Many Requests: buffr: later; try again in 7 s\n"),
        ],
    )
    def test_phrases_that_clients_look_for_come_first(
        self, error: BuffrError, phrase: bytes
    ) -> None:
        """reference-api-buddy's texts of 401, 404 and 429 begin with the reason phrase."""
        bench = requested()
        bench.exchanges[0].sink.refuse(error)
        assert bench.received().endswith(b"\r\n\r\n" + phrase)

    def test_head(self) -> None:
        """A HEAD request gets the fields without the words."""
        bench = requested(method=b"HEAD")
        bench.exchanges[0].sink.refuse(NoMatch("nothing"))
        received = bench.received()
        assert received.endswith(b"\r\n\r\n")
        assert b"Content-Length: 15\r\n" in received

    def test_that_ends_the_connection(self) -> None:
        """Where nobody can tell where the next request begins, none is read."""
        bench = Bench().send(get() * 2)
        bench.exchanges[0].sink.refuse(BadRequest("odd"))
        assert b"Connection: close\r\n" in bench.received()
        assert len(bench.exchanges) == 1
        assert bench.end() == "half closed"


class TestDrain:
    def test_with_room(self) -> None:
        """Nobody waits while the client reads."""
        TRIAL.successResultOf(requested().exchanges[0].sink.drain())

    def test_it_waits_for_the_client(self) -> None:
        """A full client is waited for, again and again."""
        bench = requested()
        sink = bench.exchanges[0].sink
        for _ in range(2):
            bench.full()
            waiting = Deferred.fromCoroutine(sink.drain())
            TRIAL.assertNoResult(waiting)
            bench.drained()
            TRIAL.successResultOf(waiting)

    def test_the_client_leaves(self) -> None:
        """Who waits for room hears that there will be none."""
        bench = requested()
        bench.full()
        waiting = Deferred.fromCoroutine(bench.exchanges[0].sink.drain())
        bench.leave()
        TRIAL.failureResultOf(waiting, ClientGone)
        TRIAL.failureResultOf(bench.exchanges[0].sink.drain(), ClientGone)
