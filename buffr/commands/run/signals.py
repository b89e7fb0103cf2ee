"""Signals that are for the command, with where they come from.

What a key of the terminal sends (Ctrl-C), its whole foreground process group
gets, and so the command has it already. What ``kill`` sends, only buffr gets.
Linux tells the two apart (``si_code``, sigaction(2)), but tells only who
waits for a signal: so the signals are blocked, and a thread waits for them.
Elsewhere it counts whether buffr is in the terminal's foreground.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define, field

__all__ = ["SignalWatch"]

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OF_KEYS = (signal.SIGINT, signal.SIGQUIT)

Tell = Callable[[signal.Signals], object]


@define(eq=False)
class SignalWatch:
    """Tells of each signal that the command does not get by itself.

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
        """For the start of a command, which is to find the signals as buffr found them."""
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
        if number not in _OF_KEYS or not _in_foreground():
            self._tell(signal.Signals(number))


def _in_foreground() -> bool:
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
