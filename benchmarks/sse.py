"""An SSE answer of 200 chunks is replayed, as fast as the client takes it."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.message import Request, json_of
from benchmarks.servers import buffr, check_hits, recorded_by_buffr, site
from benchmarks.table import Row

__all__ = ["run"]

_CHUNKS = 200
_EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'


def run(bench: Bench) -> list[Row]:
    request = Request("/answer", json_of(512))
    peer = site(bench, _EVENT * _CHUNKS, str(_CHUNKS))
    peer.wait()
    replaying = buffr(bench, "replay", None, recorded_by_buffr(bench, peer, request))
    costs = answer_costs(bench, [replaying, peer], request)
    check_hits(replaying)
    rates = {name: 1e6 / cost for name, cost in costs.items()}
    return bench.rows("answers/s", rates, least=5000)
