"""What the pytest plugin costs a suite, beside pytest-recording where that is installed.

A session of one test and one of many, of which none asks anything: over the same tests without
either. The two plugins never run in the same session.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.table import Row

__all__ = ["run"]

_MANY = 200
_TEST = "def test_{number}({fixture}):\n    pass\n\n\n"
_OFF = {"buffr": ("-p", "no:buffr"), "pytest-recording": ("-p", "no:recording")}


def run(bench: Bench) -> list[Row]:
    directory = bench.file("pytest.ini").parent
    (directory / "pytest.ini").write_text("[pytest]\n")
    heads = {
        "buffr": ("", "buffr"),
        "pytest-recording": ("import pytest\n\npytestmark = pytest.mark.vcr\n\n\n", ""),
        "neither": ("", ""),
    }
    if find_spec("pytest_recording") is None:
        bench.say("pytest-recording is not installed, and left out")
        del heads["pytest-recording"]
    costs: dict[tuple[str, int], list[float]] = {}
    for name, (head, fixture) in heads.items():
        for count in (1, _MANY):
            tests = (_TEST.format(number=number, fixture=fixture) for number in range(count))
            path = directory / f"test_{name.replace('-', '_')}_{count}.py"
            path.write_text(head + "".join(tests))
            costs[name, count] = []
    for _ in range(bench.rounds + 1):
        for (name, count), found in costs.items():
            off = (flag for other, flags in _OFF.items() if other != name for flag in flags)
            file = f"test_{name.replace('-', '_')}_{count}.py"
            found.append(_cost_ms(directory, file, *off))
    of = {each: median(found[1:]) for each, found in costs.items()}  # the first compiles
    names = [name for name in heads if name != "neither"]
    session = {name: of[name, 1] - of["neither", 1] for name in names}
    idle = of["neither", _MANY] - of["neither", 1]
    test = {name: (of[name, _MANY] - of[name, 1] - idle) / (_MANY - 1) for name in names}
    return [
        *bench.rows("ms per session", session, most=400),
        *bench.rows("ms per test", test, most=2),
    ]


def _cost_ms(directory: Path, file: str, *flags: str) -> float:
    """The processor time of a session."""
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags, file],
        cwd=directory,
        env=environ,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
