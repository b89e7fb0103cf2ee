"""A small GET is replayed."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.hits import hit_costs
from benchmarks.message import Request
from benchmarks.table import Row

__all__ = ["run"]


def run(bench: Bench) -> list[Row]:
    costs = hit_costs(bench, Request("/answer"))
    return bench.rows("us per answer", costs, most=23, to={"Go program": 0.75, "nginx": 2.3})
