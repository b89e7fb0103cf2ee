"""Replayed answers, request after request: what the benchmarks of hits share."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.message import Request
from benchmarks.servers import (
    buffr,
    check_hits,
    go_buffr,
    nginx,
    recorded_by_buffr,
    recorded_by_go_buffr,
    recorded_by_mitmproxy,
    replaying_mitmproxy,
    site,
)

__all__ = ["ANSWER", "hit_costs"]

ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"Hello! How can I help you today?"}}]}'
)


def hit_costs(bench: Bench, request: Request) -> dict[str, float]:
    """What a replay costs buffr and its peers, and what servers pay that look nothing up.

    In microseconds of processor time.
    """
    floor = nginx(bench, ANSWER)
    floor.wait()
    cassette = recorded_by_buffr(bench, floor, request)
    ours = [buffr(bench, "replay", None, cassette, build) for build in bench.peers.builds]
    servers = [*ours, site(bench, ANSWER), floor]
    if bench.peers.go_buffr is not None:
        cassette = recorded_by_go_buffr(bench, floor, request)
        servers.append(go_buffr(bench, "replay", None, cassette))
    if bench.peers.mitmdump is not None:
        flows = recorded_by_mitmproxy(bench, floor, request)
        servers.append(replaying_mitmproxy(bench, floor, flows))
    costs = answer_costs(bench, servers, request)
    for server in ours:
        check_hits(server)
    return costs
