"""Runs of buffr that are expected to end by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["BUFFR", "PYTEST", "TWISTD", "complaint", "run"]

BUFFR = (sys.executable, "-m", "buffr")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:schemathesis")
"""Without a plugin that no suite uses and whose imports take longer than pytest's own."""

TWISTD = (str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "buffr")


def run(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = BUFFR,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
    return subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env={**ours, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def complaint(
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    command: Sequence[str] = BUFFR,
) -> list[str]:
    """The lines with which a start is refused: exit code 1, and nothing ever listened."""
    done = run(*arguments, cwd=cwd, env=env, command=command)
    text = done.stdout + done.stderr
    assert done.returncode == 1, text
    assert "Traceback" not in text, text
    assert "msg=listening" not in text
    return text.splitlines()
