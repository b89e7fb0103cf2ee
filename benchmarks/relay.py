"""A small GET passes through: what a proxy costs that only relays."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER
from benchmarks.message import Request
from benchmarks.servers import buffr, mitmproxy, nginx, nginx_proxy
from benchmarks.table import Row

__all__ = ["run"]


def run(bench: Bench) -> list[Row]:
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    builds = bench.peers.builds
    proxies = [buffr(bench, "passthrough", upstream, None, build) for build in builds]
    proxies.append(nginx_proxy(bench, upstream))
    if bench.peers.mitmdump is not None:
        proxies.append(mitmproxy(bench, upstream))
    costs = answer_costs(bench, proxies, Request("/answer"))
    return bench.rows("us per answer", costs, to={"nginx": 2.5})
