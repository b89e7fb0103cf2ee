"""``python -m benchmarks [names] [--quick]``: run benchmarks, print one table."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import (
    cache,
    hit_get,
    hit_post,
    hosts,
    http2,
    record,
    relay,
    sse,
    start,
    stream,
    tunnel,
    websocket,
)
from benchmarks.bench import Bench, Cores
from benchmarks.process import Failed
from benchmarks.table import Row, rendered

_BENCHMARKS = {
    "hit-get": hit_get,
    "hit-post": hit_post,
    "http2": http2,
    "cache": cache,
    "relay": relay,
    "sse": sse,
    "record": record,
    "stream": stream,
    "start": start,
    "tunnel": tunnel,
    "hosts": hosts,
    "websocket": websocket,
}

_UNDISTURBED = 0.05
_SHARED = """\
Other programs had the server's core for {:.0%} of the time, so that costs are
too high and rates too low; ratios hold better.
"""

_NO_MITMPROXY = """\
mitmproxy is not installed, and left out. To have it measured as a peer:
    python3 -m venv benchmarks/.peers && benchmarks/.peers/bin/pip install mitmproxy
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(_BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="one short round: does it all work?")
    options = parser.parse_args()
    unknown = set(options.names) - set(_BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_BENCHMARKS)}")
    mitmdump = _mitmdump()
    waits: list[float] = []
    rows, failed = _run(options.names or list(_BENCHMARKS), mitmdump, waits, quick=options.quick)
    sys.stdout.write(rendered(rows))
    if waits and median(waits) > _UNDISTURBED:
        sys.stdout.write("\n" + _SHARED.format(median(waits)))
    if mitmdump is None:
        sys.stdout.write(f"\n{_NO_MITMPROXY}")
    return 1 if failed else 0


def _mitmdump() -> str | None:
    beside = Path(__file__).parent / ".peers/bin/mitmdump"
    return str(beside) if beside.exists() else shutil.which("mitmdump")


def _run(
    names: list[str], mitmdump: str | None, waits: list[float], *, quick: bool
) -> tuple[list[Row], bool]:
    free = sorted(os.sched_getaffinity(0))
    cores = Cores(server=free[0], load=free[-1])
    os.sched_setaffinity(0, {cores.load})
    rows: list[Row] = []
    failed = False
    for name in names:
        sys.stderr.write(f"{name}\n")
        with TemporaryDirectory(prefix="buffr-bench-") as directory, ExitStack() as stack:
            bench = Bench(name, Path(directory), cores, quick, stack, mitmdump, waits)
            try:
                rows += _BENCHMARKS[name].run(bench)
            except (Failed, OSError) as error:
                failed = True
                sys.stderr.write(f"{name} failed: {error}\n")
    return rows, failed


if __name__ == "__main__":
    sys.exit(main())
