"""Hits out of the memo: the same bytes, log and counts as without it, and only while they hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from attrs import astuple
from request_heads import ACCEPTED, REFUSED
from service_bench import PATIENCE_S, Client, ServiceBench, service

from buffr.drift.verdict import Verdict
from buffr.exchanges.exchange import Finished
from buffr.listeners.client import ClientSink
from buffr.listeners.hit_memo import HitMemo, KnownHit, Repeated
from buffr.message import Request, ResponseHead
from buffr.transport.streams import BodyStream

Step = bytes | Callable[[ServiceBench], None]
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OTHER = b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED_HEAD = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n\r\n"
POST = b'POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{"a": [1]}'
_TIMES = re.compile(r'time=\S+|"time": "[^"]+"|dur=\S+|"dur": "[^"]+"')


class Watched(HitMemo):
    """Counts the answers that it gave."""

    def __init__(self) -> None:
        super().__init__(32 << 20)
        self.given = 0

    def put(self, request: Repeated, known: KnownHit) -> None:
        tell = known.hit.tell

        def told(values: Sequence[bytes]) -> None:
            self.given += 1
            tell(values)

        known.hit.tell = told
        super().put(request, known)


class Observed:
    """All that the engine tells."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def finished(self, exchange: Finished) -> None:
        self.told.append(
            (exchange.request, exchange.status, exchange.level, exchange.src, exchange.detail)
        )

    def drifted(self, request: str, verdict: Verdict) -> None:
        pass

    def recorded(self, request: str) -> None:
        self.told.append(("recorded", request))


def _lists(fields: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: [value] for name, value in fields.items()}


def recording(
    path: str = "/a",
    body: str = "one",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    status: int = 200,
    asked: str = "",
    **more: Any,
) -> dict[str, Any]:
    request = {
        "method": method,
        "path": path,
        "headers": _lists(headers or {}),
        "body": asked,
        **more,
    }
    response = {"status": status, "headers": _lists(fields or {"Content-Length": str(len(body))})}
    return {"type": "http", "http": {"request": request, "response": {**response, "body": body}}}


def write(directory: Path, *recordings: dict[str, Any]) -> None:
    """Put another cassette in the place of the one that is there."""
    file = directory / "c.json"
    beside = directory / "c.json.new"
    beside.write_text(json.dumps({"version": 1, "interactions": recordings}))
    beside.replace(file)


def settings(directory: Path, **row: Any) -> dict[str, Any]:
    reverse = {"port": 0, "cassette": str(directory / "c.json"), "mode": "replay", **row}
    return {"reverse": [reverse]}


