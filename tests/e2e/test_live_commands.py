"""``buffr status``, ``tail``, ``misses``, ``mode``, ``reset`` and ``purge`` on a running buffr."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from attrs import define

from buffr.testing import BuffrProcess, FakeUpstream, answer

SETTINGS = """
reverse:
  - {target: 'UPSTREAM', port: 0, mode: auto, cassette: c.json}
  - {target: 'UPSTREAM', port: 0, mode: cache, ttl: 1h}
"""


@define(eq=False)
class Place:
    buffr: BuffrProcess
    directory: Path

    @property
    def route(self) -> str:
        return f"reverse-{self.buffr.ports[0]}"

    def post(self, number: int, path: str, **body: object) -> int:
        url = f"http://127.0.0.1:{self.buffr.ports[number]}{path}"
        return httpx.post(url, json=body, trust_env=False).status_code

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "buffr", *arguments]
        done = subprocess.run(
            command, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("commands")
    with FakeUpstream(lambda _: answer(b"{}")) as upstream:
        (directory / "buffr.yaml").write_text(SETTINGS.replace("UPSTREAM", upstream.url))
        environment = {"BUFFR_ADMIN": "0"}
        with BuffrProcess.run("serve", cwd=directory, env=environment, listeners=2) as buffr:
            buffr.wait_for("msg=admin")
            yield Place(buffr, directory)


def test_from_a_miss_to_a_hit(place: Place) -> None:
    recorded = "0b9f9d53-3a0e-4b7e-9e0c-0c2a1c9f1a11"
    assert place.post(0, "/a", id=recorded) == 200
    assert "no miss" not in place.run("misses")
    assert f"{place.route}  auto" in place.run("mode")
    assert f"{place.route}  replay" in place.run("mode", place.route, "replay")
    assert place.post(0, "/a", id="7c1de7a2-51b4-4f0e-8a43-d21fb3ee6b02") == 599
    shown = place.run("misses", code=1)
    assert "body /id" in shown
    assert "random id" in shown
    (miss,) = json.loads(place.run("misses", "--json", code=1))
    accepted = place.run("misses", "--accept", miss["id"])
    assert "1 of 1 misses would have been hits" in accepted
    assert place.post(0, "/a", id="9c1de7a2-51b4-4f0e-8a43-d21fb3ee6b02") == 200
    assert "$.id" in (place.directory / "buffr.yaml").read_text()


def test_status_and_tail(place: Place) -> None:
    place.post(1, "/told")
    assert "exchanges" in place.run("status")
    status = json.loads(place.run("status", "--json"))
    assert status["counts"]["total"] >= 1
    assert "POST" in place.run("tail", "--no-follow", "path:/told")
    (line,) = place.run("tail", "--no-follow", "--json", "path:/told").splitlines()
    assert json.loads(line)["path"] == "/told"


def test_tail_follows(place: Place) -> None:
    command = [sys.executable, "-m", "buffr", "tail", "-n", "1", "path:/followed", "--json"]
    place.post(1, "/followed/0")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=place.directory, stdout=pipe, stderr=pipe) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert json.loads(tail.stdout.readline())["path"] == "/followed/0"
        place.post(1, "/followed/1")
        assert json.loads(tail.stdout.readline())["path"] == "/followed/1"
        tail.terminate()
        assert tail.stderr.read() == b""
        assert tail.wait(60) == -signal.SIGTERM


def test_reset_and_purge(place: Place) -> None:
    place.post(0, "/reset")
    assert "start again" in place.run("reset")
    assert "stored answers removed" in place.run("purge", "--all")
    assert "--route" in place.run("purge", code=2)
    assert "no scope" in place.run("reset", "nobody", code=1)


def test_no_buffr_runs(tmp_path: Path, place: Place) -> None:
    assert "no buffr is running" in place.run("status", "--data-dir", str(tmp_path), code=1)
    refused = place.run("status", "--url", "http://127.0.0.1:1", code=1)
    assert "does not answer" in refused
    token = ("--url", json.loads((place.directory / "buffr-admin.json").read_text())["url"])
    assert "token" in place.run("purge", "--all", *token, code=1)
