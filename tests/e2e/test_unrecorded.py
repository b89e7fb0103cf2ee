"""A start that could not record is refused, however buffr is started; or it is allowed, and said.

Replay writes nothing, and needs no permission to.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from bench import interactions
from commands import BUFFR, TWISTD, run
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

READ_ONLY = """
while read -r _ place _; do mount -o remount,bind,ro "$place"; done < /proc/self/mounts
cd "$PWD"
if touch file || touch /tmp/file; then exit 1; fi
exec "$@"
"""
CASSETTE = "closed/api.json"


def echo(received: Received) -> bytes:
    body = b"%b %d" % (received.target, len(received.body))
    return answer(body, headers=((b"Cache-Control", b"max-age=60"),))


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(echo) as running:
        yield running


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A directory that nothing can be written to, not even by root."""
    directory = tmp_path / "closed"
    directory.mkdir()
    if os.geteuid() != 0:
        directory.chmod(0o555)
        yield directory
        return
    command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(directory)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@frozen
class Start:
    """A way to start: its arguments by the upstream's URL, and what it says cannot be written."""

    arguments: Callable[[str], Sequence[str]]
    says: str
    command: Sequence[str] = BUFFR
    settings: Callable[[str], object] | None = None


def one(mode: str, *more: str) -> Callable[[str], Sequence[str]]:
    return lambda url: (mode, "--target", url, "--port", "0", *more)


def reverse(url: str) -> object:
    return {"reverse": [{"target": url, "port": 0, "cassette": CASSETTE}]}


def gateway(url: str) -> object:
    routes = {"api": {"target": url, "mode": "auto", "cassette": CASSETTE}}
    return {"gateway": {"port": 0, "routes": routes}}


def hosts(url: str) -> object:
    return {"forward": {"port": 0, "hosts": [{"host": "127.0.0.1", "cassette": CASSETTE}]}}


def served(settings: Callable[[str], object]) -> Start:
    return Start(lambda _: ("serve",), "cassette closed/api.json", settings=settings)


DATA = "closed/127.0.0.1_"
STARTS = {
    "auto": Start(one("auto", "--cassette", CASSETTE), f"cassette {CASSETTE}"),
    "record": Start(one("record", "--cassette", CASSETTE), f"cassette {CASSETTE}"),
    "data_dir": Start(one("auto", "--data-dir", "closed"), f"cassette {DATA}"),
    "a missing directory": Start(one("auto", "--data-dir", "closed/new"), "cassette closed/new/"),
    "twistd": Start(
        lambda url: ("--target", url, "--port", "0", "--cassette", CASSETTE),
        f"cassette {CASSETTE}",
        command=TWISTD,
    ),
    "reverse": served(reverse),
    "gateway": served(gateway),
    "a host of the proxy": served(hosts),
    "proxy": Start(
        lambda _: ("proxy", "--port", "0", "--data-dir", "closed"), "data_dir closed"
    ),
    "cache": Start(one("cache", "--data-dir", "closed"), "cache closed/buffr-cache.db"),
    "cache behind the proxy": Start(
        lambda _: ("proxy", "--cache", "--port", "0", "--data-dir", "closed"),
        "cache closed/buffr-cache.db",
    ),
}  # fmt: skip


def prepared(start: Start, url: str, directory: Path) -> tuple[Sequence[str], dict[str, str]]:
    """The start's arguments and environment; its settings are in the directory."""
    if start.settings is not None:
        (directory / "buffr.yaml").write_text(yaml.safe_dump(start.settings(url)))
    return start.arguments(url), {"BUFFR_CA_CERT": "ca.pem", "BUFFR_CA_KEY": "ca.key"}


@pytest.mark.parametrize("name", STARTS)
class TestWhereNothingCanBeRecorded:
    def test_it_is_refused_with_the_file_the_reason_and_what_to_do(
        self, upstream: FakeUpstream, closed: Path, name: str
    ) -> None:
        start, directory = STARTS[name], closed.parent
        arguments, env = prepared(start, upstream.url, directory)
        done = run(*arguments, cwd=directory, env=env, command=start.command)
        (line,) = (done.stdout + done.stderr).splitlines()
        assert done.returncode == 1
        assert f"{start.says}" in line
        assert "cannot be written: Read-only file system (" in line or "denied (" in line
        assert "--allow-unrecorded" in line
        assert list(closed.iterdir()) == []

    def test_it_is_allowed_by_the_environment_and_said_once(
        self, upstream: FakeUpstream, closed: Path, name: str
    ) -> None:
        start, directory = STARTS[name], closed.parent
        arguments, env = prepared(start, upstream.url, directory)
        env["BUFFR_ALLOW_UNRECORDED"] = "1"
        with BuffrProcess.run(*arguments, cwd=directory, env=env, command=start.command) as running:
            target = b"/api/x" if name == "gateway" else b"/x"
            if "proxy" in name:
                target = upstream.url.encode() + target
            answers = [ask(running.ports[0], request(target)) for _ in range(2)]
        assert [got.body for got in answers] == [b"/x 0"] * 2
        (line,) = [line for line in running.output if "allow_unrecorded" in line]
        assert f"{start.says}" in line
        assert "level=WARN" in line
        assert "level=ERROR" not in running.log()
        assert len(upstream.received) == (1 if "cache" in name else 2)
        assert list(closed.iterdir()) == []