class Session:
    """A service, one client's connection, and what became of each step."""

    def __init__(self, bench: ServiceBench, memo: HitMemo) -> None:
        self.bench = bench
        self.observed = Observed()
        bench._service.engine.observer = self.observed
        bench.factory.hits = memo
        self.client = self._client()
        self.answers: list[bytes] = []

    def _client(self) -> Client:
        client = self.bench.client()
        client.wire.protocol = client.protocol
        return client

    def take(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if not isinstance(step, bytes):
                step(self.bench)
                continue
            if self.client.wire.ends:
                self.client = self._client()
            self.client.send(step)
            wire = self.client.wire
            self.bench.until(lambda wire=wire: bool(wire.value()))  # type: ignore[misc]
            self.answers.append(wire.taken())

    @property
    def outcome(self) -> str:
        log = _TIMES.sub("", self.bench.log())
        counters = astuple(self.bench._service.engine.counters)
        told = repr((self.answers, log, counters, self.observed.told))
        return re.sub(r"Length: [0-9]{3}", "", told.replace(str(self.bench.directory), ""))


@contextmanager
def sessions(
    directory: Path, make: Callable[[Path], Mapping[str, Any]], *recordings: dict[str, Any]
) -> Iterator[tuple[Session, Session]]:
    """With a memo, and without."""
    with ExitStack() as stack:
        made = []
        for name, memo in (("warm", Watched()), ("cold", HitMemo(0))):
            here = directory / name
            here.mkdir()
            write(here, *recordings)
            bench = stack.enter_context(service(here, make(here)))
            made.append(Session(bench, memo))
        warm, cold = made
        yield warm, cold


def compare(
    directory: Path,
    make: Callable[[Path], Mapping[str, Any]],
    steps: Sequence[Step],
    *recordings: dict[str, Any],
    known: bytes = b"",
) -> list[bytes]:
    """The answers, which are the same in both; ``known`` is asked before, until it is."""
    with sessions(directory, make, *recordings) as (warm, cold):
        memo = warm.bench.factory.hits
        assert isinstance(memo, Watched)
        if known:
            patience = monotonic() + PATIENCE_S
            while not memo.given:  # a file that was just written is looked at once more
                warm.take([known])
                assert monotonic() < patience
            cold.take([known] * len(warm.answers))
            warm.answers.clear()
            cold.answers.clear()
        for session in (warm, cold):
            session.take(steps)
        assert warm.outcome == cold.outcome
        return warm.answers


def bodies(answers: Sequence[bytes]) -> list[bytes]:
    return [answer.partition(b"\r\n\r\n")[2] for answer in answers]


class TestSame:
    """What a client, the log, the counters and the observer get."""

    @pytest.mark.parametrize("repeat", ["cycle", "last", "once"])
    def test_one_recording(self, tmp_path: Path, repeat: str) -> None:
        answers = compare(
            tmp_path,
            lambda here: settings(here, repeat=repeat),
            [GET] * 5,
            recording(),
            known=b"" if repeat == "once" else GET,
        )
        hits = 1 if repeat == "once" else 5
        assert [b" 200 " in answer for answer in answers] == [True] * hits + [False] * (5 - hits)

    @pytest.mark.parametrize("repeat", ["cycle", "last", "once"])
    def test_several_take_turns(self, tmp_path: Path, repeat: str) -> None:
        two = [recording(body="one"), recording(body="two")]
        answers = compare(tmp_path, lambda here: settings(here, repeat=repeat), [GET] * 5, *two)
        third = {"cycle": b"one", "last": b"two"}.get(repeat)
        assert bodies(answers)[:2] == [b"one", b"two"]
        assert third is None or bodies(answers)[2] == third

    def test_scopes(self, tmp_path: Path) -> None:
        """Each counts for itself, and all by the same recording."""
        scoped = [GET[:-2] + b"X-Buffr-Scope: %b\r\n\r\n" % name for name in (b"a", b"b")]
        steps = [*scoped, GET] * 4
        answers = compare(tmp_path, settings, steps, recording(), known=GET)
        assert bodies(answers) == [b"one"] * 12

    def test_scopes_of_which_each_is_used_up(self, tmp_path: Path) -> None:
        scoped = [GET[:-2] + b"X-Buffr-Scope: %b\r\n\r\n" % name for name in (b"a", b"b")]
        answers = compare(
            tmp_path, lambda here: settings(here, repeat="once"), scoped * 3, recording()
        )
        assert [b" 200 " in answer for answer in answers] == [True, True] + [False] * 4

    def test_variants(self, tmp_path: Path) -> None:
        """A header that chooses among recordings chooses each time."""
        asking = [GET[:-2] + b"Anthropic-Version: %b\r\n\r\n" % name for name in (b"1", b"2")]
        made = [
            recording(body=name, headers={"Anthropic-Version": name[-1]}) for name in ("v1", "v2")
        ]
        answers = compare(tmp_path, settings, asking * 4, *made)
        assert bodies(answers) == [b"v1", b"v2"] * 4

    @pytest.mark.parametrize(
        ("raw", "made"),
        [
            (b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", recording(method="HEAD", body="")),
            (POST, recording("/p", method="POST", asked='{"a": [1]}')),
            (GET, recording(status=204, body="", fields={"X-A": "1"})),
            (GET, recording(fields={"Transfer-Encoding": "chunked"})),
            (GET, recording(fields={"X-A": "until the end"})),
            (b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", recording()),
            (b"GET /a HTTP/1.0\r\n\r\n", recording()),
            (GET[:-2] + b"Connection: close\r\n\r\n", recording()),
            (b"\r\n" + GET, recording()),
        ],
    )
    def test_kinds_of_requests_and_answers(
        self, tmp_path: Path, raw: bytes, made: dict[str, Any]
    ) -> None:
        closes = b"Connection: close" in raw or b"1.0\r\n\r\n" in raw
        compare(tmp_path, settings, [raw] * 4, made, known=b"" if closes else raw)

    def test_more_than_a_request_in_a_segment(self, tmp_path: Path) -> None:
        """Each is answered for itself, in order, and what is left over goes with what follows."""
        with sessions(tmp_path, settings, recording()) as (warm, _):
            for _ in range(3):
                warm.client.send(GET + GET + GET[:10])
                warm.client.send(GET[10:])
                warm.bench.until(lambda: warm.client.wire.value().count(b"one") == 3)
                assert warm.client.wire.taken() == 3 * (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
                )

    @pytest.mark.parametrize("at", [0, len(CHUNKED_HEAD), len(CHUNKED_HEAD) + 4, len(CHUNKED)])
    def test_a_request_behind_a_streamed_body(self, tmp_path: Path, at: int) -> None:
        """The bytes that the stream began with are not those of the request behind it."""
        posted = recording("/p", method="POST", body="posted")
        posted["http"]["request"]["body"] = "hello"
        both = CHUNKED + GET
        with sessions(tmp_path, settings, posted, recording()) as (warm, _):
            wire = warm.client.wire
            for _ in range(5):
                for part in filter(None, (both[:at], both[at:])):
                    warm.client.send(part)
                warm.bench.until(lambda: wire.value().endswith(b"one"))
                assert wire.taken() == (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nposted"
                    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"
                )

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_forms_of_the_log(self, tmp_path: Path, form: str) -> None:
        quoted = b'GET /"%22\\ HTTP/1.1\r\nHost: h\r\n\r\n'
        compare(
            tmp_path,
            lambda here: settings(here) | {"log": {"format": form}},
            [quoted] * 8,
            recording('/"%22\\'),
            known=quoted,
        )

    def test_hostile_bytes_beside_a_known_request(self, tmp_path: Path) -> None:
        """Whatever differs by a byte is judged for itself, each time that it comes."""
        short = [raw for raw in (ACCEPTED | REFUSED).values() if len(raw) < 5000]
        whole = [raw for raw in short if b"\r\n\r\n" in raw]
        steps: list[Step] = [GET, GET, GET]
        for raw in whole:
            if not re.search(rb"(?i)content-length|chunked|expect|upgrade", raw):
                steps += [raw, raw, raw, GET]
        compare(tmp_path, settings, steps, recording(), recording("/p"), known=GET)


class TestHolds:
    """What may change between two requests is looked at in each."""

    def test_a_file_that_others_change(self, tmp_path: Path) -> None:
        def change(bench: ServiceBench) -> None:
            write(bench.directory, recording(body="two"))

        answers = compare(tmp_path, settings, [GET, change, GET, GET, GET], recording(), known=GET)
        assert bodies(answers) == [b"one"] + [b"two"] * 3

    def test_a_recording_that_is_removed(self, tmp_path: Path) -> None:
        def remove(bench: ServiceBench) -> None:
            write(bench.directory, recording("/other"))

        answers = compare(
            tmp_path, settings, [GET, remove, GET], recording(), recording("/other"), known=GET
        )
        assert [answer[9:12] for answer in answers] == [b"200", b"599"]

    def test_a_file_that_is_removed(self, tmp_path: Path) -> None:
        def remove(bench: ServiceBench) -> None:
            os.unlink(bench.directory / "c.json")  # noqa: PTH108

        compare(tmp_path, settings, [GET, remove, GET, GET], recording(), known=GET)

    def test_a_recording_that_is_added(self, tmp_path: Path) -> None:
        """It takes its turn with the one that is remembered."""

        def add(bench: ServiceBench) -> None:
            write(bench.directory, recording(), recording(body="two"))

        answers = compare(
            tmp_path,
            lambda here: settings(here, repeat="last"),
            [GET, add, GET, GET],
            recording(),
            known=GET,
        )
        assert bodies(answers)[-1] == b"two"

    def test_a_recording_that_is_made_here(self, tmp_path: Path) -> None:
        def row(here: Path) -> dict[str, Any]:
            return settings(here, mode="auto", target="http://10.0.0.1:80")

        answers = compare(
            tmp_path,
            row,
            [GET, GET, GET, OTHER, GET, GET, GET, OTHER, OTHER],
            recording(),
            known=GET,
        )
        assert bodies(answers) == [b"one"] * 3 + [b"ok"] + [b"one"] * 3 + [b"ok"] * 2

    def test_other_settings(self, tmp_path: Path) -> None:
        """A kept connection goes by them from its next request on."""
        head = ResponseHead(200, b"OK", ((b"Content-Length", b"5"),))

        async def other(_: Request, __: bytes | BodyStream, sink: ClientSink) -> None:
            sink.answer(head, b"other", (5,), ())

        with sessions(tmp_path, settings, recording()) as (warm, _):
            warm.take([GET] * 3)
            warm.bench.factory.handle = other
            warm.take([GET] * 3)
            assert bodies(warm.answers) == [b"one"] * 3 + [b"other"] * 3

    def test_a_listener_that_stops(self, tmp_path: Path) -> None:
        with sessions(tmp_path, settings, recording()) as (warm, _):
            warm.take([GET] * 3)
            warm.bench.factory.stopping = True
            warm.take([GET])
            assert b"Connection: close\r\n" in warm.answers[-1]

    def test_a_client_that_does_not_read(self, tmp_path: Path) -> None:
        """An answer that waits for its reader holds the next request back."""
        with sessions(tmp_path, settings, recording()) as (warm, _):
            warm.take([GET] * 3)
            warm.client.protocol.pauseProducing()  # type: ignore[attr-defined]
            warm.client.send(GET)
            assert not warm.client.wire.value()
            warm.client.protocol.resumeProducing()  # type: ignore[attr-defined]
            warm.bench.until(lambda: bool(warm.client.wire.value()))
            assert bodies([warm.client.wire.taken()]) == [b"one"]


class TestAccess:
    """Who may not ask gets no answer, however often others got it."""

    KEY = b"test-key_0123456789abcdefghijklmnop"

    def gateway(self, here: Path) -> dict[str, Any]:
        row = {"target": "http://10.0.0.1:80", "mode": "replay", "cassette": str(here / "c.json")}
        access = {"key": self.KEY.decode()}
        return {"gateway": {"port": 0, "routes": {"x": row}, "access": access}}

    def test_keys_of_a_gateway(self, tmp_path: Path) -> None:
        path = b"GET /%b/x/a HTTP/1.1\r\nHost: h\r\n\r\n"
        field = b"GET /x/a HTTP/1.1\r\nHost: h\r\nX-Buffr-Key: %b\r\n\r\n"
        right = [each % self.KEY for each in (path, field)]
        wrong = [each % (self.KEY[:-1] + b"q") for each in (path, field)]
        origin: dict[str, Any] = {"scheme": "http", "host": "10.0.0.1", "port": 80}
        steps = [*right, *wrong, GET.replace(b"/a", b"/x/a")] * 4
        answers = compare(tmp_path, self.gateway, steps, recording(**origin), known=right[0])
        assert [answer[9:12] for answer in answers] == [b"200"] * 2 * 1 + [b"401"] * 3 + (
            [b"200"] * 2 + [b"401"] * 3
        ) * 3

    def test_another_network(self, tmp_path: Path) -> None:
        """The memo is one for all clients, access is each client's own."""

        def row(here: Path) -> dict[str, Any]:
            return settings(here, access={"allow": "127.0.0.1", "required": True})

        with sessions(tmp_path, row, recording()) as (warm, _):
            warm.take([GET] * 3)
            other = warm.bench.client()
            other.protocol.client_address = "192.0.2.1"  # type: ignore[attr-defined]
            other.send(GET)
            assert other.wire.value()[9:12] == b"401"


class TestForward:
    def proxy(self, here: Path) -> dict[str, Any]:
        return {
            "forward": {"port": 0, "mode": "replay", "cassette": str(here / "c.json")},
        }

    def test_in_a_tunnel_and_outside(self, tmp_path: Path) -> None:
        """The same bytes are two requests in the tunnels of two hosts."""
        origins: list[dict[str, Any]] = [
            {"scheme": "http", "host": host, "port": 80} for host in ("h.test", "i.test")
        ]
        made = [recording(body=each["host"], **each) for each in origins]
        with sessions(tmp_path, self.proxy, *made) as both:
            for session in both:
                absolute = b"GET http://h.test/a HTTP/1.1\r\nHost: h.test\r\n\r\n"
                session.take([absolute] * 4)
                for host in (b"h.test:80", b"i.test:80"):
                    session.client = session._client()
                    session.take([b"CONNECT %b HTTP/1.1\r\nHost: h\r\n\r\n" % host])
                    session.take([GET] * 4)
            warm, cold = both
            assert warm.outcome == cold.outcome
            got = [body for body in bodies(warm.answers) if body]
            assert got == [b"h.test"] * 8 + [b"i.test"] * 4
            assert isinstance(warm.bench.factory.hits, Watched)
            assert warm.bench.factory.hits.given


class TestVolatile:
    """Requests that differ in nothing but trace and request ids, which no answer depends on."""

    TRACE = b"traceparent: 00-%032x-%016x-01\r\n"

    @staticmethod
    def asking(*fields: bytes, request: bytes = GET) -> bytes:
        head, end, body = request.partition(b"\r\n\r\n")
        return head + b"\r\n" + b"".join(fields) + end[2:] + body

    def traced(self, number: int, request: bytes = GET) -> bytes:
        return self.asking(self.TRACE % (number, number), request=request)

    def given(
        self,
        directory: Path,
        make: Callable[[Path], Mapping[str, Any]],
        known: Callable[[int], bytes],
        steps: Sequence[Step],
        *recordings: dict[str, Any],
    ) -> int:
        """How many of the steps are answered out of the memo; the outcome is as without it."""
        with sessions(directory, make, *recordings) as (warm, cold):
            memo = warm.bench.factory.hits
            assert isinstance(memo, Watched)
            patience, number = monotonic() + PATIENCE_S, 1000
            while not memo.given:  # a file that was just written is looked at once more
                for session in (warm, cold):
                    session.take([known(number)])
                number += 1
                assert monotonic() < patience
            memo.given = 0
            for session in (warm, cold):
                session.take(steps)
            assert warm.outcome == cold.outcome
            return memo.given

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_each_is_a_hit_with_its_own_trace_in_the_log(self, tmp_path: Path, form: str) -> None:
        def make(here: Path) -> dict[str, Any]:
            return settings(here) | {"log": {"format": form}}

        steps = [self.traced(number) for number in range(5)]
        steps += [self.asking(b"traceparent: %b\r\n" % bad) for bad in (b"x", b"00-1-2-01")]
        assert self.given(tmp_path, make, self.traced, steps, recording()) == 7

    def test_a_body_is_compared_whole(self, tmp_path: Path) -> None:
        """Whatever stands in it."""
        inside = b"{}\r\n\r\n\r\ntraceparent: %d\r\n"
        head = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 24\r\n\r\n"
        made = [
            recording("/p", str(n), method="POST", asked=(inside % n).decode()) for n in range(3)
        ]
        steps = [self.traced(n, head + inside % (n % 3)) for n in range(9)]
        assert self.given(
            tmp_path, settings, lambda n: self.traced(n, head + inside % 0), steps, *made
        )

    def test_several_fields(self, tmp_path: Path) -> None:
        """In the spellings that clients use, and an idempotency key."""

        def asking(number: int) -> bytes:
            return self.asking(
                b"X-Request-Id: %d\r\n" % (number + 1000),
                self.TRACE % (number, number),
                b"Idempotency-Key: key-%d\r\n" % (number + 1000),
            )

        assert self.given(tmp_path, settings, asking, list(map(asking, range(5))), recording()) == 5

    def test_a_field_that_the_settings_compare(self, tmp_path: Path) -> None:
        def make(here: Path) -> dict[str, Any]:
            return settings(here, match={"header": ["X-Request-Id"]})

        def asking(number: int) -> bytes:
            return self.asking(b"X-Request-Id: %d\r\n" % (number % 2))

        made = [recording(body=name, headers={"X-Request-Id": name}) for name in ("0", "1")]
        with sessions(tmp_path, make, *made) as (warm, cold):
            for session in (warm, cold):
                session.take([asking(number) for number in range(8)])
            assert warm.outcome == cold.outcome
            assert bodies(warm.answers) == [b"0", b"1"] * 4

    def test_a_field_that_comes_in_two_forms(self, tmp_path: Path) -> None:
        """The first one counts in the log, and it is not in the form that is looked for."""

        def asking(number: int) -> bytes:
            first = (self.TRACE % (number, 1)).replace(b": ", b":  ")
            return self.asking(first, self.TRACE % (number, 2))

        steps = [*map(self.traced, range(3)), *map(asking, range(5))]
        assert self.given(tmp_path, settings, self.traced, steps, recording()) == 3

    def test_two_of_a_kind(self, tmp_path: Path) -> None:
        def asking(number: int) -> bytes:
            return self.asking(self.TRACE % (number, 1), self.TRACE % (number, 2))

        assert self.given(tmp_path, settings, asking, list(map(asking, range(3))), recording()) == 3

    def test_a_head_that_would_be_too_long(self, tmp_path: Path) -> None:
        """Values may be as long as those that were judged, and no longer."""

        def make(here: Path) -> dict[str, Any]:
            return settings(here) | {"limits": {"head_bytes": 1024}}

        def asking(size: int) -> bytes:
            return self.asking(b"X-Request-Id: %b\r\n" % (b"x" * size))

        steps = [asking(size) for size in (40, 39, 41, 500, 1000, 2000, 40)]
        assert self.given(tmp_path, make, lambda _: asking(40), steps, recording()) >= 3

    def test_a_file_that_others_change(self, tmp_path: Path) -> None:
        def change(bench: ServiceBench) -> None:
            write(bench.directory, recording(body="two"))

        steps: list[Step] = [self.traced(1), change, self.traced(2), self.traced(3)]
        assert self.given(tmp_path, settings, self.traced, steps, recording()) >= 1

    def test_hostile_bytes_in_a_value(self, tmp_path: Path) -> None:
        values = [b"", b" ", b"\t", b"a b", b"a ", b"\xe9", b"\0", b"a\rb", b"a\nb", b"a\r\n b"]
        values += [b"a\r\nHost: i", b"a\r\n\r\nGET /other HTTP/1.1"]
        values += [b"\x7f", b"\x1b[2J", b'"', b"a: b", b"a\\", b":", b"x" * 60000]
        steps: list[Step] = []
        for value in values:
            steps += [self.asking(b"traceparent: %b\r\n" % value), self.traced(1), GET]
        for raw in (ACCEPTED | REFUSED).values():
            whole = b"\r\n\r\n" in raw and len(raw) < 5000
            if whole and not re.search(rb"(?i)content-length|chunked|expect|upgrade", raw):
                steps += [self.traced(n, raw) for n in range(3)]
        made = [recording(), recording("/p")]
        assert self.given(tmp_path, settings, self.traced, steps, *made)


class TestBounds:
    def test_requests_that_come_once_leave_nothing(self) -> None:
        memo = HitMemo(1 << 20)
        asked = [b"GET /%d" % number for number in range(100)]
        assert not any(memo.repeated(None, raw, ()) for raw in asked)
        assert memo.repeated(None, asked[-1], ())
