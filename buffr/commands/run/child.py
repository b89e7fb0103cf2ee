"""The command as a process."""

from __future__ import annotations

import errno
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.threads import deferToThreadPool

__all__ = ["CannotStart", "Child", "Ended", "look_for"]

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_OF_SIGNALS = 128


class CannotStart(Exception):
    """The command cannot be run. ``code`` is the exit code that shells have for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Ended:
    """How a command has ended: its exit code, as shells count it, and the signal that killed it."""

    code: int
    killed_by: str | None = None


class Child:
    """A command that runs.

    It has buffr's own standard streams, and every other file that buffr was
    given to pass on (make's job server); signals that are ignored stay so
    (``nohup``). ``reactor.spawnProcess`` closes the ones and resets the others.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @classmethod
    def start(cls, command: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Start it. Raises ``CannotStart``."""
        look_for(command[0], environ)
        try:
            return cls(subprocess.Popen(command, env=environ, close_fds=False))  # noqa: S603
        except OSError as error:
            raise _cannot_start(command[0], error) from error

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        self._process.send_signal(number)

    async def ended(self, reactor: Any) -> Ended:
        """Wait for its end."""
        pool = reactor.getThreadPool()
        code: int = await deferToThreadPool(reactor, pool, self._process.wait)
        if code >= 0:
            return Ended(code)
        return Ended(_OF_SIGNALS - code, _name(-code))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those in real time
        return f"signal {number}"


def look_for(name: str, environ: Mapping[str, str]) -> None:
    """Raise ``CannotStart`` for a command that is not there, before anything is done for it."""
    there = "/" in name and Path(name).exists()
    if not there and shutil.which(name, path=environ.get("PATH")) is None:
        raise CannotStart(f"{name}: command not found", _NOT_FOUND)


def _cannot_start(name: str, error: OSError) -> CannotStart:
    match error.errno:
        case errno.ENOENT:
            why = "the interpreter in its first line is not there"
        case errno.ENOEXEC:
            why = "is no program, nor a script with #! in its first line"
        case _:
            why = error.strerror or str(error)
    return CannotStart(f"{name}: {why}", _NOT_EXECUTABLE)
