"""A request that no recording answers, in mode replay: it is refused, and the miss explained."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER
from benchmarks.message import Request, json_of
from benchmarks.process import Process
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import (
    buffr,
    go_buffr,
    nginx,
    recorded_by_buffr,
    recorded_by_go_buffr,
)
from benchmarks.table import Row

__all__ = ["run"]

_MISS = 599
_HELD = (3, 10_000)
_RECORDED = Request("/answer", json_of(1024, marked=True))
_REPEATED = Request("/answer", json_of(512), status=_MISS)
_DISTINCT = Request("/answer", json_of(512, marked=True), status=_MISS)


def run(bench: Bench) -> list[Row]:
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    rows = []
    for count in _HELD:
        for kind, request in (("repeated", _REPEATED), ("distinct", _DISTINCT)):
            measure = f"us per answer, {kind}, {count:,} recordings"
            rows += bench.rows(measure, _costs(bench, upstream, count, request))
    return rows


def _costs(bench: Bench, upstream: Process, count: int, request: Request) -> dict[str, float]:
    cassette = recorded_by_buffr(bench, upstream, _RECORDED)
    multiply_cassette(cassette, count)
    servers = [buffr(bench, "replay", None, cassette, build) for build in bench.peers.builds]
    if bench.peers.go_buffr is not None:
        recorded = recorded_by_go_buffr(bench, upstream, _RECORDED)
        multiply_cassette(recorded, count)
        servers.append(go_buffr(bench, "replay", None, recorded))
    return answer_costs(bench, servers, request)
