"""buffr in a process of its own."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self, TextIO, TypeVar

from attrs import define, field

__all__ = ["BuffrProcess"]

_LISTENING = re.compile(r"""\bmsg(?:=|": ")listening\b.*\baddr(?:=|": ")[^\s"]+:(\d+)""")

T = TypeVar("T")


def start_process(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command with nothing to read, and its whole output in ``stdout``, unbuffered."""
    return subprocess.Popen(  # noqa: S603  # the caller's own arguments
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )


@define(eq=False)
class BuffrProcess:
    """buffr in a process of its own, from the first line that says where it listens.

    ``ports`` are those that it listens on, in the order of its routes;
    ``output`` has every line that it wrote. ``start`` starts the process.
    """

    start: ClassVar[Callable[..., subprocess.Popen[bytes]]] = staticmethod(start_process)
    process: subprocess.Popen[bytes]
    ports: list[int] = field(factory=list)
    output: list[str] = field(factory=list)
    _news: threading.Condition = field(init=False, factory=threading.Condition)
    _ended: bool = field(init=False, default=False)
    _part: bytes = field(init=False, default=b"")

    @classmethod
    @contextmanager
    def run(
        cls,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        listeners: int = 1,
        command: Sequence[str] = (sys.executable, "-m", "buffr"),
    ) -> Iterator[Self]:
        """Start it, wait until ``listeners`` ports listen, and stop it in the end.

        ``env`` is added to the environment of this process, of which no
        ``BUFFR_`` variable is passed on. There is no admin listener unless
        ``BUFFR_ADMIN`` asks for one. Raises ``RuntimeError`` with its
        output when it exits instead of listening.
        """
        process = cls.start([*command, *arguments], cwd, {**_clean_environment(), **(env or {})})
        running = cls(process)
        reader = threading.Thread(target=running._collect, daemon=True)
        reader.start()
        try:
            running._wait(lambda: len(running.ports) >= listeners or None, 120, "listening ports")
            yield running
        finally:
            running.stop()
            reader.join(5)
            assert process.stdout is not None
            process.stdout.close()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while _readable(fd, None):
            with self._news:
                data = os.read(fd, 65536)
                self._take(data)
                self._ended = not data
                self._news.notify_all()
                if self._ended:
                    return

    def _take(self, data: bytes) -> None:
        *lines, self._part = (self._part + data).split(b"\n")
        if not data and self._part:
            lines, self._part = [self._part], b""
        for line in lines:
            text = line.decode("utf-8", "backslashreplace")
            found = _LISTENING.search(text)
            self.output.append(f"{text}\n")
            if found is not None:
                self.ports.append(int(found[1]))

    def _wait(self, found: Callable[[], T | None], timeout_s: float, what: str) -> T:
        deadline = time.monotonic() + timeout_s
        with self._news:
            while (result := found()) is None:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "buffr exited" if self._ended else f"no {what} in {timeout_s:g} s"
                    raise RuntimeError(f"{why}:\n{self.log()}")
                self._news.wait(left)
        return result

    def wait_for(self, pattern: str, timeout_s: float = 60) -> re.Match[str]:
        """Wait for a line that the pattern is found in, or is already.

        Raises ``RuntimeError`` with its output when none comes.
        """
        seen = 0
        compiled = re.compile(pattern)

        def found() -> re.Match[str] | None:
            nonlocal seen
            new, seen = self.output[seen:], len(self.output)
            return next(filter(None, map(compiled.search, new)), None)

        return self._wait(found, timeout_s, f"line with {pattern!r}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def log(self) -> str:
        """Its output so far; after ``stop``, all of it."""
        return "".join(self.output)

    @contextmanager
    def log_in_report(self, stream: TextIO | None = None) -> Iterator[None]:
        """Write what it logs meanwhile to standard error, in the end.

        A test runner shows that for a test that fails: pytest under
        "Captured stderr teardown", where a fixture yields within.
        """
        start = len(self.output)
        try:
            yield
        finally:
            self._catch_up()
            (sys.stderr if stream is None else stream).write("".join(self.output[start:]))

    def _catch_up(self) -> None:
        """Wait until all that the process has written is in ``output``."""
        assert self.process.stdout is not None
        with self._news:
            while not self._ended and _readable(self.process.stdout.fileno(), 0):
                self._news.wait(1)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 120) -> int:
        """Send a signal and wait; the exit code. Does nothing to a process that has ended."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        with self._news:
            self._news.wait_for(lambda: self._ended, timeout_s)
        return code


def _readable(fd: int, timeout_s: float | None) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))


def _clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BUFFR_")}
    return {**kept, "BUFFR_ADMIN": "false"}
