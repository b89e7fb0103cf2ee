"""``match`` settings: what of a request makes no difference, here and in a replay elsewhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import interactions
from raw_http import Answer, ask, request
from test_interop import EXCHANGES, GO_CASSETTE, raw_request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer


def echo(received: Received) -> bytes:
    said = received.body or received.header(b"X-Who") or b""
    return answer(b"<%b %b>" % (received.target, said))


class Routes:
    """Routes with rules of their own, in two processes: one that records, one that replays.

    The rules stand where the first buffr took them: in ``BUFFR_TARGETS``.
    """

    def __init__(self, directory: Path, upstream: FakeUpstream) -> None:
        self.directory = directory
        self.upstream = upstream
        self._names: list[str] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, name: str, match: Mapping[str, Any]) -> None:
        self._names.append(name)
        self._rows.append({"port": 0, "cassette": f"{name}.json", "match": match})

    @contextmanager
    def running(self, mode: str) -> Iterator[BuffrProcess]:
        rows = [{**row, "mode": mode, "target": self.upstream.url} for row in self._rows]
        env = {"BUFFR_TARGETS": yaml.safe_dump(rows)}
        with BuffrProcess.run(cwd=self.directory, env=env, listeners=len(rows)) as running:
            yield running

    def ask(self, running: BuffrProcess, name: str, raw: bytes) -> Answer:
        return ask(running.ports[self._names.index(name)], raw)


def post(target: bytes, body: bytes) -> bytes:
    return request(target, method=b"POST", body=body)


CAPTURED = EXCHANGES[0]["match"]["captures"][0]

MATCHES: Mapping[str, Mapping[str, Any]] = {
    "ignore": {
        "ignore": [
            {"in": "request.body", "pattern": "run-[0-9]{4}", "replace_with": "<RUN>"},
            {"in": "request.path", "pattern": "/v[0-9]+/", "replace_with": "/v/"},
        ]
    },
    "invalid": {"ignore": [{"in": "request.body", "pattern": "(", "replace_with": ""}]},
    "sync": {
        "ignore": [{"in": "request.body", "pattern": "run-[0-9]+", "sync_response": True}],
    },
    "go": {
        "ignore": [
            {
                "in": "request.body",
                "pattern": CAPTURED["pattern"],
                "replace_with": "<RUN>",
                "sync_response": True,
            }
        ]
    },
    "fields": {"query": ["nonce"], "json": ["$.meta.time"]},
    "distinct": {"credentials": "distinct"},
    "exact": {"normalise": {"json": False}},
}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routes]:
    directory = tmp_path_factory.mktemp("rules")
    shutil.copy(GO_CASSETTE, directory / "go.json")
    with FakeUpstream(echo) as upstream:
        routes = Routes(directory, upstream)
        for name, match in MATCHES.items():
            routes.add(name, match)
        yield routes


@pytest.fixture(scope="module")
def auto(routes: Routes) -> Iterator[BuffrProcess]:
    with routes.running("auto") as running:
        yield running


@pytest.fixture(scope="module")
def replay(routes: Routes) -> Iterator[BuffrProcess]:
    with routes.running("replay") as running:
        yield running


def asked(routes: Routes, mark: bytes) -> list[Received]:
    return [one for one in routes.upstream.received if mark in one.target]


class TestIgnore:
    def test_what_a_rule_names_makes_no_difference(
        self, routes: Routes, auto: BuffrProcess, replay: BuffrProcess
    ) -> None:
        """In the run that records and in the one that replays; all else does."""
        first = routes.ask(auto, "ignore", post(b"/v1/x", b"in run-0001")).body
        assert first == b"</v1/x in run-0001>"
        assert routes.ask(auto, "ignore", post(b"/v2/x", b"in run-0002")).body == first
        assert routes.ask(auto, "ignore", post(b"/v2/x", b"in run-2")).body == b"</v2/x in run-2>"
        assert routes.ask(replay, "ignore", post(b"/v7/x", b"in run-0007")).body == first
        assert routes.ask(replay, "ignore", post(b"/v7/y", b"in run-0007")).status == 599
        sent = [(one.target, one.body) for one in routes.upstream.received if b"/v" in one.target]
        assert sent == [(b"/v1/x", b"in run-0001"), (b"/v2/x", b"in run-2")]
        assert len(interactions(routes.directory / "ignore.json")) == 2

    def test_an_invalid_rule_is_a_warning_and_skipped(
        self, routes: Routes, auto: BuffrProcess
    ) -> None:
        assert routes.ask(auto, "invalid", post(b"/", b"(")).body == b"</ (>"
        assert " level=WARN " in auto.wait_for("ignore.*skipped").string


class TestSync:
    def test_a_replay_answers_with_the_live_value(
        self, routes: Routes, auto: BuffrProcess, replay: BuffrProcess
    ) -> None:
        """Seed defect 12: the body's length changed, and the old one was announced."""
        routes.ask(auto, "sync", post(b"/x", b"in run-1"))
        for live in (b"run-1", b"run-123456", b"run-7"):
            got = routes.ask(replay, "sync", post(b"/x", b"in " + live))
            assert got.body == b"</x in %b>" % live
            assert got.header(b"Content-Length") == b"%d" % len(got.body)

    def test_users_who_ask_at_once_get_their_own_values(
        self, routes: Routes, auto: BuffrProcess
    ) -> None:
        """Requests that differ in what a rule captures do not share an upstream call."""
        with ThreadPoolExecutor(4) as pool:
            raws = [post(b"/at-once", b"in run-%d" % number) for number in range(100, 104)]
            got = list(pool.map(lambda raw: routes.ask(auto, "sync", raw).body, raws))
        assert got == [b"</at-once in run-%d>" % number for number in range(100, 104)]

    def test_a_recording_says_what_was_captured(self, routes: Routes, auto: BuffrProcess) -> None:
        """As the Go program writes it, which can replay it then."""
        routes.ask(auto, "sync", post(b"/captures", b"in run-1, run-2"))
        (recorded,) = [
            one["http"]
            for one in interactions(routes.directory / "sync.json")
            if one["http"]["request"]["path"] == "/captures"
        ]
        assert recorded["match"]["captures"] == [
            {"pattern": "run-[0-9]+", "captured": "run-1"},
            {"pattern": "run-[0-9]+", "captured": "run-2"},
        ]

    def test_a_recording_of_the_go_program_answers_another_run(
        self, routes: Routes, replay: BuffrProcess
    ) -> None:
        """Its first exchange was captured with this rule."""
        exchange = EXCHANGES[0]
        other = exchange["request"]["body"].replace(CAPTURED["captured"], "run-4242")
        got = routes.ask(replay, "go", raw_request({**exchange["request"], "body": other}))
        assert json.loads(got.body) == json.loads(exchange["response"]["body"])


