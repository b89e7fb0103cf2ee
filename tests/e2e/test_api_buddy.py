"""The commands of reference-api-buddy, and its settings, served by buffr."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from buffr.testing import FakeUpstream, answer

_API_BUDDY = (sys.executable, "-m", "buffr.api_buddy_command")
_BUFFR = (sys.executable, "-m", "buffr")


def run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def served(command: Sequence[str], cwd: Path) -> Iterator[tuple[str, list[str]]]:
    """The base URL of a command that serves, and the lines before it was known."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        found = re.search(r"listens on (\S+)|msg=listening.* addr=(\S+)", line)
        if found and found[1]:
            break
    else:
        raise AssertionError(lines)
    lines += [process.stdout.readline() for _ in range(4) if "Security" in "".join(lines)]
    try:
        yield found[1], lines
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(lambda received: answer(received.target)) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, upstream: FakeUpstream) -> dict[str, Any]:
    given = {
        "server": {"port": 0},
        "cache": {"database_path": str(tmp_path / "cache.db"), "max_cache_entries": 7},
        "domain_mappings": {
            "api": {"upstream": upstream.url, "ttl_seconds": 60, "max_requests_per_second": 50}
        },
    }
    (tmp_path / "buddy.json").write_text(json.dumps(given))
    return given


class TestServing:
    @pytest.mark.parametrize("command", [_API_BUDDY, (*_BUFFR, "serve")], ids=["own", "buffr"])
    def test_its_settings_are_served(
        self,
        settings: dict[str, Any],
        tmp_path: Path,
        upstream: FakeUpstream,
        command: Sequence[str],
    ) -> None:
        with served([*command, "--config", "buddy.json"], tmp_path) as (base, _):
            for _ in range(2):
                assert requests.get(f"{base}/api/x?a=%2F", timeout=20).text == "/x?a=%2F"
            assert requests.get(f"{base}/no/x", timeout=20).status_code == 404
        assert len(upstream.received) == 1

    def test_flags_win(self, settings: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text(json.dumps({**settings, "server": {"port": 1}}))
        flags = ["--port", "0", "--host", "127.0.0.2", "--log-level", "ERROR"]
        with served([*_API_BUDDY, "-c", "buddy.json", *flags], tmp_path) as (base, lines):
            assert base.startswith("http://127.0.0.2:")
            assert len(lines) == 1

    def test_a_wrong_setting_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text('{"server": {"port": "x"}}')
        for command in (_API_BUDDY, (*_BUFFR, "serve")):
            ran = run([*command, "--config", "buddy.json"], tmp_path)
            assert ran.returncode == 1
            assert "server.port: must be a whole number" in ran.stderr
            assert "Traceback" not in ran.stderr

    def test_a_taken_port_is_said(self, settings: dict[str, Any], tmp_path: Path) -> None:
        with served([*_API_BUDDY, "-c", "buddy.json"], tmp_path) as (base, _):
            port = base.rpartition(":")[2]
            ran = run([*_API_BUDDY, "-c", "buddy.json", "--port", port], tmp_path)
        assert ran.returncode == 1
        assert "in use" in ran.stderr
        assert "Traceback" not in ran.stderr


class TestOtherFlags:
    def test_a_key_is_made(self, tmp_path: Path) -> None:
        ran = run([*_API_BUDDY, "--security-key-only"], tmp_path)
        assert re.fullmatch(r"Generated security key: [A-Za-z0-9_-]{43}\n", ran.stdout)

    def test_settings_are_made_and_never_overwritten(self, tmp_path: Path) -> None:
        assert run([*_API_BUDDY, "--generate-config"], tmp_path).returncode == 0
        made = tmp_path / "api_buddy_config.json"
        assert json.loads(made.read_text())["domain_mappings"]
        made.write_text("mine")
        assert run([*_API_BUDDY, "--generate-config"], tmp_path).returncode == 1
        assert made.read_text() == "mine"

    def test_the_version_is_told(self, tmp_path: Path) -> None:
        assert "buffr" in run([*_API_BUDDY, "--version"], tmp_path).stdout


class TestConverting:
    def test_the_conversion_serves_the_same(
        self, settings: dict[str, Any], tmp_path: Path, upstream: FakeUpstream
    ) -> None:
        ran = run([*_BUFFR, "config", "convert", "buddy.json"], tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
        written = yaml.safe_load(ran.stdout)
        route = written["gateway"]["routes"]["api"]
        assert (route["target"], route["mode"], route["ttl"]) == (upstream.url, "cache", "60s")
        assert route["limits"] == {"per_second": 50, "per_hour": 1000, "max_delay": "300s"}
        assert written["cache"]["entries"] == 7
        (tmp_path / "buffr.yaml").write_text(ran.stdout)
        process = subprocess.Popen(
            [*_BUFFR, "serve"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            env={name: value for name, value in os.environ.items() if "BUFFR" not in name},
        )  # fmt: skip
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            found = re.search(r"msg=listening.* addr=(\S+)", line)
            if found:
                break
        assert found is not None
        for _ in range(2):
            assert requests.get(f"http://{found[1]}/api/x", timeout=20).text == "/x"
        process.terminate()
        process.communicate(timeout=20)
        assert len(upstream.received) == 1

    def test_a_host_s_name_becomes_its_address(self, tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text('{"server": {"host": "localhost"}}')
        ran = run([*_BUFFR, "config", "convert", "buddy.json"], tmp_path)
        assert ran.stdout.startswith("# server.host localhost: listen is an address, and 127.0.0.1")
        assert yaml.safe_load(ran.stdout)["listen"] == "127.0.0.1"
        (tmp_path / "buddy.json").write_text('{"server": {"host": "nowhere.invalid"}}')
        ran = run([*_BUFFR, "config", "convert", "buddy.json"], tmp_path)
        assert ran.returncode == 1
        assert "buffr: buddy.json: server.host nowhere.invalid: has no address" in ran.stderr

    def test_the_examples_are_right(self, tmp_path: Path) -> None:
        example = Path(__file__).parents[2] / "examples" / "api_buddy_ttl.json"
        ran = run([*_BUFFR, "config", "convert", str(example)], tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_what_cannot_be_read_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "bad.json").write_text("{")
        for name, said in (("bad.json", "is no JSON"), ("none.json", "cannot be read")):
            ran = run([*_BUFFR, "config", "convert", name], tmp_path)
            assert ran.returncode == 1
            assert said in ran.stderr
