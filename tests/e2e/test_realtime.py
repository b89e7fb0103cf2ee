"""A realtime API that refuses, closes, drops, or says much: live, and when it is gone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import run
from forward_bench import NO_PARENTS
from memory import Memory
from realtime import realtime
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from buffr.testing import BuffrProcess

LARGE = bytes(64_000_000)
MOST_MORE_MB = 40


@contextmanager
def serving(directory: Path, mode: str, port: int) -> Iterator[BuffrProcess]:
    row: dict[str, Any] = {"target": f"http://127.0.0.1:{port}", "port": 0, "mode": mode}
    row |= {"cassette": "api.json", "record_statuses": ["2xx", 401, 404, 429]}
    (directory / "buffr.yaml").write_text(json.dumps({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory, env=NO_PARENTS) as process:
        yield process


def opened(process: BuffrProcess, path: str = "/", **options: Any) -> ClientConnection:
    url = f"ws://127.0.0.1:{process.ports[0]}{path}"
    made: ClientConnection = connect(url, proxy=None, max_size=None, **options)
    return made


def end(client: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        client.recv(120)
    return client.close_code, client.close_reason


class TestEnds:
    def test_every_close_and_every_drop_is_what_it_was(self, tmp_path: Path) -> None:
        """Seed defect 16: reasons were lost, and 1006 was put on the wire."""
        codes = [1000, 1001, 1008, 1011, 4000, 4999]

        def ends(process: BuffrProcess) -> list[tuple[int | None, str | None]]:
            found = []
            for code in codes:
                with opened(process, f"/close/{code}") as client:
                    client.recv(120)
                    client.send(json.dumps({"type": "bye", "code": code, "reason": f"why {code}"}))
                    found.append(end(client))
            with opened(process, "/drop") as client:
                client.recv(120)
                client.send(json.dumps({"type": "drop"}))
                found.append(end(client))
            return found

        with realtime() as api, serving(tmp_path, "record", api.port) as recording:
            live = ends(recording)
        assert live == [*((code, f"why {code}") for code in codes), (1006, "")]
        with serving(tmp_path, "replay", api.port) as replaying:
            assert ends(replaying) == live

    def test_a_refusal_is_recorded_as_the_answer_that_it_is(self, tmp_path: Path) -> None:
        """Seed defect 16: an upstream's 401 was a 101 and a close."""

        def refusals(
            process: BuffrProcess,
        ) -> list[tuple[int, bytes, str | None]]:
            found = []
            for status in (401, 404, 429):
                with pytest.raises(InvalidStatus) as caught:
                    opened(process, f"/refused/{status}")
                answer = caught.value.response
                found.append(
                    (answer.status_code, bytes(answer.body or b""), answer.headers.get("X-Why"))
                )
            return found

        with realtime() as api, serving(tmp_path, "auto", api.port) as recording:
            live = refusals(recording)
        told = [(status, b"refused with %d\n" % status, "none") for status in (401, 404, 429)]
        assert live == told
        with serving(tmp_path, "replay", api.port) as replaying:
            assert refusals(replaying) == live


class TestMuch:
    def test_a_thousand_messages_in_one_compression_context(self, tmp_path: Path) -> None:
        """Seed defect 16: there was no permessage-deflate."""
        said = [
            json.dumps({"type": "echo", "n": n, "word": "the same words" * 5}) for n in range(1000)
        ]

        def heard(process: BuffrProcess) -> list[str | bytes]:
            with opened(process, compression="deflate") as client:
                assert client.response is not None
                chosen = client.response.headers["Sec-WebSocket-Extensions"]
                assert "permessage-deflate" in chosen
                assert "no_context_takeover" not in chosen
                found = [client.recv(120)]
                for word in said:
                    client.send(word)
                    found.append(client.recv(120))
                return found

        with realtime() as api, serving(tmp_path, "auto", api.port) as recording:
            live = heard(recording)
            assert heard(recording) == live
            assert api.sessions == 1
        assert live[1:] == said
        with serving(tmp_path, "replay", api.port) as replaying:
            assert heard(replaying) == live

    def test_a_message_of_64_mb_is_not_held_in_memory(self, tmp_path: Path) -> None:
        def more_mb(process: BuffrProcess) -> float:
            with opened(process, compression=None) as client:
                client.recv(120)
                memory = Memory(process.process.pid)
                client.send(LARGE)
                client.send(json.dumps({"type": "echo"}))
                assert client.recv(120) == json.dumps({"type": "echo"})
            return memory.more_mb

        with realtime() as api, serving(tmp_path, "record", api.port) as recording:
            assert more_mb(recording) < MOST_MORE_MB
        assert LARGE in api.received
        with serving(tmp_path, "replay", api.port) as replaying:
            assert more_mb(replaying) < MOST_MORE_MB