class TestOthers:
    def test_query_fields_and_json_places(self, routes: Routes, auto: BuffrProcess) -> None:
        for number in range(3):
            body = b'{"a": 1, "meta": {"time": %d, "b": 2}}' % number
            got = routes.ask(auto, "fields", post(b"/fields?a=1&nonce=%d" % number, body))
            assert b"nonce=0" in got.body
        other = post(b"/fields?a=1&nonce=0", b'{"a": 2}')
        assert b'"a": 2' in routes.ask(auto, "fields", other).body
        assert len(asked(routes, b"/fields")) == 2

    def test_what_is_made_alike_can_be_switched_off(
        self, routes: Routes, auto: BuffrProcess
    ) -> None:
        spellings = (b'{"a": 1}', b'{"a":1}')
        for name in ("exact", "fields"):
            for body in spellings:
                routes.ask(auto, name, post(b"/spelled/" + name.encode(), body))
        assert [one.body for one in asked(routes, b"/spelled/exact")] == list(spellings)
        assert len(asked(routes, b"/spelled/fields")) == 1

    def test_credentials_can_be_told_apart(
        self, routes: Routes, auto: BuffrProcess, replay: BuffrProcess
    ) -> None:
        """``match.credentials: distinct``: each user has answers of their own."""
        users = {b"alice": b"0123456789abcdefghij", b"bob": b"0123456789abcdefghijkl"}
        for running in (auto, auto, replay):
            for name, token in users.items():
                headers = [(b"Authorization", b"Bearer " + token), (b"X-Who", name)]
                got = routes.ask(running, "distinct", request(b"/users", headers=headers))
                assert got.body == b"</users %b>" % name
        assert routes.ask(replay, "distinct", request(b"/users")).status == 599
        other = request(b"/users", headers=[(b"Authorization", b"Bearer carol-0123456789abcdef")])
        missed = routes.ask(replay, "distinct", other)
        assert missed.status == 599
        assert b"header authorization: recorded 'Bearer REDACTED-" in missed.body
        assert b"carol" not in missed.body
        assert b"pattern:" not in missed.body
        assert len(asked(routes, b"/users")) == 2


class TestMending:
    def test_the_rule_of_a_miss_mends_it(self, tmp_path: Path) -> None:
        """A suite sends the time with each request: its rule is pasted, and the next run hits."""
        row: dict[str, Any] = {"port": 0, "cassette": "api.json"}

        @contextmanager
        def running(mode: str) -> Iterator[BuffrProcess]:
            text = yaml.safe_dump({"reverse": [{**row, "mode": mode, "target": upstream.url}]})
            (tmp_path / "buffr.yaml").write_text(text)
            with BuffrProcess.run("serve", cwd=tmp_path) as process:
                yield process

        def suite(process: BuffrProcess, time: str) -> list[Answer]:
            said = {"model": "m", "sent_at": time, "metadata": {"run_id": f"{time}-x"}}
            body = json.dumps(said).encode()
            headers = [(b"Accept", b"application/json")]
            raw = request(b"/v1/chat", method=b"POST", body=body, headers=headers)
            return [ask(process.ports[0], raw)]

        with FakeUpstream(lambda _: answer(b"fine")) as upstream:
            with running("auto") as process:
                suite(process, "2026-11-22T02:00:00.123Z")
            with running("replay") as process:
                (missed,) = suite(process, "2026-11-23T09:30:01.456Z")
                assert missed.status == 599
            row.update(yaml.safe_load(json.loads(missed.body)["nearest"][0]["rule"]))
            with running("replay") as process:
                for time in ("2026-11-23T09:30:01.456Z", "2027-01-01T00:00:00.000Z"):
                    assert [one.body for one in suite(process, time)] == [b"fine"]
            assert len(upstream.received) == 1
