"""A small GET passes through: what a proxy costs that only relays.

It is the same each time; the same but for its trace id, as traced clients send it; and another one
each time, which no proxy can know.
"""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.cost import answer_costs
from benchmarks.hits import ANSWER
from benchmarks.message import MARK, Request
from benchmarks.servers import buffr, mitmproxy, nginx, nginx_proxy
from benchmarks.table import Row

__all__ = ["run"]

_OTHERS = {
    "each traced": ("traceparent", f"00-4bf92f3577b34da6a3ce929d{MARK}-00f067aa0ba902b7-01"),
    "each another": ("X-Number", MARK),
}


def run(bench: Bench) -> list[Row]:
    upstream = nginx(bench, ANSWER, core=bench.cores.load)
    upstream.wait()
    builds = bench.peers.builds
    proxies = [buffr(bench, "passthrough", upstream, None, build) for build in builds]
    proxies.append(nginx_proxy(bench, upstream))
    if bench.peers.mitmdump is not None:
        proxies.append(mitmproxy(bench, upstream))
    costs = answer_costs(bench, proxies, Request("/answer"))
    rows = bench.rows("us per answer", costs, to={"nginx": 2.5})
    for measure, field in _OTHERS.items():
        costs = answer_costs(bench, proxies, Request("/answer", header=field))
        rows += bench.rows(f"us per answer, {measure}", costs)
    return rows
