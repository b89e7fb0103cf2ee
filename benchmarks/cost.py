"""What an answer costs each server: processor time, in rounds that take turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.bench import Bench
from benchmarks.load import put_load
from benchmarks.message import Request, ask
from benchmarks.process import Process

__all__ = ["answer_costs", "costs_by_h2load"]

_WARM_UP = "-n2000"


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
    return _medians(bench, costs)


def costs_by_h2load(
    bench: Bench, servers: Sequence[Process], load: Callable[[Process, str], int]
) -> dict[str, float]:
    """The same under a load by h2load, which takes its time itself.

    ``load`` loads a server, and returns the number of answers. It gets h2load's
    flag for how many requests, or for how many seconds.
    """
    for server in servers:
        server.wait()
        load(server, _WARM_UP)
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            used_s, waited_s, age_s = server.processor_s(), server.waited_s(), server.age_s()
            answers = load(server, f"-D{bench.seconds}")
            costs[server.name].append((server.processor_s() - used_s) * 1e6 / answers)
            bench.waits.append((server.waited_s() - waited_s) / (server.age_s() - age_s))
    return _medians(bench, costs)


def _medians(bench: Bench, costs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    for name, figures in costs.items():
        shown = ", ".join(f"{figure:.1f}" for figure in sorted(figures))
        bench.say(f"{name}: {shown} us of processor time per answer")
    return {name: median(figures) for name, figures in costs.items()}
