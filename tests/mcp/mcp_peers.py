"""Servers and clients of MCP in processes of their own, by both official SDKs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from node_packages import node_packages

__all__ = ["PEERS", "command", "conversations", "environment", "serving"]

_HERE = Path(__file__).parent
PEERS = ("python", "typescript")


def command(peer: str) -> list[str]:
    """The program of a peer; its arguments follow."""
    if peer == "python":
        return [sys.executable, str(_HERE / "peer.py")]
    return ["node", str(_HERE / "peer.cjs")]


def environment(*peers: str) -> dict[str, str]:
    """The environment in which these peers run."""
    if "typescript" not in peers:
        return dict(os.environ)
    return {**os.environ, "NODE_MODULES": str(node_packages())}


@contextmanager
def serving(peer: str, directory: Path) -> Iterator[str]:
    """Its server over HTTP; yields the origin, until the context ends."""
    port = directory / f"{peer}.port"
    process = subprocess.Popen(
        [*command(peer), "serve", str(port)], env=environment(peer), stderr=subprocess.DEVNULL
    )
    try:
        yield f"http://127.0.0.1:{_written(port, process)}"
    finally:
        process.kill()
        process.wait()


def _written(port: Path, process: subprocess.Popen[bytes]) -> str:
    while process.poll() is None:
        if port.exists() and (text := port.read_text()):
            return text
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError(f"the server ended with {process.returncode}")


def conversations(
    peer: str, times: int, *where: str, mode: str = "legacy", also: str = "python"
) -> list[Any]:
    """What its client saw in so many conversations, one after the other.

    ``where`` is a URL, or ``--`` and the command of a server by ``also``.
    """
    done = subprocess.run(
        [*command(peer), "talk", mode, str(times), *where],
        env=environment(peer, also),
        capture_output=True,
        check=False,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]
