"""``buffr run --isolate``: whatever a command opens ends at buffr, and nothing else leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from commands import BUFFR
from forward_bench import NO_PARENTS, named, secure_origin, trust_file
from forward_clients import HOST
from namespaces import needs_namespaces

from buffr.commands.run.environment import VARIABLES
from buffr.testing import FakeUpstream

pytestmark = needs_namespaces

Done = subprocess.CompletedProcess[str]

NOBODY = 65534
USERS = ["self"]
if os.geteuid() == 0 and shutil.which("setpriv") is not None:
    USERS.append("nobody")


@frozen
class Place:
    """A directory to run in. Every name below ``example.test`` is the origin's, for buffr alone."""

    directory: Path
    user: str

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Done:
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        ours = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
        for one in VARIABLES:
            ours.pop(one.name, None)
        ours |= {"HOME": str(self.directory), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*(become if self.user == "nobody" else ()), *BUFFR, "run", "--isolate", *arguments],
            cwd=self.directory,
            env={**ours, **NO_PARENTS, "BUFFR_CONFIG": "buffr.yaml", **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done


def settings(directory: Path) -> dict[str, Any]:
    row = {"host": f"*.{HOST}", "resolve": "127.0.0.1", "cassette": "all.json"}
    return {"forward": {"ca_file": str(trust_file(directory)), "hosts": [row]}}


@pytest.fixture(params=USERS)
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Place:
    (tmp_path / "buffr.yaml").write_text(json.dumps(settings(tmp_path)))
    if request.param == "nobody":
        for path in (tmp_path, *tmp_path.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        for above in tmp_path.parents[:3]:
            above.chmod(above.stat().st_mode | 0o711)
    return Place(tmp_path, request.param)


class TestCommands:
    def test_recorded_and_replayed(self, place: Place) -> None:
        """Over TLS and without, with no variable of a proxy, and then with the origins gone."""
        with secure_origin(named, f"*.{HOST}") as secure, FakeUpstream(named) as plain:
            urls = f"https://a.{HOST}:{secure.port}/1", f"http://b.{HOST}:{plain.port}/2"
            command = ("sh", "-c", 'echo "$HTTPS_PROXY"; curl -sS "$@"', "sh", *urls)
            recorded = place.run("--record", "--", *command)
            assert recorded.returncode == 0, recorded.stderr
        assert recorded.stdout.splitlines() == [
            "",
            f"GET a.{HOST}:{secure.port}/1GET b.{HOST}:{plain.port}/2",
        ]
        replayed = place.run("--replay", "--fail-on-miss", "--", *command)
        assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
        assert "2 hits, 0 recorded, 0 misses" in replayed.stderr

    def test_it_is_who_it_is_outside(self, place: Place) -> None:
        done = place.run("--", "sh", "-c", "id -u; id -g; exit 7")
        wanted = NOBODY if place.user == "nobody" else os.geteuid()
        assert (done.returncode, done.stdout) == (7, f"{wanted}\n{wanted}\n")

    def test_one_that_cannot_be_run(self, place: Place) -> None:
        (place.directory / "text").write_text("no program")
        (place.directory / "text").chmod(0o755)
        done = place.run("--", "./text")
        assert done.returncode == 126
        assert "neither a program nor a script" in done.stderr
