"""A suite of its own for each test, run by pytest in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from commands import PYTEST

from buffr.testing import FakeUpstream, Received, answer

__all__ = ["Run", "numbered"]


@contextmanager
def numbered() -> Iterator[FakeUpstream]:
    """An upstream that numbers its answers, so that a replayed one is told from a new one."""

    def script(received: Received) -> bytes:
        return answer(b"%d %b %b" % (len(running.received), received.method, received.target))

    with FakeUpstream(script) as running:
        yield running


@frozen
class Run:
    """Runs pytest on the suite in a directory; what it has written, both streams in one."""

    place: Path
    upstream: FakeUpstream

    def __call__(self, *arguments: str, code: int = 0, **environ: str) -> str:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "CI" and not name.startswith(("BUFFR_", "PYTEST_"))
        }
        done = subprocess.run(
            [*PYTEST, "-q", "-rA", *arguments],
            cwd=self.place,
            env={**inherited, "UPSTREAM": self.upstream.url, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout
