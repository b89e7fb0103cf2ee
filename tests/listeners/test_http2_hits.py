"""Hits out of the memo in HTTP/2: the same as without it, and only while they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from http2_bench import asking
from service_bench import ServiceBench, service
from test_hit_memo import Watched
from test_http2_proxy import Asking

from buffr.message import Headers
from buffr.wire.http2.engines import ENGINES

LONG = b"x" * 20_000


def answering(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Hits:
    """A client with one connection, and the memo of its port."""

    def __init__(self, bench: ServiceBench, cassette: Path) -> None:
        self.bench, self.cassette = bench, cassette
        self.memo = bench.factory.hits = Watched()
        client = bench.client()
        self.client = Asking(client.send, client.wire.taken)

    def ask(self, fields: Headers | None = None) -> tuple[Headers, bytes]:
        return self._answer(self.client.ask(fields or asking()))

    def post(self, fields: Headers, *body: bytes) -> tuple[Headers, bytes]:
        """Send a request whose body comes in these pieces, one after the other."""
        client = self.client
        stream = client.ask(fields, ended=False)
        for number, piece in enumerate(body, 1):
            client.engine.send(stream, piece, ended=number == len(body))
            client.talk()
        return self._answer(stream)

    def _answer(self, stream: int) -> tuple[Headers, bytes]:
        client = self.client

        def whole() -> bool:
            while client.talk():
                pass
            return stream in client.heard.over

        self.bench.until(whole)
        return client.heard.heads[stream], client.heard.bodies.get(stream, b"")


@pytest.fixture(params=ENGINES)
def hits(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hits]:
    cassette = tmp_path / "a.json"
    row = {"target": "http://10.9.0.1", "port": 8080, "cassette": str(cassette)}
    settings = {"reverse": [row], "http2_engine": request.param}
    with service(tmp_path, settings) as bench:
        bench.answer = answering(b"ok")
        yield Hits(bench, cassette)


class TestHits:
    def test_the_same_as_without_it(self, hits: Hits) -> None:
        """Answers, log and counts, whether the engine looked for them or the memo had them."""
        answers = [hits.ask() for _ in range(6)]
        assert answers == [answers[0]] * 6
        assert dict(answers[0][0])[b"x-one"] == b"1"
        assert hits.memo.given == 3  # after the one that was recorded, and two that were replayed
        lines = re.findall(r"msg=.*", hits.bench.log())
        assert len(lines) == 6
        assert {re.sub(r" dur=\S+", "", line) for line in lines[1:]} == {
            'msg="GET /" status=200 src=cassette'
        }
        assert hits.bench._service.engine.counters.hits == 5

    def test_while_it_holds(self, hits: Hits) -> None:
        """Another recording in the file, and the next answer is looked for again."""
        for _ in range(4):
            hits.ask()
        given = hits.memo.given
        text = json.loads(hits.cassette.read_text())
        text["interactions"][0]["http"]["response"]["body"] = "no"
        hits.cassette.write_text(json.dumps(text))
        hits.ask(asking(b"/other"))  # a look at the file
        assert hits.ask()[1] == b"no"
        assert hits.memo.given == given

    def test_what_is_not_kept(self, hits: Hits) -> None:
        """Answers that are long, and requests of other fields."""
        hits.bench.answer = answering(LONG)
        for _ in range(4):
            assert hits.ask(asking(b"/long"))[1] == LONG
        for number in range(4):
            hits.ask(asking(b"/traced", b"GET", (b"traceparent", b"00-%032x-01-01" % number)))
        assert hits.memo.given == 0

    def test_bodies_are_part_of_it(self, hits: Hits) -> None:
        """Of a known length or not, whatever pieces they come in."""
        fields = asking(b"/post", b"POST")
        for number in range(5):
            assert hits.post(fields, b"one")[1] == b"ok"
            assert hits.memo.given == max(0, number - 2)
        hits.bench.answer = answering(b"two")
        assert hits.post(fields, b"two")[1] == b"two"
        assert hits.post((*fields, (b"content-length", b"3")), b"one")[1] == b"ok"
        assert hits.memo.given == 2
        for _ in range(2):  # there is another recording, so it is looked for again once
            assert hits.post(fields, b"one")[1] == b"ok"
        assert hits.memo.given == 3

    def test_a_body_that_comes_later_is_no_part_of_it(self, hits: Hits) -> None:
        for _ in range(4):
            assert hits.post(asking(b"/post", b"POST"), b"o", b"ne")[1] == b"ok"
        assert hits.memo.given == 0

    def test_trailers_come_with_it(self, hits: Hits) -> None:
        chunks = b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
        hits.bench.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        for _ in range(5):
            assert hits.post(asking(b"/post", b"POST", (b"te", b"trailers")), b"one")[1] == b"ok"
            said = hits.client.heard.said[-1]
            assert isinstance(said, tuple)
            assert (said[0], said[2]) == ("trailers", ((b"x-sum", b"1"),))
        assert hits.memo.given == 2

    def test_a_head_alone(self, hits: Hits) -> None:
        for _ in range(5):
            head, body = hits.ask(asking(b"/", b"HEAD"))
            assert (dict(head)[b":status"], body) == (b"200", b"")
