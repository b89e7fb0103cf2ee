"""How long the reactor's turns are, in the processor time of its own thread.

What a busy machine takes away does not count, and neither does what other
threads do. ``python -m buffr.testing.turns serve …`` is ``buffr serve …``
whose turns are measured. At each SIGUSR2 it prints a line,
``longest turn of 567 in report 8: 1.234 ms``, about the turns since the one
before.
"""

from __future__ import annotations

import os
import runpy
import signal
import time
from typing import Any

__all__ = ["TurnMeter"]


class TurnMeter:
    """Measures the turns of a reactor: from one look at its delayed calls to the next."""

    def __init__(self, reactor: Any) -> None:
        self.longest_s = 0.0
        self.count = 0
        self.reports = 0
        """How many there were so far."""
        self.began_s = time.thread_time()
        """When the present turn began, in processor time."""
        self._run = reactor.runUntilCurrent
        reactor.runUntilCurrent = self._turn

    def _turn(self) -> None:
        now_s = time.thread_time()
        self.longest_s = max(self.longest_s, now_s - self.began_s)
        self.began_s = now_s
        self.count += 1
        self._run()

    def report(self, *_: object) -> None:
        """Print the longest turn, and begin anew. May be a handler of signals."""
        self.reports += 1
        of = f"{self.count} in report {self.reports}"
        os.write(1, f"longest turn of {of}: {self.longest_s * 1e3:.3f} ms\n".encode())
        self.begin()

    def begin(self) -> None:
        """Forget what was measured."""
        self.longest_s, self.count = 0.0, 0
        self.began_s = time.thread_time()


def main() -> None:
    """Run buffr's command line, with a meter."""
    from twisted.internet import reactor  # noqa: PLC0415  # its import chooses the reactor

    meter = TurnMeter(reactor)
    signal.signal(signal.SIGUSR2, meter.report)
    reactor.callWhenRunning(meter.begin)  # the start is no turn
    runpy.run_module("buffr", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
