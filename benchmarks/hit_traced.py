"""A small GET is replayed, and each request has another ``traceparent``, as traced clients send."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER
from benchmarks.message import MARK, Request
from benchmarks.servers import buffr, check_hits, nginx, recorded_by_buffr
from benchmarks.table import Row

__all__ = ["run"]

_TRACE = f"00-4bf92f3577b34da6a3ce929d{MARK}-00f067aa0ba902b7-01"


def run(bench: Bench) -> list[Row]:
    request = Request("/answer", header=("traceparent", _TRACE))
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    cassette = recorded_by_buffr(bench, upstream, request.numbered(0))
    ours = [buffr(bench, "replay", None, cassette, build) for build in bench.peers.builds]
    costs = answer_costs(bench, ours, request)
    for server in ours:
        check_hits(server)
    return bench.rows("us per answer", costs)