class TestOrder:
    def test_sessions_come_in_their_order_and_begin_again(self, tmp_path: Path) -> None:
        with realtime() as api, serving(tmp_path, "record", api.port) as recording:
            live = [_greeting(recording) for _ in range(3)]
        assert len(set(live)) == 3
        with serving(tmp_path, "replay", api.port) as replaying:
            assert [_greeting(replaying) for _ in range(4)] == [*live, live[0]]

    def test_sessions_at_the_same_time_do_not_mix(self, tmp_path: Path) -> None:
        with realtime() as api, serving(tmp_path, "record", api.port) as recording:
            live = _at_the_same_time(recording)
        with serving(tmp_path, "replay", api.port) as replaying:
            again = _at_the_same_time(replaying)
        assert live == again == [[f"{path}-{n}" for n in range(20)] for path in "abc"]


def _greeting(process: BuffrProcess) -> str | bytes:
    with opened(process) as client:
        return client.recv(120)


def _at_the_same_time(process: BuffrProcess) -> list[list[str]]:
    heard: dict[str, list[str]] = {path: [] for path in "abc"}
    with ExitStack() as stack:
        clients = {path: stack.enter_context(opened(process, f"/{path}")) for path in heard}
        for client in clients.values():
            client.recv(120)
        for number in range(20):
            for path, client in clients.items():
                client.send(json.dumps({"type": "echo", "word": f"{path}-{number}"}))
            for path, client in clients.items():
                heard[path].append(json.loads(client.recv(120))["word"])
    return list(heard.values())


_SAYS = """
import sys
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
with connect(sys.argv[1]) as client:
    print(client.recv(120))
    client.send(sys.argv[2])
    try:
        print(client.recv(120))
    except ConnectionClosed:
        print(client.close_code, client.close_reason)
"""


class TestDrift:
    def test_the_report_of_a_run_says_what_differed(self, tmp_path: Path) -> None:
        """Seed defect 16: raw text was compared; here JSON in another spelling is the same."""

        def said(words: str, *options: str) -> tuple[str, Any]:
            command = [sys.executable, "-c", _SAYS, f"ws://127.0.0.1:{api.port}/talk", words]
            flags = ["--cassette", "api.json", "--report", "report.json", *options]
            done = run("run", *flags, "--", *command, cwd=tmp_path, env=NO_PARENTS)
            assert done.stdout, done.stderr
            return done.stdout, json.loads((tmp_path / "report.json").read_text())

        with realtime() as api:
            live, report = said('{"type": "echo", "word": "one", "n": 1}')
            assert report["exit_code"] == 0
        again, report = said('{"n":1,"word":"one","type":"echo"}', "--replay", "--fail-on-miss")
        assert (again, report["exit_code"]) == (live, 0)
        heard, report = said('{"n":1,"word":"two","type":"echo"}', "--replay", "--fail-on-miss")
        assert "1011 cassette drift: frame 1" in heard
        assert report["exit_code"] == 1
        (row,) = report["requests"]
        assert "/word" in row["detail"]
        assert "one" in row["detail"]
        assert "two" in row["detail"]
