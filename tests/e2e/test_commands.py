"""The ways to run buffr: its commands, twistd, the environment alone."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bench import interactions
from commands import TWISTD, run
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer


def numbered(received: Received) -> bytes:
    return answer(b"for " + received.target)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(numbered) as upstream:
        yield upstream


def default_cassette(upstream: FakeUpstream) -> str:
    return f"127.0.0.1_{upstream.port}.json"


def addresses(process: BuffrProcess) -> list[str]:
    """What it says that it listens on."""
    return re.findall(r"msg=listening .*\baddr=(\S+)", process.log())


class TestCommands:
    def test_auto_then_replay(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        """The default cassette is named after the target, in the data directory."""
        flags = ("--target", upstream.url, "--port", "0")
        with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
            assert ask(running.ports[0], request(b"/a")).body == b"for /a"
        assert len(interactions(tmp_path / default_cassette(upstream))) == 1
        with BuffrProcess.run("replay", *flags, cwd=tmp_path) as running:
            assert ask(running.ports[0], request(b"/a")).body == b"for /a"
            assert ask(running.ports[0], request(b"/b")).status == 599

    def test_serve_takes_buffr_yaml_of_the_directory(
        self, tmp_path: Path, upstream: FakeUpstream
    ) -> None:
        row = {"target": upstream.url, "port": 0}
        settings = {"data_dir": "kept", "reverse": [row, {**row, "cassette": "other.json"}]}
        (tmp_path / "buffr.yaml").write_text(yaml.safe_dump(settings))
        with BuffrProcess.run("serve", cwd=tmp_path, listeners=2) as running:
            for port in running.ports:
                assert ask(port, request(b"/a")).body == b"for /a"
        assert len(interactions(tmp_path / "kept" / default_cassette(upstream))) == 1
        assert len(interactions(tmp_path / "other.json")) == 1

    def test_twistd_runs_the_same(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        """Same log on the console, same end."""
        settings = tmp_path / "s.yaml"
        settings.write_text(yaml.safe_dump({"reverse": [{"target": upstream.url, "port": 0}]}))
        with BuffrProcess.run("--config", str(settings), cwd=tmp_path, command=TWISTD) as running:
            assert ask(running.ports[0], request(b"/a")).body == b"for /a"
            running.wait_for(r'^time=\S+ level=INFO msg="GET /a" status=200 ')
            assert running.stop() == 0
        assert len(interactions(tmp_path / default_cassette(upstream))) == 1

    def test_twistd_lists_it(self, tmp_path: Path) -> None:
        done = run("--help", cwd=tmp_path, command=TWISTD[:1])
        assert re.search(r"^\s+buffr\s+A proxy that records and replays", done.stdout, re.MULTILINE)

    def test_help_of_a_command(self, tmp_path: Path) -> None:
        done = run("auto", "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "--target" in done.stdout
        assert not done.stderr

    def test_help_lists_the_commands(self, tmp_path: Path) -> None:
        done = run("--help", cwd=tmp_path)
        assert done.returncode == 0
        for command in ("auto", "record", "replay", "serve", "demo"):
            assert f"\n  {command} " in done.stdout

    def test_a_new_access_key(self, tmp_path: Path) -> None:
        """32 random bytes as base64url, another one each time."""
        keys = {run("key", cwd=tmp_path).stdout.strip() for _ in range(2)}
        assert len(keys) == 2
        assert all(re.fullmatch("[A-Za-z0-9_-]{43}", key) for key in keys)

    @pytest.mark.parametrize("command", ["key", "demo", "ca", "run", "config", "cassette", "auto"])
    def test_each_command_has_its_help(self, command: str, tmp_path: Path) -> None:
        """On standard output, with 0."""
        done = run(command, "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "usage: buffr" in done.stdout.lower()

    def test_nothing_to_do_is_answered_with_the_help(self, tmp_path: Path) -> None:
        done = run(cwd=tmp_path)
        assert done.returncode == 1
        assert "Usage: buffr COMMAND" in done.stdout


class TestEnvironment:
    """The first buffr's container: no arguments, variables only."""

    def test_a_single_route(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        env = {"BUFFR_TARGET": upstream.url, "BUFFR_PORT": "0", "BUFFR_DATA_DIR": "kept"}
        with BuffrProcess.run(cwd=tmp_path, env=env) as running:
            assert ask(running.ports[0], request(b"/a")).body == b"for /a"
            assert "mode=auto" in running.log()
        env["BUFFR_MODE"] = "replay"
        with BuffrProcess.run(cwd=tmp_path, env=env) as running:
            assert ask(running.ports[0], request(b"/a")).body == b"for /a"
            assert ask(running.ports[0], request(b"/b")).status == 599

    def test_a_cassette_and_an_address(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        env = {
            "BUFFR_MODE": "record",
            "BUFFR_TARGET": upstream.url,
            "BUFFR_PORT": "0",
            "BUFFR_LISTEN": "127.0.0.2",
            "BUFFR_CASSETTE": "mine.json",
            "BUFFR_LOG_FORMAT": "json",
        }
        with BuffrProcess.run(cwd=tmp_path, env=env) as running:
            port = running.ports[0]
            with socket.create_connection(("127.0.0.2", port), 5) as client:
                client.sendall(request(b"/a"))
                assert client.recv(12) == b"HTTP/1.1 200"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
        assert len(interactions(tmp_path / "mine.json")) == 1

    def test_targets(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        rows = [
            {"target": upstream.url, "port": 0, "cassette": "one.json"},
            {"target": f"{upstream.url}/base", "port": 0, "mode": "record"},
        ]
        env = {"BUFFR_TARGETS": yaml.safe_dump(rows), "BUFFR_DATA_DIR": "data"}
        with BuffrProcess.run(cwd=tmp_path, env=env, listeners=2) as running:
            bodies = [ask(port, request(b"/a")).body for port in running.ports]
            assert bodies == [b"for /a", b"for /base/a"]
        assert len(interactions(tmp_path / "one.json")) == 1
        assert len(interactions(tmp_path / "data" / default_cassette(upstream))) == 1

    def test_numbered_targets(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        env = {
            "BUFFR_0_TARGET": upstream.url,
            "BUFFR_0_PORT": "0",
            "BUFFR_0_CASSETTE": "zero.json",
            "BUFFR_1_TARGET": f"{upstream.url}/base",
            "BUFFR_1_PORT": "0",
            "BUFFR_1_MODE": "record",
            "BUFFR_1_CASSETTE": "one.json",
        }
        with BuffrProcess.run(cwd=tmp_path, env=env, listeners=2) as running:
            bodies = [ask(port, request(b"/a")).body for port in running.ports]
            assert bodies == [b"for /a", b"for /base/a"]
            assert "mode=record" in running.log()
        for name in ("zero.json", "one.json"):
            assert len(interactions(tmp_path / name)) == 1

    @pytest.mark.parametrize(
        "env", [{"BUFFR_MODE": "proxy"}, {"BUFFR_PROXY": "mode: auto"}], ids=min
    )
    def test_a_forward_proxy(
        self, tmp_path: Path, upstream: FakeUpstream, env: dict[str, str]
    ) -> None:
        env = {**env, "BUFFR_PORT": "0", "BUFFR_CA_CERT": "my.pem", "BUFFR_CA_KEY": "my.key"}
        with BuffrProcess.run(cwd=tmp_path, env=env) as running:
            raw = request(b"%b/a" % upstream.url.encode()).replace(
                b"client.test", b"127.0.0.1:%d" % upstream.port
            )
            assert ask(running.ports[0], raw).body == b"for /a"
        assert "CERTIFICATE" in (tmp_path / "my.pem").read_text()
        assert (tmp_path / "my.key").stat().st_mode & 0o777 == 0o600
        printed = run("ca", cwd=tmp_path, env=env)
        assert printed.stdout.strip() == (tmp_path / "my.pem").read_text().strip()

    def test_ports_by_default(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        """8080, and 8080 + index; on loopback alone (seed defect 18)."""
        for port in (8080, 8081):
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                pytest.skip(f"port {port} is taken on this machine")
        rows = [{"target": upstream.url, "cassette": f"{name}.json"} for name in "ab"]
        env = {"BUFFR_TARGETS": yaml.safe_dump(rows)}
        with BuffrProcess.run(cwd=tmp_path, env=env, listeners=2) as running:
            assert addresses(running) == ["127.0.0.1:8080", "127.0.0.1:8081"]
            listening = _listening_addresses()
            assert [listening[port] for port in (8080, 8081)] == 2 * ["127.0.0.1"]

    def test_flags_win_over_variables_and_those_over_the_file(
        self, tmp_path: Path, upstream: FakeUpstream
    ) -> None:
        row = {"target": upstream.url, "port": 1, "mode": "record", "cassette": "file.json"}
        (tmp_path / "buffr.yaml").write_text(yaml.safe_dump({"reverse": [row]}))
        env = {"BUFFR_MODE": "passthrough", "BUFFR_CASSETTE": "env.json", "BUFFR_PORT": "2"}
        flags = ("--port", "0", "--mode", "auto")
        with BuffrProcess.run("serve", *flags, cwd=tmp_path, env=env) as running:
            assert ask(running.ports[0], request(b"/a")).status == 200
        assert len(interactions(tmp_path / "env.json")) == 1

    def test_an_unknown_variable_is_a_warning(self, tmp_path: Path, upstream: FakeUpstream) -> None:
        env = {"BUFFR_TARGET": upstream.url, "BUFFR_PORT": "0", "BUFFR_CASETTE": "x"}
        with BuffrProcess.run(cwd=tmp_path, env=env) as running:
            assert running.wait_for("BUFFR_CASETTE.*BUFFR_CASSETTE").string.count("level=WARN") == 1


def _listening_addresses() -> dict[int, str]:
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, port = local.split(":")
        if state == "0A":
            found[int(port, 16)] = socket.inet_ntoa(bytes.fromhex(address)[::-1])
    return found
