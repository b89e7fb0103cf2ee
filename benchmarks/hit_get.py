"""A small GET is replayed."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.hits import hit_costs
from benchmarks.message import Request
from benchmarks.table import Row

__all__ = ["run"]


def run(bench: Bench) -> list[Row]:
    return bench.rows("us per answer", hit_costs(bench, Request("/answer")), most=23)
