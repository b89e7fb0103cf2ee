"""What an upstream answers reaches the client as it was sent: live, and in every replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bench import Bench, Place, eventually
from raw_http import Answer, BrokenAnswer, RawClient, ask, request

from buffr.testing import Received, Step, answer, chunked, steps

REPLAYS = ("auto", "replay")
"""The route that recorded, now from its memory; and another process, from the cassette."""


def live_and_replayed(place: Place, raw: bytes = b"") -> list[Answer]:
    """The same request fetched, and replayed by each of ``REPLAYS``."""
    answers = [place.ask(route, raw) for route in ("auto", *REPLAYS)]
    assert len(place.received()) == 1
    return answers


class TestHeads:
    """Seed defect 13: order, case, duplicates and chunk boundaries were lost."""

    def test_order_case_and_duplicates_are_kept_and_nothing_is_added(self, place: Place) -> None:
        raw = (
            b"HTTP/1.1 200 OK\r\n"
            b"x-b: 1\r\n"
            b"X-A: 2\r\n"
            b"content-TYPE: text/plain\r\n"
            b"X-Dup: first\r\n"
            b"date: yesterday\r\n"
            b"x-dup: second\r\n"
            b"X-Empty: \r\n"
            b"X-UTF-8: caf\xc3\xa9\r\n"
            b"X-Dup: first\r\n"
            b"Content-Length: 5\r\n"
            b"\r\n"
        )
        place.answers(raw + b"hello")
        for got in live_and_replayed(place):
            assert got.head == raw
            assert got.body == b"hello"

    def test_bytes_that_are_no_text_are_kept(self, place: Place) -> None:
        raw = b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Latin: caf\xe9\r\nContent-Length: 3\r\n\r\n"
        place.answers(raw + b"\xff\x00\xfe")
        for got in live_and_replayed(place):
            assert got.head == raw
            assert got.body == b"\xff\x00\xfe"

    @pytest.mark.parametrize(
        "line",
        [b"200 OK", b"200 Fine by me", b"299 Odd", b"404 Nope", b"200 ", b"418 I'm a teapot"],
    )
    def test_the_reason_phrase_is_kept(self, place: Place, line: bytes) -> None:
        place.answers(answer(b"x", line))
        for got in live_and_replayed(place):
            assert got.line == b"HTTP/1.1 " + line

    def test_hop_by_hop_fields_stay_behind(self, place: Place) -> None:
        hop = [
            (b"Keep-Alive", b"timeout=9"),
            (b"Connection", b"X-Mine"),
            (b"X-Mine", b"1"),
            (b"Upgrade", b"h2c"),
            (b"X-Kept", b"1"),
        ]
        place.answers(answer(b"x", headers=hop))
        for got in live_and_replayed(place):
            assert got.headers == ((b"X-Kept", b"1"), (b"Content-Length", b"1"))

    def test_an_encoded_body_is_not_decoded(self, place: Place) -> None:
        """The client that asked for no coding gets what the upstream sent all the same."""
        encoded = bytes.fromhex("1f8b0800000000000203cb48cdc9c9070086a6103605000000")
        place.answers(answer(encoded, headers=[(b"Content-Encoding", b"gzip")]))
        for got in live_and_replayed(place):
            assert got.body == encoded
            assert got.header(b"Content-Encoding") == b"gzip"


class TestFraming:
    def test_chunk_boundaries_and_trailers_are_kept(self, place: Place) -> None:
        chunks = [b"one", b"t", b"w" * 70_000, b"o\r\n\r\n"]
        fields = [(b"Trailer", b"X-Sum"), (b"X-A", b"1")]
        trailers = [(b"X-Sum", b"7"), (b"x-sum", b"8"), (b"Set-By", b"me")]
        place.answers(lambda _: chunked(chunks, fields, trailers=trailers))
        for got in live_and_replayed(place):
            assert got.chunks == tuple(chunks)
            assert got.trailers == tuple(trailers)
            assert got.headers == (*fields, (b"Transfer-Encoding", b"chunked"))

    def test_chunks_that_arrive_together_stay_apart(self, place: Place) -> None:
        """All in one segment: the boundaries are the sender's, not the network's."""
        together = b"".join(step for step in chunked([b"a", b"bc"]) if isinstance(step, bytes))
        place.answers(together)
        for got in live_and_replayed(place):
            assert got.chunks == (b"a", b"bc")

    def test_an_answer_that_ends_with_the_connection_becomes_chunked(self, place: Place) -> None:
        """So that the client can tell its end from a break."""
        place.answers(lambda _: steps(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhello ", b"world", None))
        for got in live_and_replayed(place):
            assert got.body == b"hello world"
            assert got.headers == ((b"X-A", b"1"), (b"Transfer-Encoding", b"chunked"))

    def test_an_answer_of_http_1_0_is_understood(self, place: Place) -> None:
        place.answers(lambda _: steps(b"HTTP/1.0 200 OK\r\n\r\nold", None))
        for got in live_and_replayed(place):
            assert got.line == b"HTTP/1.1 200 OK"
            assert got.body == b"old"

    def test_an_empty_chunked_answer_is_whole(self, place: Place) -> None:
        place.answers(lambda _: chunked([]))
        for got in live_and_replayed(place):
            assert got.chunks == ()

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    def test_statuses_without_a_body_have_none(
        self, bench: Bench, place: Place, status: bytes
    ) -> None:
        """Their length, where they give one, is not waited for; the connection goes on."""
        length = b"" if status.startswith(b"204") else b"Content-Length: 7\r\n"
        place.answers(b"HTTP/1.1 %b\r\nETag: x\r\n%b\r\n" % (status, length))
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(2 * request(place.path))
                for _ in range(2):
                    got = client.answer()
                    assert got.line == b"HTTP/1.1 " + status
                    assert got.header(b"ETag") == b"x"
        assert len(place.received()) == 1

    def test_the_answer_to_head_keeps_its_length_and_has_no_body(
        self, bench: Bench, place: Place
    ) -> None:
        place.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: 1\r\n\r\n")
        head = request(place.path, method=b"HEAD")
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(2 * head)
                for _ in range(2):
                    got = client.answer(b"HEAD")
                    assert got.headers == ((b"Content-Length", b"1234"), (b"X-A", b"1"))
        assert len(place.received()) == 1

    def test_head_of_a_chunked_answer(self, bench: Bench, place: Place) -> None:
        place.answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        head = request(place.path, method=b"HEAD")
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(2 * head)
                for _ in range(2):
                    assert client.answer(b"HEAD").header(b"Transfer-Encoding") == b"chunked"
        assert len(place.received()) == 1

    def test_the_upstreams_connection_is_used_again(self, bench: Bench, place: Place) -> None:
        place.answers(lambda _: chunked([b"a"], trailers=[(b"T", b"1")]))
        place.ask("passthrough")
        before = bench.upstream.connections
        for _ in range(5):
            assert place.ask("passthrough").body == b"a"
        assert bench.upstream.connections == before


class TestInterimAnswers:
    HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"

    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    def test_they_are_relayed_as_they_come(self, bench: Bench, place: Place, route: str) -> None:
        place.answers(lambda _: steps(self.HINTS, self.HINTS, answer(b"final")))
        got = place.ask(route)
        assert got.interim == (self.HINTS, self.HINTS)
        assert got.body == b"final"

    def test_a_client_of_http_1_0_gets_none(self, place: Place) -> None:
        """It would take one for the answer (RFC 9110 15.2)."""
        place.answers(lambda _: steps(self.HINTS, answer(b"final")))
        got = place.ask("auto", b"GET %b HTTP/1.0\r\n\r\n" % place.path)
        assert got.interim == ()
        assert got.body == b"final"

    def test_an_answer_behind_them_is_recorded_without(self, place: Place) -> None:
        place.answers(lambda _: steps(self.HINTS, answer(b"final")))
        assert [got.body for got in live_and_replayed(place)] == 3 * [b"final"]


class TestOldClients:
    """HTTP/1.0 knows no chunks, and closes unless it is asked to stay."""

    def test_a_chunked_answer_comes_bare_and_ends_with_the_connection(
        self, bench: Bench, place: Place
    ) -> None:
        place.answers(lambda _: chunked([b"one ", b"two"], [(b"Trailer", b"T")]))
        for port in (bench.port("auto"), bench.port("auto"), bench.port("replay")):
            with RawClient(port) as client:
                client.send(b"GET %b HTTP/1.0\r\nHost: client.test\r\n\r\n" % place.path)
                got = client.answer()
                assert got.headers == ((b"Connection", b"close"),)
                assert got.body == b"one two"
        assert len(place.received()) == 1

    def test_without_host_the_upstream_still_gets_one(self, bench: Bench, place: Place) -> None:
        place.answers(answer(b"ok"))
        got = place.ask("auto", b"GET %b HTTP/1.0\r\n\r\n" % place.path)
        assert got.body == b"ok"
        assert place.received()[0].header(b"Host") == b"127.0.0.1:%d" % bench.upstream.port

    def test_a_connection_that_is_to_stay_stays(self, bench: Bench, place: Place) -> None:
        place.answers(answer(b"ok"))
        raw = b"GET %b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % place.path
        with RawClient(bench.port("auto")) as client:
            for _ in range(2):
                client.send(raw)
                got = client.answer()
                assert (got.body, got.header(b"Connection")) == (b"ok", b"keep-alive")


CUTS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhalf",
    "before the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "in a chunk's end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r",
    "in the trailers": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n"
    ),
    "event stream": (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\nhalf\r\n"
    ),
}


class TestBrokenAnswers:
    """Seed defect 11: a stream that broke was recorded as whole, and ended cleanly live."""

    @pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
    def test_the_client_sees_the_break_and_it_is_never_replayed_as_whole(
        self, place: Place, cut: bytes
    ) -> None:
        def script(_: Received) -> bytes | Iterator[Step]:
            return steps(cut, None) if len(place.received()) == 1 else answer(b"whole")

        place.answers(script)
        with pytest.raises(BrokenAnswer) as broken:
            place.ask("auto")
        assert b"half" in broken.value.received
        kept = eventually(place.recorded)
        assert len(kept) == 1
        assert kept[0]["end"]["reason"]
        assert place.ask("replay").status == 599
        assert place.ask("auto").body == b"whole"
        assert place.ask("auto").body == b"whole"
        assert place.ask("replay").body == b"whole"
        assert len(place.received()) == 2

    def test_all_that_came_before_the_break_arrives(self, bench: Bench, place: Place) -> None:
        """At a slow client too: as it would without buffr between."""
        size = 1_000_000
        half = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (2 * size, size * b"x")
        place.answers(lambda _: steps(half, None))
        with RawClient(bench.port("auto")) as client:
            client.send(request(place.path))
            eventually(place.log)
            with pytest.raises(BrokenAnswer) as broken:
                client.answer()
        assert broken.value.received.count(b"x") == size

    def test_the_log_says_why_it_broke(self, place: Place) -> None:
        place.answers(lambda _: steps(CUTS["length"], None))
        with pytest.raises(BrokenAnswer):
            place.ask("auto")
        line = eventually(place.log)[0]
        assert " level=WARN " in line
        assert ' err="the connection ended 6 bytes before the body\'s end"' in line

    @pytest.mark.parametrize(
        "garbage",
        [
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
        ],
    )
    def test_a_malformed_answer_is_502_and_unrecorded(self, place: Place, garbage: bytes) -> None:
        place.answers(lambda _: steps(garbage, None))
        got = place.ask("auto")
        assert got.status == 502
        assert got.body.startswith(b"buffr: ")
        assert not place.recorded()

    def test_a_malformed_chunk_breaks_the_answer(self, place: Place) -> None:
        broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"
        place.answers(lambda _: steps(broken, 5.0))
        with pytest.raises(BrokenAnswer):
            place.ask("auto")
        assert eventually(place.recorded)[0]["end"]["reason"]

    def test_an_upstream_that_closes_without_an_answer_is_502(self, place: Place) -> None:
        place.answers(lambda _: steps(None))
        got = place.ask("auto", request(place.path, method=b"POST", body=b"x"))
        assert got.status == 502
        assert not place.recorded()
        assert len(place.received()) == 1, "a POST is not sent twice"

    def test_bytes_behind_an_answer_answer_nobody(self, bench: Bench, place: Place) -> None:
        """A response that no request asked for must not become the next request's."""
        evil = answer(b"evil")
        place.answers(
            lambda received: answer(b"good") + (evil if b"?1" in received.target else b"")
        )
        for number in range(1, 4):
            got = ask(bench.port("passthrough"), request(b"%b?%d" % (place.path, number)))
            assert got.body == b"good"
