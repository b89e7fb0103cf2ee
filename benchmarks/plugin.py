"""What the pytest plugin costs a suite, beside pytest-recording where that is installed.

Sessions over the same tests without either: of one test and of many that ask nothing, and of two
that ask once each, by HTTP and HTTPS, and are replayed. The two plugins never run in the same
session.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmarks.bench import Bench
from benchmarks.table import Row

__all__ = ["run"]

_MANY = 200
_TEST = "def test_{number}({fixture}):\n    pass\n\n\n"
_ASKING = """\
def test_{scheme}({fixture}):
    assert requests.get("{scheme}://api.example/").text == "an answer"


"""
_SCHEMES = ("http", "https")
_OFF = {"buffr": ("-p", "no:buffr"), "pytest-recording": ("-p", "no:recording")}
_ENVIRON = ("CI", "BUFFR_MODE", "PYTHONDONTWRITEBYTECODE")
"""What is not passed on: users' modules are compiled, and the flags say what is replayed."""


@frozen
class _Plugin:
    """How a suite uses one, and where its recordings are."""

    head: str = ""
    fixture: str = ""
    flags: tuple[str, ...] = ()
    suffix: str = ""


_PLUGINS = {
    "buffr": _Plugin(fixture="buffr", flags=("--buffr-mode=replay",), suffix=".json"),
    "pytest-recording": _Plugin(
        head="import pytest\n\npytestmark = pytest.mark.vcr\n\n\n",
        flags=("--record-mode=none",),
        suffix=".yaml",
    ),
    "neither": _Plugin(),
}


def run(bench: Bench) -> list[Row]:
    directory = bench.file("pytest.ini").parent
    (directory / "pytest.ini").write_text("[pytest]\n")
    plugins = dict(_PLUGINS)
    if find_spec("pytest_recording") is None:
        bench.say("pytest-recording is not installed, and left out")
        del plugins["pytest-recording"]
    suites = {}
    for name, plugin in plugins.items():
        suites[name, "one"] = _suite(directory, name, plugin, 1)
        suites[name, "many"] = _suite(directory, name, plugin, _MANY)
        suites[name, "asking"] = _asking_suite(directory, name, plugin)
    costs: dict[tuple[str, str], list[float]] = {which: [] for which in suites}
    starts = []
    for _ in range(bench.rounds + 1):
        starts.append(_cost_ms(directory, "-c", "pass"))
        for (name, kind), file in suites.items():
            flags = (*plugins[name].flags, *_without_others(name))
            command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *flags, file)
            costs[name, kind].append(_cost_ms(directory, *command))
    return _rows(bench, {which: median(found[1:]) for which, found in costs.items()}, starts[1:])


def _rows(bench: Bench, of: Mapping[tuple[str, str], float], starts: Sequence[float]) -> list[Row]:
    """Those of the first round are left out: it compiles."""
    names = [name for name, kind in of if kind == "one" and name != "neither"]
    session = {name: of[name, "one"] - of["neither", "one"] for name in names}
    asking = {name: of[name, "asking"] - of["neither", "asking"] for name in names}
    idle = of["neither", "many"] - of["neither", "one"]
    test = {name: (of[name, "many"] - of[name, "one"] - idle) / (_MANY - 1) for name in names}
    return [
        *bench.rows("ms per session", session, most=400),
        *bench.rows("ms per session that asks", asking),
        *bench.rows("ms per test", test, most=2),
        *bench.rows("ms to start", {"Python alone": median(starts)}),
    ]


def _without_others(name: str) -> tuple[str, ...]:
    return tuple(flag for other, flags in _OFF.items() if other != name for flag in flags)


def _suite(directory: Path, name: str, plugin: _Plugin, count: int) -> str:
    """A file of tests that ask nothing; its name."""
    tests = (_TEST.format(number=number, fixture=plugin.fixture) for number in range(count))
    path = directory / f"test_{name.replace('-', '_')}_{count}.py"
    path.write_text(plugin.head + "".join(tests))
    return path.name


def _asking_suite(directory: Path, name: str, plugin: _Plugin) -> str:
    """A file of tests that ask, beside what they are answered; its name."""
    path = directory / f"test_{name.replace('-', '_')}_asking.py"
    if plugin.suffix:
        test = _ASKING
        cassettes = directory / "cassettes" / path.stem
        cassettes.mkdir(parents=True)
        for scheme in _SCHEMES:
            recorded = _RECORDED[plugin.suffix](scheme)
            (cassettes / f"test_{scheme}{plugin.suffix}").write_text(json.dumps(recorded))
    else:
        test = _TEST.replace("{number}", "{scheme}")
    tests = (test.format(scheme=scheme, fixture=plugin.fixture) for scheme in _SCHEMES)
    path.write_text("import requests\n\n" + plugin.head + "".join(tests))
    return path.name


def _cassette(scheme: str) -> dict[str, object]:
    request = {"method": "GET", "scheme": scheme, "host": "api.example", "path": "/"}
    response = {"status": 200, "headers": {"Content-Type": ["text/plain"]}, "body": "an answer"}
    exchange = {"type": "http", "http": {"request": request, "response": response}}
    return {"version": 1, "interactions": [exchange]}


def _vcr_cassette(scheme: str) -> dict[str, object]:
    """JSON is YAML, too."""
    uri = f"{scheme}://api.example/"
    request = {"method": "GET", "uri": uri, "body": None, "headers": {}}
    response = {
        "status": {"code": 200, "message": "OK"},
        "headers": {"Content-Type": ["text/plain"]},
        "body": {"string": "an answer"},
    }
    return {"version": 1, "interactions": [{"request": request, "response": response}]}


_RECORDED = {".json": _cassette, ".yaml": _vcr_cassette}


def _cost_ms(directory: Path, *arguments: str) -> float:
    """The processor time of a Python."""
    environ = {name: value for name, value in os.environ.items() if name not in _ENVIRON}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=environ, capture_output=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