class TestAllowed:
    def test_by_a_flag(self, upstream: FakeUpstream, closed: Path) -> None:
        arguments = one("auto", "--cassette", CASSETTE, "--allow-unrecorded")(upstream.url)
        with BuffrProcess.run(*arguments, cwd=closed.parent) as running:
            assert ask(running.ports[0], request(b"/x")).status == 200

    def test_by_the_settings(self, upstream: FakeUpstream, closed: Path) -> None:
        settings = {
            "allow_unrecorded": True,
            **yaml.safe_load(yaml.safe_dump(reverse(upstream.url))),
        }
        (closed.parent / "buffr.yaml").write_text(yaml.safe_dump(settings))
        with BuffrProcess.run("serve", cwd=closed.parent) as running:
            assert ask(running.ports[0], request(b"/x")).status == 200

    def test_once_there_is_room_it_is_recorded(self, upstream: FakeUpstream, closed: Path) -> None:
        """And what is lost after that is news again."""
        if os.geteuid() != 0:
            pytest.skip("only root can mount")
        subprocess.run(["mount", "-o", "remount,rw,size=256k", str(closed)], check=True)
        ballast = closed / "ballast"

        def fill() -> None:
            with suppress(OSError):
                ballast.write_bytes(b"x" * 300_000)

        fill()
        arguments = one("auto", "--cassette", CASSETTE, "--allow-unrecorded")(upstream.url)
        with BuffrProcess.run(*arguments, cwd=closed.parent) as running:
            ask(running.ports[0], request(b"/before"))
            ballast.unlink()
            ask(running.ports[0], request(b"/after"))
            recorded = interactions(closed.parent / CASSETTE)
            assert [one["http"]["request"]["path"] for one in recorded] == ["/after"]
            fill()
            ask(running.ports[0], request(b"/lost", method=b"POST", body=b"x" * 5000))
            line = running.wait_for("recording lost").string
        assert "/lost was not recorded" in line
        assert "/before was not recorded" not in running.log()


class TestRun:
    def test_it_does_not_start_the_command(self, closed: Path) -> None:
        """Exit code 2, as for all that keeps the command from running."""
        arguments = ("run", "--data-dir", "closed", "--ca-cert", "c.pem", "--ca-key", "c.key")
        command = ("--", sys.executable, "-c", "print('ran')")
        done = run(*arguments, *command, cwd=closed.parent)
        assert done.returncode == 2
        assert "data_dir closed" in done.stderr
        assert "--allow-unrecorded" in done.stderr
        assert done.stdout == ""
        done = run(*arguments, "--allow-unrecorded", *command, cwd=closed.parent)
        assert (done.returncode, done.stdout) == (0, "ran\n")
        assert done.stderr.count("allow_unrecorded") == 1


class TestProcess:
    def test_a_fixture_tells(self, upstream: FakeUpstream, closed: Path) -> None:
        """A test suite fails at once, by the reason."""
        arguments = one("auto", "--cassette", CASSETTE)(upstream.url)
        with (
            pytest.raises(RuntimeError, match=r"cassette closed/api\.json cannot be written"),
            BuffrProcess.run(*arguments, cwd=closed.parent),
        ):
            pass


class TestReplay:
    def test_it_writes_nothing_and_needs_no_permission_to(
        self, upstream: FakeUpstream, tmp_path: Path
    ) -> None:
        """All of the machine's files are read-only, those for temporary things too."""
        if os.geteuid() != 0:
            pytest.skip("only root can mount")
        large = request(b"/large", method=b"POST", body=b"x" * (3 << 20))
        with BuffrProcess.run(
            *one("auto", "--cassette", "a.json")(upstream.url), cwd=tmp_path
        ) as made:
            recorded = [ask(made.ports[0], data).body for data in (request(b"/x"), large)]
        flags = ("replay", "--cassette", "a.json", "--data-dir", "none", "--port", "0")
        command = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh", *BUFFR)
        with BuffrProcess.run(*flags, cwd=tmp_path, command=command) as running:
            got = [ask(running.ports[0], data).body for data in (request(b"/x"), large)]
        assert got == recorded
        assert not (tmp_path / "none").exists()

    def test_no_directory_is_made_for_it(self, tmp_path: Path) -> None:
        """Nor for what keeps nothing."""
        for mode in ("replay", "passthrough"):
            flags = one(mode, "--data-dir", "new")("http://127.0.0.1:9")
            with BuffrProcess.run(*flags, cwd=tmp_path):
                pass
        assert list(tmp_path.iterdir()) == []


class TestCA:
    def test_that_cannot_be_made_is_said(self, closed: Path) -> None:
        done = run("proxy", "--replay", "--data-dir", "closed", cwd=closed.parent)
        assert done.returncode == 1
        assert "closed/buffr-ca.key" in done.stderr
        assert "Read-only file system (closed)" in done.stderr or "denied (closed" in done.stderr
        assert "BUFFR_CA_CERT" in done.stderr
