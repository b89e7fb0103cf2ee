"""``buffr run --clock``: a command at the time of its recordings, by libfaketime."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from commands import run as run_command
from cryptography import x509
from forward_bench import NO_PARENTS, secure_origin, trust_file

from buffr.commands.run.clock import library
from buffr.errors import ConfigError
from buffr.testing import FakeUpstream, Received, answer

LATER = timedelta(days=365)

PROGRAM = """
import datetime, json, sys, threading, time
import requests

session = requests.Session()
got = session.get(sys.argv[1])
time.sleep(0.01)
threading.Event().wait(0.01)
print(json.dumps({
    "now": datetime.datetime.now(datetime.UTC).isoformat(),
    "status": got.status_code,
    "cookies": [cookie.name for cookie in session.cookies],
}))
"""


def _installed() -> bool:
    try:
        library()
    except ConfigError:
        return False
    return True


needs_libfaketime = pytest.mark.skipif(not _installed(), reason="libfaketime is not installed")


def old_api(_: Received) -> bytes:
    """A cookie that was good for a minute a year ago."""
    expires = datetime.now(UTC) - LATER + timedelta(minutes=1)
    cookie = b"sid=1; Path=/; Expires=" + format_datetime(expires, usegmt=True).encode()
    return answer(b"{}", headers=[(b"Set-Cookie", cookie)])


class Place:
    """A directory with a cassette that is a year old."""

    def __init__(self, directory: Path, origin: FakeUpstream) -> None:
        self.directory = directory
        self.url = f"{origin.url}/a"
        settings = {"forward": {"ca_file": str(trust_file(directory)), "cassette": "c.json"}}
        (directory / "buffr.yaml").write_text(json.dumps(settings))
        self.run("--record").check_returncode()
        cassette = directory / "c.json"
        text = json.loads(cassette.read_text())
        made = datetime.fromisoformat(text["interactions"][0]["http"]["recorded_at"]) - LATER
        text["interactions"][0]["http"]["recorded_at"] = made.isoformat()
        cassette.write_text(json.dumps(text))
        self.made = made
        self.new_ca()

    def new_ca(self) -> None:
        """As on a machine of CI, which has none yet."""
        for name in ("buffr-ca.pem", "buffr-ca.key"):
            (self.directory / name).unlink()

    def run(self, *options: str, command: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        program = command or (sys.executable, "-c", PROGRAM, self.url)
        arguments = ("run", *options, "--config", "buffr.yaml", "--", *program)
        return run_command(*arguments, cwd=self.directory, env=NO_PARENTS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    with secure_origin(old_api) as origin:
        return Place(tmp_path, origin)


@needs_libfaketime
class TestRecorded:
    def test_the_command_lives_then(self, place: Place) -> None:
        """Its clock, its cookies, and its trust in a CA that is made for that time."""
        done = place.run("--replay", "--clock", "recorded")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (
            timedelta() <= datetime.fromisoformat(said["now"]) - place.made < timedelta(minutes=1)
        )
        assert said["status"] == 200
        assert said["cookies"] == ["sid"]
        ca = x509.load_pem_x509_certificate((place.directory / "buffr-ca.pem").read_bytes())
        assert ca.not_valid_before_utc < place.made < ca.not_valid_after_utc
        assert datetime.now(UTC) < ca.not_valid_after_utc

    def test_without_it_the_cookie_has_expired(self, place: Place) -> None:
        done = place.run("--replay")
        assert json.loads(done.stdout)["cookies"] == []

    def test_a_date(self, place: Place) -> None:
        done = place.run("--clock", "2020-02-29T12:00Z", command=("date", "-u", "+%F"))
        assert done.stdout == "2020-02-29\n"

    def test_a_ca_that_was_not_valid_then(self, place: Place) -> None:
        """It is named, and the command is not started."""
        place.run("--replay").check_returncode()
        done = place.run("--replay", "--clock", "recorded")
        assert (done.returncode, done.stdout) == (2, "")
        assert "CA certificate buffr-ca.pem is not valid before" in done.stderr
        assert "remove buffr-ca.pem and buffr-ca.key" in done.stderr

    def test_python_s_own_site(self, place: Place, tmp_path: Path) -> None:
        """A user's sitecustomize still runs."""
        own = tmp_path / "own"
        own.mkdir()
        (own / "sitecustomize.py").write_text("import builtins; builtins.OWN = 'own'")
        program = "import time; time.sleep(0); print(OWN, time.gmtime().tm_year)"
        command = ("env", sys.executable, "-c", program)
        arguments = ("run", "--clock", "2020-01-01", "--config", "buffr.yaml", "--", *command)
        env = {**NO_PARENTS, "PYTHONPATH": str(own)}
        done = run_command(*arguments, cwd=place.directory, env=env)
        assert done.stdout == "own 2020\n", done.stderr


class TestRefused:
    def refused(self, directory: Path, *options: str, command: str = "true") -> str:
        done = run_command("run", *options, "--", command, cwd=directory, env=NO_PARENTS)
        assert done.returncode == 2
        return done.stderr

    def test_nothing_is_recorded(self, tmp_path: Path) -> None:
        said = self.refused(tmp_path, "--clock", "recorded")
        assert "--clock recorded: no recording with a date is in ." in said

    def test_no_date(self, tmp_path: Path) -> None:
        assert "'soon' must be recorded, or a date" in self.refused(tmp_path, "--clock", "soon")

    def test_answers_that_move(self, tmp_path: Path) -> None:
        settings = {"forward": {"replay_clock": "shifted"}}
        (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
        said = self.refused(tmp_path, "--config", "buffr.yaml", "--clock", "2020-01-01")
        assert "replay_clock moves the answers to the present already" in said

    def test_a_static_program(self, tmp_path: Path) -> None:
        """A head without PT_INTERP; libfaketime is loaded by the loader that it names."""
        program = tmp_path / "static"
        head = b"\x7fELF\x02\x01" + bytes(26) + (64).to_bytes(8, "little") + bytes(14)
        head += (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(4)
        program.write_bytes(head + (1).to_bytes(4, "little") + bytes(52))
        program.chmod(0o755)
        said = self.refused(tmp_path, "--clock", "2020-01-01", command=str(program))
        assert "is linked statically, and libfaketime cannot reach it" in said

    def test_libfaketime_is_not_installed(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="libfaketime is not installed; install it"):
            library(tmp_path)

    def test_where_it_is(self, tmp_path: Path) -> None:
        there = tmp_path / "usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"
        there.parent.mkdir(parents=True)
        there.touch()
        assert library(tmp_path) == there
