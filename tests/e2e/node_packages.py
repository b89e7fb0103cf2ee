"""The npm packages of ``tests/node/package.json``, installed once for all runs of the tests."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

__all__ = ["node_packages"]

_WANTED = Path(__file__).parent.parent / "node" / "package.json"
_TIMEOUT_S = 240


@cache
def node_packages() -> Path:
    """A directory whose ``node_modules`` has the packages.

    It is outside the repository, and named after what is in it. Skips the test
    if there is no npm, or its registry cannot be reached.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    name = f"buffr-node-{os.getuid()}-{sha256(_WANTED.read_bytes()).hexdigest()[:12]}"
    place = Path(tempfile.gettempdir()) / name
    place.mkdir(mode=0o700, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            shutil.copy(_WANTED, place)
            command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            try:
                done = subprocess.run(
                    command,
                    cwd=place,
                    capture_output=True,
                    check=False,
                    text=True,
                    timeout=_TIMEOUT_S,
                )
            except subprocess.TimeoutExpired:
                pytest.skip("the npm registry does not answer")
            if done.returncode:
                pytest.skip(f"the npm registry is not reachable: {done.stderr[-300:]}")
            (place / "whole").touch()
    return place
