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

_API_BUDDY = (sys.executable, "-m", "buffr.commands.api_buddy")
_BUFFR = (sys.executable, "-m", "buffr")


def run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def served(command: Sequence[str], cwd: Path) -> Iterator[tuple[str, list[str]]]:
    """The base URL of a command that serves, and the lines before it was known."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Press Ctrl+C"):
            break
    else:
        raise AssertionError(lines)
    found = re.search(r"^Starting Reference API Buddy on (\S+)$", "".join(lines), re.MULTILINE)
    assert found is not None
    try:
        yield f"http://{found[1]}", lines
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=120)
        lines += rest.splitlines(keepends=True)
        assert process.returncode == 0
        assert "Shutting down...\n" in lines


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
                assert requests.get(f"{base}/api/x?a=%2F", timeout=120).text == "/x?a=%2F"
            assert requests.get(f"{base}/no/x", timeout=120).status_code == 404
        assert len(upstream.received) == 1

    def test_flags_win(self, settings: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text(json.dumps({**settings, "server": {"port": 1}}))
        flags = ["--port", "0", "--host", "127.0.0.2", "--log-level", "ERROR"]
        with served([*_API_BUDDY, "-c", "buddy.json", *flags], tmp_path) as (base, lines):
            assert base.startswith("http://127.0.0.2:")
            assert len(lines) == 3  # none of them of the log

    def test_a_wrong_setting_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text('{"server": {"port": "x"}}')
        for command in (_API_BUDDY, (*_BUFFR, "serve")):
            ran = run([*command, "--config", "buddy.json"], tmp_path)
            assert ran.returncode == 1
            assert "server.port: must be a whole number" in ran.stderr
            assert "Traceback" not in ran.stderr

    def test_the_key_is_told_where_clients_put_it(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        settings["security"] = {"require_secure_key": True}
        settings["logging"] = {"enable_console": False}
        (tmp_path / "buddy.json").write_text(json.dumps(settings))
        with served([*_API_BUDDY, "--config", "buddy.json"], tmp_path) as (base, lines):
            found = re.search(r"Security key: (\S+)", "".join(lines))
            assert found is not None
            key = found[1]
            assert "".join(lines[1:]) == (
                f"Security key: {key}\n"
                "Include this key in your requests:\n"
                f"  Path prefix: /{key}/domain/path\n"
                f"  Query param: ?key={key}\n"
                f"  Header: X-API-Buddy-Key: {key}\n"
                "\n"
                "Press Ctrl+C to stop\n"
            )
            assert requests.get(f"{base}/{key}/api/x", timeout=120).ok
            refused = requests.get(f"{base}/api/x", timeout=120)
            assert (refused.status_code, refused.text[:13]) == (401, "Unauthorized:")

    def test_the_default_settings_are_said_and_obey_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("API_BUDDY_DB_PATH", str(tmp_path / "mine.db"))
        monkeypatch.setenv("API_BUDDY_LOG_LEVEL", "ERROR")
        with served([*_API_BUDDY, "--port", "0"], tmp_path) as (_, lines):
            assert lines[0].startswith("Using default configuration. Use --generate-config to cre")
            assert lines[1].startswith("Starting Reference API Buddy on 127.0.0.1:")
        assert (tmp_path / "mine.db").exists()

    def test_the_name_of_a_host_is_told_as_it_was_given(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        command = [*_API_BUDDY, "--config", "buddy.json", "--host", "localhost"]
        with served(command, tmp_path) as (base, _):
            assert base.startswith("http://localhost:")
            assert requests.get(f"{base}/api/x", timeout=120).ok

    @pytest.mark.parametrize("text", ["null", "[]", "0", '""'])
    def test_a_file_without_an_object_is_refused(self, tmp_path: Path, text: str) -> None:
        """It started a proxy without a key, on port 8080 whatever the flags said."""
        (tmp_path / "buddy.json").write_text(text)
        ran = run([*_API_BUDDY, "--config", "buddy.json", "--port", "0"], tmp_path)
        assert ran.returncode == 1
        assert ran.stderr.startswith("api-buddy: buddy.json: the settings must be an object, not ")
        for command in (["serve", "--config"], ["config", "convert"]):
            ran = run([*_BUFFR, *command, "buddy.json"], tmp_path)
            assert (ran.returncode, ran.stdout) == (1, "")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (None, "Error: Configuration file not found: buddy.json\n"),
            ("{", "Error: Invalid JSON in configuration file: buddy.json: Expecting property"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_said_on_standard_output(
        self, tmp_path: Path, text: str | None, said: str
    ) -> None:
        """Where the original says it."""
        if text is not None:
            (tmp_path / "buddy.json").write_text(text)
        ran = run([*_API_BUDDY, "--config", "buddy.json"], tmp_path)
        assert (ran.returncode, ran.stderr) == (1, "")
        assert ran.stdout.startswith(said)

    def test_signals_that_come_together_are_no_traceback(
        self, tmp_path: Path, settings: dict[str, Any]
    ) -> None:
        for numbers in ([signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]):
            process = subprocess.Popen(
                [*_API_BUDDY, "--config", "buddy.json"], cwd=tmp_path, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdout is not None
            assert any(line.startswith("Press Ctrl+C") for line in process.stdout)
            for _ in range(100):
                for number in numbers:
                    process.send_signal(number)
            rest, _ = process.communicate(timeout=120)
            assert "Traceback" not in rest
            assert process.returncode in (0, -signal.SIGTERM, -signal.SIGINT)

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

    def test_made_settings_obey_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("API_BUDDY_DB_PATH", ":memory:")
        monkeypatch.setenv("API_BUDDY_LOG_LEVEL", "DEBUG")
        assert run([*_API_BUDDY, "--generate-config"], tmp_path).returncode == 0
        made = json.loads((tmp_path / "api_buddy_config.json").read_text())
        assert made["cache"]["database_path"] == ":memory:"
        assert made["logging"] == {"level": "DEBUG"}
        monkeypatch.setenv("API_BUDDY_LOG_LEVEL", "LOUD")
        ran = run([*_API_BUDDY, "--generate-config"], tmp_path)
        assert ran.returncode == 1
        assert ran.stderr.startswith("api-buddy: API_BUDDY_LOG_LEVEL: logging.level: must be one")

    def test_help_has_examples(self, tmp_path: Path) -> None:
        told = run([*_API_BUDDY, "--help"], tmp_path).stdout
        assert "Reference API Buddy - HTTP Caching Proxy" in told
        assert "Examples:\n  api-buddy --config config.json" in told
        assert "API_BUDDY_DB_PATH" in told

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
            assert requests.get(f"http://{found[1]}/api/x", timeout=120).text == "/x"
        process.terminate()
        process.communicate(timeout=120)
        assert len(upstream.received) == 1

    def test_a_host_s_name_becomes_its_address(self, tmp_path: Path) -> None:
        (tmp_path / "buddy.json").write_text('{"server": {"host": "localhost"}}')
        ran = run([*_BUFFR, "config", "convert", "buddy.json"], tmp_path)
        assert ran.stdout.startswith("# server.host localhost: listen takes an address; 127.0.0.1")
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
        for name, said in (("bad.json", "is not JSON"), ("none.json", "cannot be read")):
            ran = run([*_BUFFR, "config", "convert", name], tmp_path)
            assert ran.returncode == 1
            assert said in ran.stderr
