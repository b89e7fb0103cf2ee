"""``python -m benchmarks [names] [--quick]``: run benchmarks, print one table and a plot of it."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import (
    cache,
    grpc_calls,
    hit_get,
    hit_post,
    hit_traced,
    hosts,
    http2,
    isolate,
    longest_turn,
    miss,
    page,
    page_hour,
    plugin,
    record,
    relay,
    sse,
    start,
    stream,
    tunnel,
    websocket,
)
from benchmarks.bench import Bench, Cores
from benchmarks.peers import Build, Peers
from benchmarks.plot import plotted
from benchmarks.process import Failed
from benchmarks.table import Row, rendered

_BENCHMARKS = {
    "hit-get": hit_get,
    "hit-post": hit_post,
    "hit-traced": hit_traced,
    "http2": http2,
    "grpc": grpc_calls,
    "cache": cache,
    "miss": miss,
    "relay": relay,
    "sse": sse,
    "record": record,
    "stream": stream,
    "start": start,
    "tunnel": tunnel,
    "hosts": hosts,
    "isolate": isolate,
    "longest-turn": longest_turn,
    "page": page,
    "page-hour": page_hour,
    "plugin": plugin,
    "websocket": websocket,
}

_UNDISTURBED = 0.05
_SHARED = """\
Other programs had the server's core for {:.0%} of the time, so that costs are
too high and rates too low; ratios hold better.
"""

_NOT_THERE = """\
{}. `make bench-peers` installs what it can.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(_BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="one short round: does it all work?")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="also measure the build of this checkout"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (SVG)")
    options = parser.parse_args()
    unknown = set(options.names) - set(_BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
    before = None if options.before is None else Build.before(options.before.resolve())
    peers = Peers(before=before)
    waits: list[float] = []
    rows, failed = _run(options.names or list(_BENCHMARKS), peers, waits, quick=options.quick)
    sys.stdout.write(rendered(rows))
    if waits and median(waits) > _UNDISTURBED:
        sys.stdout.write("\n" + _SHARED.format(median(waits)))
    if peers.lacking:
        sys.stdout.write("\n" + _NOT_THERE.format("; ".join(peers.lacking)))
    if options.plot is not None:
        options.plot.write_text(plotted(rows))
    return 1 if failed else 0


def _run(
    names: list[str], peers: Peers, waits: list[float], *, quick: bool
) -> tuple[list[Row], bool]:
    free = sorted(os.sched_getaffinity(0))
    cores = Cores(server=free[0], load=free[-1])
    os.sched_setaffinity(0, {cores.load})
    rows: list[Row] = []
    failed = False
    for name in names:
        sys.stderr.write(f"{name}\n")
        with TemporaryDirectory(prefix="buffr-bench-") as directory, ExitStack() as stack:
            bench = Bench(name, Path(directory), cores, quick, stack, peers, waits)
            try:
                rows += _BENCHMARKS[name].run(bench)
            except (Failed, OSError) as error:
                failed = True
                sys.stderr.write(f"{name} failed: {error}\n")
    return rows, failed


if __name__ == "__main__":
    sys.exit(main())
