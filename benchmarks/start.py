"""What a start costs: commands that end by themselves, and a server with 50,000 recordings.

Commands: processor time, of themselves and their children. A server: the time to its first
replayed answer, with recordings of 2 KB.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from functools import partial
from statistics import median

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
from benchmarks.message import Request, ask, json_of
from benchmarks.peers import Build
from benchmarks.process import Process
from benchmarks.recordings import multiply_cassette, multiply_flows
from benchmarks.servers import (
    buffr,
    go_buffr,
    nginx,
    recorded_by_buffr,
    recorded_by_go_buffr,
    recorded_by_mitmproxy,
    replaying_mitmproxy,
)
from benchmarks.table import Row

__all__ = ["run"]

_COUNT = 50_000
_COMMANDS = {
    "buffr version": ("version",),
    "buffr --help": ("--help",),
    "buffr run -- true": ("run", "--", "true"),
}


def run(bench: Bench) -> list[Row]:
    count = _COUNT // 20 if bench.quick else _COUNT
    request = Request("/answer", json_of(1100, marked=True))
    last = request.numbered(count - 1)
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    cassette = recorded_by_buffr(bench, upstream, request)
    multiply_cassette(cassette, count)
    bench.say(f"{count:,} recordings of {cassette.stat().st_size // count:,} bytes")

    figures = {}
    for build in bench.peers.builds:
        start = partial(buffr, bench, "replay", None, cassette, build)
        figures[build.name] = _median_s(start, last, bench.rounds)
    if bench.peers.go_buffr is not None:
        recorded = recorded_by_go_buffr(bench, upstream, request)
        multiply_cassette(recorded, count)
        start = partial(go_buffr, bench, "replay", None, recorded)
        figures["Go program"] = _median_s(start, last, bench.rounds)
    if bench.peers.mitmdump is not None:
        flows = recorded_by_mitmproxy(bench, upstream, request)
        multiply_flows(flows, count)
        # Its start takes long enough to be measured once.
        figures["mitmproxy"] = _median_s(
            lambda: replaying_mitmproxy(bench, upstream, flows), last, 1
        )
    rows = bench.rows("s to the first answer", figures, most=1.3)
    for name, command in _COMMANDS.items():
        costs = {
            build.name: median(_cost_ms(bench, build, command) for _ in range(2 * bench.rounds + 1))
            for build in bench.peers.builds
        }
        rows += bench.rows(f"ms of processor time: {name}", costs)
    return rows


def _cost_ms(bench: Bench, build: Build, command: tuple[str, ...]) -> float:
    """The processor time of a process and its children."""
    environment = {**os.environ, **build.environment}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*build.command, *command],
        cwd=bench.directory,
        env=environment,
        capture_output=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * used_s


def _median_s(start: Callable[[], Process], request: Request, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        server = start()
        server.wait()
        ask(server, request)
        times.append(server.age_s())
        server.stop()
    return median(times)
