"""One buffr and one upstream for many tests: a route for each policy, a path for each test."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml
from attrs import define, field, frozen
from raw_http import Answer, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Script, Step, answer

__all__ = ["Bench", "Place", "eventually", "interactions", "running_bench"]

T = TypeVar("T")

_ROUTES: Mapping[str, Mapping[str, Any]] = {
    "auto": {},
    "record": {"mode": "record"},
    "passthrough": {"mode": "passthrough"},
    "keep_host": {"mode": "passthrough", "keep_host": True},
    "based": {"mode": "passthrough", "base": "/base"},
    "last": {"repeat": "last"},
    "once": {"repeat": "once"},
    "unshared": {"share": False},
    "picky": {"record_statuses": ["2xx", 404]},
    "cadence": {"replay_delays": True},
}

_SETTINGS = {
    "limits": {"linger_s": 0.2, "half_close_s": 5, "shutdown_s": 5},
}


def eventually(found: Callable[[], T], timeout_s: float = 120) -> T:
    """Ask until the answer is truthy; that answer. Fails with the last one."""
    deadline = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < deadline, f"in {timeout_s:g} s only {result!r}"
        time.sleep(0.005)
    return result


def interactions(cassette: Path) -> list[dict[str, Any]]:
    """What a cassette holds, read between two appends; nothing while there is no file."""
    try:
        with cassette.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            text = file.read()
    except FileNotFoundError:
        return []
    found: list[dict[str, Any]] = json.loads(text)["interactions"] if text else []
    return found


@define
class _Scripts:
    """Answers by the first mark that a target contains."""

    by_mark: dict[bytes, Script] = field(factory=dict)

    def __call__(self, received: Received) -> bytes | Iterator[Step]:
        for mark, script in self.by_mark.items():
            if mark in received.target:
                return script(received)
        return answer(b"no script", b"404 Not Found")


@frozen
class Bench:
    """``port`` gives a route of the shared process by name; ``replay`` is another process's.

    The latter replays the cassette that route ``auto`` records into, and has
    no upstream.
    """

    upstream: FakeUpstream
    process: BuffrProcess
    replayer: BuffrProcess
    directory: Path
    _scripts: _Scripts
    _places: list[Place] = field(factory=list)

    def port(self, route: str) -> int:
        if route == "replay":
            return self.replayer.ports[0]
        return self.process.ports[list(_ROUTES).index(route)]

    def cassette(self, route: str) -> Path:
        return self.directory / f"{route}.json"

    def new_place(self) -> Place:
        place = Place(self, b"n%04d" % len(self._places))
        self._places.append(place)
        return place

    def put(self, mark: bytes, script: Script) -> None:
        self._scripts.by_mark[mark] = script


@frozen
class Place:
    """The requests whose target contains ``mark``: those of one test."""

    bench: Bench
    mark: bytes

    @property
    def path(self) -> bytes:
        return b"/" + self.mark

    def answers(self, script: Script | bytes) -> None:
        """What the upstream answers here; given bytes, always the same."""
        self.bench.put(self.mark, (lambda _: script) if isinstance(script, bytes) else script)

    def counts(self) -> None:
        """The upstream answers with 1, then 2, and so on."""
        self.answers(lambda _: answer(b"%d" % len(self.received())))

    def received(self) -> list[Received]:
        """What the upstream got here so far."""
        return [one for one in self.bench.upstream.received if self.mark in one.target]

    def ask(self, route: str, data: bytes = b"") -> Answer:
        """One request over a route, on a connection of its own: a GET of the place's path."""
        return ask(self.bench.port(route), data or request(self.path))

    def recorded(self, route: str = "auto") -> list[dict[str, Any]]:
        """The exchanges here that a route's cassette holds."""
        found = interactions(self.bench.cassette(route))
        mark = self.mark.decode()
        return [one["http"] for one in found if mark in one["http"]["request"]["path"]]

    def log(self) -> list[str]:
        """The shared process's lines about these requests."""
        return [line for line in self.bench.process.output if self.mark.decode() in line]


@contextmanager
def running_bench(directory: Path) -> Iterator[Bench]:
    """Start upstream and both processes, and stop them in the end."""
    scripts = _Scripts()
    with ExitStack() as stack:
        upstream = stack.enter_context(FakeUpstream(scripts))
        settings = directory / "buffr.yaml"
        settings.write_text(yaml.safe_dump({**_SETTINGS, "reverse": _rows(upstream)}))
        process = stack.enter_context(
            BuffrProcess.run(
                "serve", "--config", str(settings), cwd=directory, listeners=len(_ROUTES)
            )
        )
        replayer = stack.enter_context(
            BuffrProcess.run("replay", "--port", "0", "--cassette", "auto.json", cwd=directory)
        )
        yield Bench(upstream, process, replayer, directory, scripts)


def _rows(upstream: FakeUpstream) -> list[dict[str, Any]]:
    rows = []
    for name, given in _ROUTES.items():
        row = {"port": 0, "cassette": f"{name}.json", **given}
        row["target"] = upstream.url + row.pop("base", "")
        rows.append(row)
    return rows
