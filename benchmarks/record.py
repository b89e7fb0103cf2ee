"""POSTs of 1 KB, each another one, are relayed and recorded, into cassettes empty and full."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec
from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.load import put_load
from benchmarks.message import Request, ask, json_of
from benchmarks.peers import BUFFR, Build
from benchmarks.process import Failed, Process
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import buffr, go_buffr, mitmproxy, nginx, recorded_by_buffr
from benchmarks.table import Row

__all__ = ["run"]

_HELD = (0, 10_000, 20_000)
_HELD_IN_SHORT = (0, 2_000)
_KB = Request("/answer", json_of(1024, marked=True))
_HALF_MB = Request("/half-a-megabyte", json_of(1024, marked=True))


@define
class _Course:
    """Recordings of one size into cassettes that hold so many; figures by round."""

    request: Request
    held: Path | None
    build: Build = BUFFR
    rates: list[float] = field(factory=list)
    costs: list[float] = field(factory=list)


def run(bench: Bench) -> list[Row]:
    sizes = _HELD_IN_SHORT if bench.quick else _HELD
    root = bench.file("half-a-megabyte")
    root.write_text(json_of(500_000))
    upstream = nginx(bench, json_of(1024), core=bench.cores.load, root=root.parent)
    upstream.wait()
    # What is held is the same, but for another query.
    earlier = Request("/answer?before", _KB.body)
    held: dict[int, Path | None] = {0: None}
    for count in sizes[1:]:
        cassette = recorded_by_buffr(bench, upstream, earlier)
        multiply_cassette(cassette, count)
        held[count] = cassette
    small = {count: _Course(_KB, held[count]) for count in sizes}
    before = [_Course(_KB, None, build) for build in bench.peers.builds[1:]]
    large = {count: _Course(_HALF_MB, held[count]) for count in (sizes[0], sizes[-1])}
    for _ in range(bench.rounds):
        for course in (*small.values(), *large.values(), *before):
            _round(bench, upstream, course)
    rows = []
    for count, course in small.items():
        figures = {"buffr": median(course.rates)}
        if count == 0:
            figures |= {other.build.name: median(other.rates) for other in before}
            figures |= _peers_rates(bench, upstream)
        into = f"one of {count:,}" if count else "an empty cassette"
        rows += bench.rows(f"recordings/s into {into}", figures, least=1500)
    for size, courses in (("1 KB", small), ("500 KB", large)):
        empty, full = courses[sizes[0]].costs, courses[sizes[-1]].costs
        growth = median(b / a for a, b in zip(empty, full, strict=True))
        bench.say(f"{size}: {median(empty):,.0f} us a recording, {median(full):,.0f} into the full")
        measure = f"cost into {sizes[-1]:,} to empty, {size}"
        rows += bench.rows(measure, {"buffr": growth}, most=1.2)
    return rows


def _round(bench: Bench, upstream: Process, course: _Course) -> None:
    cassette = bench.file("cassette.json")
    held = 0
    if course.held is not None:
        shutil.copyfile(course.held, cassette)
        held = _recordings(cassette)
    recorder = buffr(bench, "auto", upstream, cassette, course.build)
    recorder.wait()
    expected = ask(recorder, course.request)
    load = put_load(bench, recorder, course.request, expected)
    course.costs.append(load.cost_us)
    course.rates.append(load.answers / load.seconds)
    recorder.stop()
    if _recordings(cassette) < held + load.answers:
        raise Failed(f"{cassette} lacks some of {load.answers} recordings")
    cassette.unlink()


def _recordings(cassette: Path) -> int:
    return len(msgspec.json.decode(cassette.read_bytes())["interactions"])


def _peers_rates(bench: Bench, upstream: Process) -> dict[str, float]:
    rates = {}
    if bench.peers.mitmdump is not None:
        rates["mitmproxy"] = _rate(
            bench, lambda: mitmproxy(bench, upstream, "-w", str(bench.file("flows")))
        )
    if bench.peers.go_buffr is not None:
        rates["Go program"] = _rate(
            bench, lambda: go_buffr(bench, "record", upstream, bench.file("cassette.json"))
        )
    return rates


def _rate(bench: Bench, start: Callable[[], Process]) -> float:
    rates = []
    for _ in range(bench.rounds):
        recorder = start()
        recorder.wait()
        load = put_load(bench, recorder, _KB, ask(recorder, _KB))
        rates.append(load.answers / load.seconds)
        recorder.stop()
    return median(rates)
