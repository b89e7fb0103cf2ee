"""``re_record_after``: what is too old is recorded anew, as long as there is somebody to ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import interactions
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, answer

LONG_AGO = "2020-01-01T00:00:00.000Z"


def recorded(body: str, recorded_at: str | None = LONG_AGO) -> dict[str, Any]:
    http: dict[str, Any] = {
        "request": {"method": "GET", "path": "/x", "headers": {}},
        "response": {"status": 200, "headers": {}, "body": body},
    }
    if recorded_at is not None:
        http["recorded_at"] = recorded_at
    return {"type": "http", "http": http}


def cassette(directory: Path, *recordings: dict[str, Any]) -> Path:
    path = directory / "api.json"
    path.write_text(json.dumps({"version": 1, "interactions": recordings}))
    return path


@contextmanager
def running(directory: Path, target: str, mode: str = "auto") -> Iterator[BuffrProcess]:
    row = {
        "target": target,
        "port": 0,
        "mode": mode,
        "cassette": "api.json",
        "re_record_after": "30d",
    }
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory) as process:
        yield process


def got(process: BuffrProcess) -> bytes:
    return ask(process.ports[0], request(b"/x")).body


class TestAuto:
    def test_each_in_its_turn(self, tmp_path: Path) -> None:
        """In this run and in later ones; nothing is fetched twice."""
        path = cassette(tmp_path, recorded("old 1"), recorded("old 2"))
        with FakeUpstream(lambda _: answer(b"new %d" % len(upstream.received))) as upstream:
            with running(tmp_path, upstream.url) as process:
                assert [got(process) for _ in range(4)] == [b"new 1", b"new 2", b"new 1", b"new 2"]
            with running(tmp_path, upstream.url) as process:
                assert [got(process) for _ in range(3)] == [b"new 1", b"new 2", b"new 1"]
            assert len(upstream.received) == 2
        assert len(interactions(path)) == 4

    def test_young_ones_and_those_that_do_not_say(self, tmp_path: Path) -> None:
        """Recordings of the Go program have no time."""
        cassette(tmp_path, recorded("no time", None), recorded("young", "2999-01-01T00:00:00Z"))
        with (
            FakeUpstream(lambda _: answer(b"new")) as upstream,
            running(tmp_path, upstream.url) as process,
        ):
            assert [got(process) for _ in range(3)] == [b"no time", b"young", b"no time"]
            assert not upstream.received

    def test_where_nobody_answers_the_old_one_does(self, tmp_path: Path) -> None:
        """And the log says so."""
        path = cassette(tmp_path, recorded("old"))
        with FakeUpstream(lambda _: answer(b"new")) as upstream:
            gone = upstream.url
        with running(tmp_path, gone) as process:
            assert [got(process) for _ in range(2)] == [b"old", b"old"]
            assert " level=WARN " in process.wait_for("the old recording answers").string
            assert process.wait_for("src=cassette")
        assert len(interactions(path)) == 1

    @pytest.mark.parametrize("status", [401, 429, 500, 503])
    def test_an_answer_that_is_not_recorded_takes_the_place_of_none(
        self, tmp_path: Path, status: int
    ) -> None:
        """A failing upstream is no better than one that is gone."""
        path = cassette(tmp_path, recorded("old"))
        with (
            FakeUpstream(lambda _: answer(b"busy", b"%d No" % status)) as upstream,
            running(tmp_path, upstream.url) as process,
        ):
            assert [got(process) for _ in range(2)] == [b"old", b"old"]
            assert len(upstream.received) == 2
            line = process.wait_for("the old recording answers").string
            assert f"the upstream answered {status}" in line
        assert len(interactions(path)) == 1

    def test_an_answer_that_is_recorded_takes_its_place(self, tmp_path: Path) -> None:
        cassette(tmp_path, recorded("old"))
        with (
            FakeUpstream(lambda _: answer(b"gone", b"404 Gone")) as upstream,
            running(tmp_path, upstream.url) as process,
        ):
            assert [got(process) for _ in range(2)] == [b"gone", b"gone"]
            assert len(upstream.received) == 1

    @pytest.mark.parametrize("refusal", [b"503 Busy", None])
    def test_a_session(self, tmp_path: Path, refusal: bytes | None) -> None:
        """One that the upstream refuses is replayed as it was; so is one that it cannot have."""
        frame = {"direction": "server_to_client", "opcode": "text", "data": "old", "delay_ms": 0}
        session = {"request": {"path": "/x", "headers": {}}, "frames": [frame]}
        one = {"type": "websocket", "websocket": session | {"recorded_at": LONG_AGO}}
        cassette(tmp_path, one)
        with FakeUpstream(lambda _: answer(b"no", refusal or b"")) as upstream:
            target = upstream.url
            if refusal is None:
                upstream.close()
            with running(tmp_path, target) as process:
                key = (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")
                asked = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), key]
                asked.append((b"Sec-WebSocket-Version", b"13"))
                client = RawClient(process.ports[0])
                client.send(request(b"/x", headers=asked))
                assert b"old" in client.until(b"old")
                client.close()
                assert process.wait_for("the old recording answers")


class TestReplay:
    def test_it_answers_and_warns(self, tmp_path: Path) -> None:
        cassette(tmp_path, recorded("old"))
        with running(tmp_path, "http://127.0.0.1:1", "replay") as process:
            assert [got(process) for _ in range(2)] == [b"old", b"old"]
            assert " level=WARN " in process.wait_for("older than re_record_after").string
