"""A POST with 2 KB of JSON is replayed: the whole body is part of what identifies it.

Once it is one body again and again, which buffr knows by its bytes after the
first time; and once each of 20,000 bodies in turn, so that all are new to it.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER, hit_costs
from benchmarks.message import Request, json_of
from benchmarks.recordings import multiply_cassette
from benchmarks.servers import buffr, check_hits, nginx, recorded_by_buffr
from benchmarks.table import Row

__all__ = ["run"]

_BODIES = 20_000


def run(bench: Bench) -> list[Row]:
    same = hit_costs(bench, Request("/answer", json_of(2048)))
    return [
        *bench.rows("us per answer", same, most=40),
        *bench.rows("us per answer, each body new", _new_bodies_costs(bench)),
    ]


def _new_bodies_costs(bench: Bench) -> dict[str, float]:
    request = Request("/answer", json_of(2048, marked=True), numbers=_BODIES)
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    cassette = recorded_by_buffr(bench, upstream, request)
    multiply_cassette(cassette, _BODIES)
    replaying = buffr(bench, "replay", None, cassette)
    costs = answer_costs(bench, [replaying], request)
    check_hits(replaying)
    return costs
