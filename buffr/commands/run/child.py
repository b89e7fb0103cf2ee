"""The command as a process, and the signals to pass on to it."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

__all__ = [
    "CannotStart",
    "Ended",
    "Running",
    "SignalWatch",
    "cannot_start",
    "ended_by",
    "in_foreground",
    "look_for",
    "started",
    "take_foreground",
]

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_OF_SIGNALS = 128
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OF_KEYS = (signal.SIGINT, signal.SIGQUIT)

Tell = Callable[[signal.Signals], object]


class CannotStart(Exception):
    """The command cannot be run. ``code`` is the exit code that shells use for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@frozen
class Ended:
    """How a command ended: its exit code, as in a shell, and the signal that killed it."""

    code: int
    killed_by: str | None = None


class Running:
    """A command that runs.

    ``wait`` returns its exit code, that of a signal negative; a thread waits by
    it. ``send`` sends it a signal, if it still runs.
    """

    def __init__(self, wait: Callable[[], int], send: Tell) -> None:
        self.send = send
        self.ended_at = 0.0
        """When it ended, by ``time.monotonic``."""
        self._code = 0
        self._reading, self._writing = os.pipe()
        self._waiter = threading.Thread(target=self._see, args=(wait,), name="command", daemon=True)
        self._waiter.start()

    def fileno(self) -> int:
        """A file descriptor that becomes readable when it has ended."""
        return self._reading

    @property
    def has_ended(self) -> bool:
        return not self._waiter.is_alive()

    def wait(self) -> None:
        """Wait for its end, on any thread."""
        self._waiter.join()

    @property
    def ended(self) -> Ended:
        """How it has ended; waits for that."""
        self.wait()
        return ended_by(self._code)

    def _see(self, wait: Callable[[], int]) -> None:
        self._code = wait()
        self.ended_at = time.monotonic()
        os.close(self._writing)


def started(command: Sequence[str], environ: Mapping[str, str]) -> Running:
    """Start a command as a child of buffr. Raises ``CannotStart``.

    It has buffr's own standard streams, and every other file that buffr was
    given to pass on (make's job server); signals that are ignored stay so
    (``nohup``). ``reactor.spawnProcess`` closes the ones and resets the others.
    """
    look_for(command[0], environ)
    try:
        process = subprocess.Popen(command, env=environ, close_fds=False)  # noqa: S603
    except OSError as error:
        raise cannot_start(command[0], error) from error
    return Running(process.wait, process.send_signal)


def ended_by(code: int) -> Ended:
    """How a process ended, by its exit code; that of a signal is negative."""
    return Ended(code) if code >= 0 else Ended(_OF_SIGNALS - code, _name(-code))


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of those in real time
        return f"signal {number}"


def look_for(name: str, environ: Mapping[str, str]) -> None:
    """Raise ``CannotStart`` for a command that does not exist, before anything else is done."""
    there = "/" in name and Path(name).exists()
    if not there and shutil.which(name, path=environ.get("PATH")) is None:
        raise CannotStart(f"{name}: command not found", _NOT_FOUND)


def cannot_start(name: str, error: OSError) -> CannotStart:
    """Why a command that exists cannot be run."""
    match error.errno:
        case errno.ENOENT:
            why = "the interpreter in its first line is not there"
        case errno.ENOEXEC:
            why = "is neither a program nor a script with #! in its first line"
        case _:
            why = error.strerror or str(error)
    return CannotStart(f"{name}: {why}", _NOT_EXECUTABLE)


@define(eq=False)
class SignalWatch:
    """Reports each signal that the command does not receive by itself.

    What a key of the terminal sends (Ctrl-C), its whole foreground process group
    gets, and so the command has it already. What ``kill`` sends, only buffr gets.
    Linux tells the two apart (``si_code``, sigaction(2)), but only to a process
    that waits for a signal: so the signals are blocked, and a thread waits for
    them. Elsewhere it counts whether buffr is in the terminal's foreground.

    Signals that are ignored, as under ``nohup``, are left alone. Start it on
    the main thread, before others.
    """

    _tell: Tell = field(init=False)
    _numbers: tuple[signal.Signals, ...] = field(init=False, default=())
    _mask: set[int] = field(init=False, factory=set)
    _ended: threading.Event = field(init=False, factory=threading.Event)

    def start(self, tell: Tell) -> None:
        """Watch from now on; ``tell`` is called on any thread."""
        self._tell = tell
        self._numbers = tuple(
            number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN
        )
        for number in self._numbers:
            signal.signal(number, self._caught)
        self._mask = {*signal.pthread_sigmask(signal.SIG_BLOCK, ())}
        if sys.platform == "linux":
            signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
            threading.Thread(target=self._wait, name="signals", daemon=True).start()

    @contextmanager
    def as_before(self) -> Iterator[None]:
        """For the start of a command, which must inherit the signals as buffr did."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            yield
        finally:
            if sys.platform == "linux":
                signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)

    def stop(self) -> None:
        """Let each signal end the process again."""
        self._ended.set()
        for number in self._numbers:
            signal.signal(number, signal.SIG_DFL)
        # A main thread that takes signals is given them before one that waits for some.
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _wait(self) -> None:
        while not self._ended.is_set():
            came = signal.sigwaitinfo(self._numbers)
            number = signal.Signals(came.si_signo)
            if number not in _OF_KEYS or came.si_code <= 0:  # positive is the kernel's own
                self._tell(number)

    def _caught(self, number: int, _: object) -> None:
        if number not in _OF_KEYS or not in_foreground():
            self._tell(signal.Signals(number))


def in_foreground() -> bool:
    """Whether the terminal's keys send signals to this process and its children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def take_foreground() -> None:
    """Be in the terminal's foreground again, after a command that could not give it back."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    # From the background, this would stop the process.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    try:
        os.tcsetpgrp(terminal, os.getpgrp())
    except OSError:  # the terminal is gone
        return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(terminal)
