"""The longest turn of the reactor while others would have to wait for it.

In the processor time of its thread: a long JSON body is recorded and replayed, a first miss
comes after a start with many recordings, their cassette grows from outside.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
from benchmarks.message import Request, ask, json_of
from benchmarks.process import Failed, Process, free_port
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import nginx, recorded_by_buffr
from benchmarks.table import Row

__all__ = ["run"]

_MOST_MS = 10
_BODY_BYTES = 50_000_000
_COUNT = 50_000
_TIMES = 3
_PATIENCE_S = 60
_END = b"\n  ]\n}\n"


@define
class _Metered:
    """A buffr that says how long its turns are."""

    server: Process
    _reports: count[int] = field(factory=lambda: count(1))

    def longest_ms(self, work: Callable[[], object]) -> float:
        self._reported()
        work()
        return self._reported()

    def _reported(self) -> float:
        self.server.send(signal.SIGUSR2)
        pattern = re.compile(rf"longest turn of \d+ in report {next(self._reports)}: (.*) ms")
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found = pattern.search(self.server.log.read_text())
            if found is not None:
                return float(found[1])
            time.sleep(0.01)
        raise Failed("buffr does not say how long its turns are")


def run(bench: Bench) -> list[Row]:
    lines = json.dumps({"id": 1, "text": "some words " * 80}) + ",\n"
    body = bench.file("body")
    body.write_text(f"[{lines * (_BODY_BYTES // len(lines))}0]")
    upstream = nginx(bench, ANSWER, core=bench.cores.load, root=body.parent)
    upstream.wait()
    figures: dict[str, float] = {}

    recorder = _metered(bench, ["--mode", "auto", "--target", upstream.url])
    ask(recorder.server, Request("/answer"))
    for what in ("recorded", "replayed"):
        figures[f"50 MB of JSON {what}"] = recorder.longest_ms(
            lambda: ask(recorder.server, Request("/body"))
        )
    recorder.server.stop()

    request = Request("/answer", json_of(1100, marked=True))
    cassette = recorded_by_buffr(bench, upstream, request)
    known = _COUNT // 20 if bench.quick else _COUNT
    multiply_cassette(cassette, known)
    replayer = _metered(bench, ["--mode", "replay", "--cassette", str(cassette)])
    figures[f"the first miss among {known:,}"] = replayer.longest_ms(lambda: _miss(replayer.server))

    def grow() -> None:
        for number in range(_TIMES):
            _append(cassette, f"/grown/{number}")
            _miss(replayer.server)  # which reads what has come

    figures[f"a cassette of {known:,} grows"] = replayer.longest_ms(grow)
    rows = []
    for what, longest_ms in figures.items():
        rows += bench.rows(f"ms, longest turn: {what}", {"buffr": longest_ms}, most=_MOST_MS)
    return rows


def _metered(bench: Bench, options: Sequence[str]) -> _Metered:
    port = free_port()
    command = [sys.executable, "-m", "buffr.testing.turns", "serve", "--port", str(port), *options]
    server = bench.start("buffr", command, port)
    server.wait()
    return _Metered(server)


def _miss(server: Process) -> None:
    with socket.create_connection(("127.0.0.1", server.port), _PATIENCE_S) as connection:
        connection.sendall(b"GET /nothing/like/it HTTP/1.1\r\nHost: bench.test\r\n\r\n")
        if not connection.recv(65536).startswith(b"HTTP/1.1 599 "):
            raise Failed("buffr does not answer with a miss")


def _append(cassette: Path, path: str) -> None:
    """As another program does that knows nothing of locks."""
    text = cassette.read_bytes()
    start = text.rindex(b"\n    {\n")
    element = text[start : text.rindex(_END)].replace(b'"/answer"', json.dumps(path).encode())
    with cassette.open("r+b") as file:
        file.seek(len(text) - len(_END))
        file.write(b"," + element + _END)
