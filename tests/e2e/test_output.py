"""What becomes of a command whose output nobody takes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from commands import BUFFR
from raw_http import ask, request

LINES = 3000
FILES = "for n in 0 1 2; do readlink /proc/$PPID/fd/$n; done > streams"
COMMANDS = (
    "",
    "--help",
    "version",
    "key",
    "auto --help",
    "run --version",
    "ca",
    "ca --help",
    "ca --install-hint list",
    "cassette",
    "cassette ls api.json",
    "cassette ls --json api.json",
    "cassette ls --help",
    "cassette show api.json 0",
    "cassette show --body api.json 0",
    "cassette stats api.json",
    "config convert settings.json",
    "demo",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("output")
    one = {"request": {"method": "GET", "path": "/a"}, "response": {"status": 200, "body": "x"}}
    cassette = {"version": 1, "interactions": LINES * [{"type": "http", "http": one}]}
    (place / "api.json").write_text(json.dumps(cassette))
    (place / "settings.json").write_text(
        '{"domain_mappings": {"a": {"upstream": "https://a.test"}}}'
    )
    return place


def run(place: Path, command: str, stdout: int, unbuffered: str = "") -> tuple[int, str]:
    """Its exit code, and what it says on standard error."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
    done = subprocess.run(
        [*BUFFR, *command.split()],
        cwd=place,
        env={**ours, "PYTHONUNBUFFERED": unbuffered},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


class TestCommands:
    @pytest.mark.parametrize("unbuffered", ["", "1"])
    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_reader_that_has_enough(self, place: Path, command: str, unbuffered: str) -> None:
        """``buffr ... | true``: no word, whether the end shows at a write or at the exit."""
        read, write = os.pipe()
        os.close(read)
        try:
            code, said = run(place, command, write, unbuffered)
        finally:
            os.close(write)
        assert code == 1
        assert "Traceback" not in said
        assert "Exception" not in said

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_full_disk_is_said(self, place: Path, command: str) -> None:
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            code, said = run(place, command, full)
        finally:
            os.close(full)
        assert code == 1
        assert said.endswith(f"buffr: standard output: {os.strerror(errno.ENOSPC)}\n")

    @pytest.mark.parametrize("command", [*COMMANDS, "cassette ls nothing.json", "nonsense"])
    @pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
    def test_streams_that_are_closed(self, place: Path, command: str, closed: str) -> None:
        """What is asked for and cannot be written is an error; never a traceback."""
        shell = f"{' '.join(BUFFR)} {command} {closed}"
        ours = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
        done = subprocess.run(
            ["sh", "-c", shell], cwd=place, env=ours, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr
        fails = command in ("", "cassette", "cassette ls nothing.json", "nonsense")
        assert done.returncode == int(fails or ">&- " in f"{closed} ".replace("2>", ""))
        if closed == ">&-" and not fails:
            said = os.strerror(errno.EBADF)
            assert done.stderr.endswith(f"buffr: standard output: {said}\n")

    def test_the_first_lines_are_there(self, place: Path) -> None:
        shell = f"{' '.join(BUFFR)} cassette ls api.json | head -n 2"
        done = subprocess.run(
            ["sh", "-c", shell], cwd=place, capture_output=True, text=True, timeout=120, check=True
        )
        assert len(done.stdout.splitlines()) == 2
        assert done.stderr == ""


class TestServers:
    def test_no_file_takes_the_number_of_a_stream_that_is_closed(self, tmp_path: Path) -> None:
        """Else the log would be written into a cassette."""
        done = subprocess.run(
            ["sh", "-c", f"{' '.join(BUFFR)} run -- sh -c '{FILES}' <&- >&- 2>&-"],
            cwd=tmp_path,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0
        streams = (tmp_path / "streams").read_text().split()
        assert streams == 3 * [os.devnull]

    def test_requests_are_answered_when_nobody_reads_the_log(self, tmp_path: Path) -> None:
        """``buffr ... 2>&1 | head -n 1``: no request has to pay for it, misses least of all."""
        (tmp_path / "api.json").write_text('{"version": 1, "interactions": []}')
        shell = f"{' '.join(BUFFR)} replay --cassette api.json --port 0 2>&1 & echo $!; wait"
        process = subprocess.Popen(["sh", "-c", shell], cwd=tmp_path, stdout=subprocess.PIPE)
        assert process.stdout is not None
        pid, line = int(process.stdout.readline()), process.stdout.readline()
        port = int(line.rpartition(b":")[2])
        process.stdout.close()
        try:
            for _ in range(3):
                answer = ask(port, request(b"/missed"))
                assert answer.status == 599
                assert b"no recorded interaction" in answer.body
        finally:
            os.kill(pid, 15)
            process.wait(120)
