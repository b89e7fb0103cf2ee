"""A POST with 2 KB of JSON is replayed: the whole body is part of what identifies it.

Once it is one body again and again, which buffr knows by its bytes after the
first time; and once each of 10,000 bodies in turn, so that all are new to it.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER, hit_costs
from benchmarks.message import Request, json_of
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import (
    buffr,
    check_hits,
    go_buffr,
    nginx,
    recorded_by_buffr,
    recorded_by_go_buffr,
)
from benchmarks.table import Row

__all__ = ["run"]

_BODIES = 10_000
_NEW = "us per answer, each of {:,} bodies in turn"


def run(bench: Bench) -> list[Row]:
    same = hit_costs(bench, Request("/answer", json_of(2048)))
    return [
        *bench.rows("us per answer", same, most=40, to={"Go program": 0.45}),
        *bench.rows(_NEW.format(_BODIES), _new_bodies_costs(bench), to={"Go program": 1}),
    ]


def _new_bodies_costs(bench: Bench) -> dict[str, float]:
    request = Request("/answer", json_of(2048, marked=True), numbers=_BODIES)
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    cassette = recorded_by_buffr(bench, upstream, request)
    multiply_cassette(cassette, _BODIES)
    ours = [buffr(bench, "replay", None, cassette, build) for build in bench.peers.builds]
    servers = [*ours]
    if bench.peers.go_buffr is not None:
        cassette = recorded_by_go_buffr(bench, upstream, request)
        multiply_cassette(cassette, _BODIES)
        servers.append(go_buffr(bench, "replay", None, cassette))
    costs = answer_costs(bench, servers, request)
    for server in ours:
        check_hits(server)
    return costs
