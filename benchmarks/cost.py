"""What an answer costs each server: processor time, in rounds that take turns."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.bench import Bench
from benchmarks.load import put_load
from benchmarks.message import Request, ask
from benchmarks.process import Process

__all__ = ["answer_costs"]


def answer_costs(bench: Bench, servers: Sequence[Process], request: Request) -> dict[str, float]:
    """Microseconds of processor time per answer by server, the median of the rounds.

    Each round loads one server after the other, so that a change of the
    machine's pace meets all of them.
    """
    for server in servers:
        server.wait()
    expected = {server.name: ask(server, request.numbered(0)) for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            load = put_load(bench, server, request, expected[server.name])
            costs[server.name].append(load.cost_us)
    for name, figures in costs.items():
        shown = ", ".join(f"{figure:.1f}" for figure in sorted(figures))
        bench.say(f"{name}: {shown} us of processor time per answer")
    return {name: median(figures) for name, figures in costs.items()}
