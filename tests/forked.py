"""buffr started by a fork of a process that has imported it already.

Most of a start's processor time goes into imports, and the tests start buffr
some thousand times. What differs from a start of its own, an interpreter's
settings above all, is started as usual.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from buffr.testing.process import start_process

__all__ = ["start"]

_BUFFR = (sys.executable, "-m", "buffr")
_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OPENSSL_", "MALLOC_", "RES_OPTIONS")
"""Variables that the interpreter or a library reads once, before or at imports."""


class _Forked(subprocess.Popen[bytes]):
    """A grandchild, whose exit code comes over a socket."""

    def __init__(self, command: Sequence[str], cwd: Path | None, env: Mapping[str, str]) -> None:
        self.args = list(command)
        self.stdin = self.stderr = None
        self.returncode = None
        self._child_created = False  # for its destructor: it is not to be waited for
        self._report, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output, write = os.pipe()
        self.stdout = open(output, "rb", buffering=0)  # noqa: PTH123, SIM115  # closed by its user
        asked = {"arguments": command[3:], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        with report, open(os.devnull, "rb") as nothing:  # noqa: PTH123
            fds = [report.fileno(), nothing.fileno(), write, write]
            socket.send_fds(_server(), [json.dumps(asked).encode()], fds)
        os.close(write)
        self.pid = int(self._report.recv(32))

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        if (code := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _ended(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and self._has_report(timeout_s):
            with self._report:
                # Nothing, if somebody killed the server itself.
                self.returncode = int(self._report.recv(32) or b"-9")
        return self.returncode

    def _has_report(self, timeout_s: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ)
            return bool(selector.select(timeout_s))


def start(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command, by a fork if that makes no difference to it."""
    if tuple(command[:3]) != _BUFFR or _read_at_start(env) != _read_at_start(os.environ):
        return start_process(command, cwd, env)
    return _Forked(command, cwd, env)


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


@cache
def _server() -> socket.socket:
    """The server of this process; it ends when this process does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = Path(__file__).with_name("forked_server.py")
    with its:
        subprocess.Popen(
            [sys.executable, server, str(its.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )
    return ours
