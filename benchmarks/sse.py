"""An SSE answer of 200 chunks is replayed, as fast as the client takes it."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.message import Request, json_of
from benchmarks.servers import (
    buffr,
    check_hits,
    go_buffr,
    recorded_by_buffr,
    recorded_by_go_buffr,
    site,
)
from benchmarks.table import Row

__all__ = ["run"]

_CHUNKS = 200
_EVENT = 'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'


def run(bench: Bench) -> list[Row]:
    request = Request("/answer", json_of(512))
    peer = site(bench, _EVENT * _CHUNKS, str(_CHUNKS))
    peer.wait()
    cassette = recorded_by_buffr(bench, peer, request)
    ours = [buffr(bench, "replay", None, cassette, build) for build in bench.peers.builds]
    servers = [*ours, peer]
    if bench.peers.go_buffr is not None:
        recorded = recorded_by_go_buffr(bench, peer, request)
        servers.append(go_buffr(bench, "replay", None, recorded))
    costs = answer_costs(bench, servers, request)
    for server in ours:
        check_hits(server)
    rates = {name: 1e6 / cost for name, cost in costs.items()}
    return bench.rows("answers/s", rates, least=5000)
