"""A server as a process on one core, and what it has used of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["TREE", "Failed", "Process", "free_port"]

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_S = 120
_POLL_S = 0.002
TREE = Path(__file__).parents[1]


class Failed(Exception):
    """The run cannot go on, or its figures would mean nothing."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class Process:
    """A server that listens on ``port`` of the loopback address; ``log`` has its output."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        core: int,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.answered = 0
        """How many answers it gave under load."""
        self.log = directory / "log"
        self._started = time.perf_counter()
        with self.log.open("wb") as log:
            self._popen = subprocess.Popen(
                ("taskset", "--cpu-list", str(core), *command),
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(TREE), **(environment or {})},
                stdout=log,
                stderr=log,
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Return when it accepts connections. Raises ``Failed`` when it ends or takes too long."""
        while self.age_s() < _READY_S:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self._popen.poll() is not None:
                raise Failed(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")
            time.sleep(_POLL_S)
        raise Failed(f"{self.name} does not listen:\n{self.log.read_text()[-2000:]}")

    def age_s(self) -> float:
        """The time since it was started."""
        return time.perf_counter() - self._started

    def processor_s(self) -> float:
        """The processor time of all its threads so far."""
        stat = Path(f"/proc/{self._popen.pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def waited_s(self) -> float:
        """For how long it could have run so far, had another program not had the core."""
        schedule = Path(f"/proc/{self._popen.pid}/schedstat").read_text()
        return int(schedule.split()[1]) / 1e9

    def forget_peak(self) -> None:
        """Let ``peak_bytes`` begin anew."""
        Path(f"/proc/{self._popen.pid}/clear_refs").write_text("5")

    def resident_bytes(self) -> int:
        return self._status("VmRSS")

    def peak_bytes(self) -> int:
        """The most that was resident since ``forget_peak``."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        for line in Path(f"/proc/{self._popen.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{self.name}: this system does not tell {name}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._popen.send_signal(number)

    def stop(self) -> None:
        """End it in order. Returns when it has."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(30)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
