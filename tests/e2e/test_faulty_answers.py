"""Faults as clients meet them, on live and on replayed answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from raw_http import BrokenAnswer, RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

_BODY = b'{"a": [1, 2, 3]}'
_EVENTS = [b'data: {"n": %d}\n\n' % number for number in range(5)]
_JSON = ((b"Content-Type", b"application/json"),)


def script(received: Received) -> bytes | Iterator[Step]:
    if received.target == b"/events":
        return chunked(_EVENTS, ((b"Content-Type", b"text/event-stream"),))
    if received.target.endswith(b"/chat/completions"):
        said = {"role": "assistant", "content": "hello"}
        choice = {"index": 0, "finish_reason": "stop", "message": said}
        page = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
        return answer(json.dumps({**page, "choices": [choice]}).encode(), headers=_JSON)
    return answer(_BODY, headers=_JSON)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(script) as running:
        yield running


@contextmanager
def faulty(
    directory: Path, upstream: FakeUpstream, *rules: dict[str, Any], **row: Any
) -> Iterator[BuffrProcess]:
    reverse = {"port": 0, "target": upstream.url, "mode": "passthrough", "faults": rules, **row}
    (directory / "buffr.yaml").write_text(json.dumps({"reverse": [reverse]}))
    with BuffrProcess.run("serve", cwd=directory) as running:
        yield running


def test_a_status_in_the_form_of_the_api(tmp_path: Path, upstream: FakeUpstream) -> None:
    rule = {"status": 429, "retry_after": "2s", "calls": 1}
    with faulty(tmp_path, upstream, rule) as running:
        first = httpx.get(f"{running.url}/a", headers={"Accept": "application/json"})
        assert (first.status_code, first.headers["retry-after"]) == (429, "2")
        assert first.headers["x-buffr-fault"] == "status-429"
        assert first.json()["error"]["code"] == "fault_injected"
        second = httpx.get(f"{running.url}/a")
        assert (second.status_code, second.content) == (200, _BODY)
        assert "x-buffr-fault" not in second.headers
        running.wait_for("status=429 .*src=fault")


def test_a_body_of_ones_own(tmp_path: Path, upstream: FakeUpstream) -> None:
    with faulty(tmp_path, upstream, {"status": 529, "body": '{"overloaded": true}'}) as running:
        got = httpx.get(f"{running.url}/a")
        assert (got.status_code, got.json()) == (529, {"overloaded": True})


def test_an_sdk_proves_that_it_asks_again(tmp_path: Path, upstream: FakeUpstream) -> None:
    rule = {"status": 503, "first": 2}
    with (
        faulty(tmp_path, upstream, rule) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=2) as client,
    ):
        # buffr's own errors ask clients not to try again; faults are to be tried.
        said = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
        assert said.choices[0].message.content == "hello"


@pytest.mark.parametrize("mode", ["passthrough", "auto"])
class TestBodies:
    def test_cut_after_bytes(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"cut_after": 5}, mode=mode) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/a"))
            with pytest.raises(BrokenAnswer) as broken:
                client.answer()
            assert broken.value.received.endswith(_BODY[:5])

    def test_cut_after_events(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"cut_after_events": 2}, mode=mode) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/events"))
            with pytest.raises(BrokenAnswer) as broken:
                client.answer()
            assert broken.value.received.count(b"data:") == 2

    def test_malformed(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with faulty(tmp_path, upstream, {"malformed": True}, mode=mode) as running:
            got = httpx.get(f"{running.url}/a")
            assert got.content == _BODY[:-1] + b" "
            assert got.headers["x-buffr-fault"] == "malformed"

    def test_slow(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        rules = {"bytes_per_second": 100}, {"delay": "100ms"}
        with faulty(tmp_path, upstream, *rules, mode=mode) as running:
            began = time.monotonic()
            assert httpx.get(f"{running.url}/a", timeout=60).content == _BODY
            assert time.monotonic() - began > 0.2

    def test_pauses_between_events(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with faulty(tmp_path, upstream, {"event_delay": "50ms"}, mode=mode) as running:
            began = time.monotonic()
            assert httpx.get(f"{running.url}/events", timeout=60).content == b"".join(_EVENTS)
            assert time.monotonic() - began > 0.2

    def test_reset(self, tmp_path: Path, upstream: FakeUpstream, mode: str) -> None:
        with (
            faulty(tmp_path, upstream, {"reset": True}, mode=mode) as running,
            pytest.raises(httpx.TransportError),
        ):
            httpx.get(f"{running.url}/a")


def test_a_quota_runs_out(tmp_path: Path, upstream: FakeUpstream) -> None:
    with faulty(tmp_path, upstream, {"quota": 2}) as running:
        got = [httpx.get(f"{running.url}/a") for _ in range(3)]
        assert [one.status_code for one in got] == [200, 200, 429]
        assert [one.headers["x-ratelimit-remaining"] for one in got] == ["1", "0", "0"]
        assert int(got[2].headers["retry-after"]) <= 60


def test_replays_have_faults_and_recordings_have_none(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    row = {"cassette": "c.json"}
    with faulty(tmp_path, upstream, {"malformed": True}, mode="auto", **row) as running:
        httpx.get(f"{running.url}/a")
    assert (
        json.loads((tmp_path / "c.json").read_text())["interactions"][0]["http"]["response"]["body"]
        == _BODY.decode()
    )
    replay = {"status": 500, "calls": 2}
    with faulty(tmp_path, upstream, replay, mode="replay", **row) as running:
        got = [httpx.get(f"{running.url}/a") for _ in range(4)]
        assert [one.status_code for one in got] == [200, 500, 200, 200]
        assert [one.content for one in got if one.is_success] == [_BODY] * 3


def test_a_seed_gives_the_same_run(tmp_path: Path, upstream: FakeUpstream) -> None:
    runs = []
    for _ in range(2):
        with faulty(tmp_path, upstream, {"status": 500, "chance": "50%"}, fault_seed=7) as running:
            runs.append([httpx.get(f"{running.url}/a").status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"status": 200}, r"faults\[0\].status"),
        ({"path": "("}, "not a pattern"),
        ({"statsu": 500}, "did you mean 'status'"),
    ],
)
def test_a_wrong_rule_is_refused(
    tmp_path: Path, upstream: FakeUpstream, rule: dict[str, Any], words: str
) -> None:
    with pytest.raises(RuntimeError, match=words), faulty(tmp_path, upstream, rule):
        raise AssertionError
