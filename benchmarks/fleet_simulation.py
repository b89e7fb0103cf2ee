"""A fleet of 100 nodes in simulated time: limits, shared calls and local copies.

``python -m benchmarks.fleet_simulation [--plot DIRECTORY]`` takes some seconds
and needs nothing but Python. It runs the rules that buffr uses against one
server, with delay, loss and nodes that stop for a while, and compares them
with nodes that each go by themselves. Nodes' clocks run apart by up to 200 ms:
where that matters, it shows.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
from bisect import insort
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from math import exp
from pathlib import Path
from statistics import mean

from attrs import define, field, frozen

_NODES = 100


@frozen
class Network:
    """One-way delays in seconds, exponential beyond the least, and the share that is lost.

    What is lost is sent again after ``again_s``, as TCP does.
    """

    least_s: float = 0.0005
    mean_s: float = 0.0015
    loss: float = 0.001
    again_s: float = 0.2

    def delay(self, chance: random.Random) -> float:
        delay = self.least_s + chance.expovariate(1 / (self.mean_s - self.least_s))
        while chance.random() < self.loss:
            delay += self.again_s
        return delay


@define(eq=False)
class World:
    """Simulated time."""

    chance: random.Random
    network: Network
    now: float = 0.0
    _events: list[tuple[float, int, Callable[[], None]]] = field(init=False, factory=list)
    _number: Iterator[int] = field(init=False, factory=count)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay_s, next(self._number), call))

    def send(self, call: Callable[[], None]) -> None:
        """Call on the other side of the network."""
        self.after(self.network.delay(self.chance), call)

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now, _, call = heapq.heappop(self._events)
            call()


# Limits: 50 in a second for 100 nodes that want more.

_SLACK_S, _AHEAD_S, _LATE_S = 0.01, 0.05, 0.008


@define(eq=False)
class SharedLimit:
    """The script of ``buffr/stores/redis/limits.py`` on the server's clock."""

    world: World
    count: int
    length_s: float = 1.0
    left: list[float] = field(factory=list)
    wanting: dict[int, float] = field(factory=dict)

    def take(self, node: int, wanted: int) -> tuple[list[float], float]:
        now = self.world.now
        self.wanting = {who: until for who, until in self.wanting.items() if until > now}
        self.wanting[node] = now + 2.0
        most = min(wanted, max(1, self.count // (4 * len(self.wanting))))
        granted: list[float] = []
        for _ in range(most):
            due = max(now, self.left[-1] if self.left else 0.0)
            if len(self.left) >= self.count:
                due = max(due, self.left[-self.count] + self.length_s + _SLACK_S)
            if due > now + _AHEAD_S:
                return granted, due - now - _AHEAD_S
            self.left.append(due)
            granted.append(due)
        return granted, 0.0

    def settle(self, due: float) -> None:
        """A request left later than it had been granted."""
        if due in self.left:
            self.left.remove(due)
            insort(self.left, self.world.now)


def shared_limit(world: World, seconds: float, rate: int) -> list[float]:
    """When requests leave, if all nodes ask the server."""
    limit, departures = SharedLimit(world, rate), list[float]()
    queues = [0] * _NODES

    def arrive(node: int) -> None:
        queues[node] += 1
        if queues[node] == 1:
            ask(node)
        world.after(world.chance.expovariate(2.0 * rate / _NODES), lambda: arrive(node))

    def ask(node: int) -> None:
        def at_server() -> None:
            granted, wait_s = limit.take(node, queues[node])
            world.send(lambda: answered(node, granted, wait_s))

        world.send(at_server)

    def leave(due: float) -> None:
        departures.append(world.now)
        if world.now - due > _LATE_S:
            world.send(lambda: limit.settle(due))

    def answered(node: int, granted: list[float], wait_s: float) -> None:
        for due in granted:
            queues[node] -= 1
            world.after(max(0.0, due - world.now), partial(leave, due))
        if queues[node]:
            world.after(wait_s, lambda: ask(node))

    for node in range(_NODES):
        world.after(world.chance.random() * 0.1, partial(arrive, node))
    world.run(seconds)
    return sorted(departures)


def own_limits(world: World, seconds: float, rate: int, skew_s: float) -> list[float]:
    """When requests leave, if each node counts whole seconds of its own clock."""
    departures: list[float] = []
    share = rate / _NODES
    for _ in range(_NODES):
        skew = world.chance.uniform(-skew_s, skew_s)
        at = skew
        while at < seconds:
            # Less than one a second for each: a node lets one go when its turn has come round.
            departures.append(max(0.0, at + world.chance.random()))
            at += 1 / share
    return sorted(departures)


def most_within(moments: list[float], length_s: float) -> int:
    first = most = 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - length_s:
            first += 1
        most = max(most, last - first + 1)
    return most


# Flights: one key that nobody has, wanted by all nodes.


@define(eq=False)
class Flights:
    """A lease with a token, as in ``buffr/stores/redis/flights.py``."""

    world: World
    lease_s: float
    linger_s: float = 2.0
    held_until: float = 0.0
    token: int = 0
    stored: bool = False

    def join(self) -> int | None:
        """A token for who leads; ``None`` for who follows."""
        if self.world.now < self.held_until:
            return None
        self.token += 1
        self.held_until = self.world.now + self.lease_s
        return self.token

    def renew(self, token: int) -> bool:
        if token != self.token or self.world.now >= self.held_until:
            return False
        self.held_until = self.world.now + self.lease_s
        return True


def duplicate_calls(
    world: World, lease_s: float, call_s: float, stop_share: float, *, shared: bool
) -> tuple[int, float]:
    """Upstream calls for one key, and how long the slowest node waited for its answer."""
    flights, calls, waits = Flights(world, lease_s), [0], list[float]()
    answered = [False]

    def want() -> None:
        started = world.now

        def got() -> None:
            waits.append(world.now - started)

        def alone() -> None:
            calls[0] += 1
            world.after(call_s, got)

        def join() -> None:
            if answered[0]:
                world.send(got)
                return
            token = flights.join()
            if token is None:
                world.after(lease_s / 4, join)
            else:
                world.send(lambda: lead(token))

        def lead(token: int) -> None:
            calls[0] += 1
            stops = world.chance.random() < stop_share
            if not stops:
                keep(token)
                world.after(call_s, lambda: world.send(lambda: done(token)))
            else:
                world.after(3 * lease_s, join)  # its client asks again elsewhere

        def keep(token: int) -> None:
            if not answered[0]:
                flights.renew(token)
                world.after(lease_s / 3, lambda: world.send(lambda: keep(token)))

        def done(token: int) -> None:
            if flights.renew(token):
                answered[0] = True
                flights.held_until = world.now + flights.linger_s
            got()

        if shared:
            world.send(join)
        else:
            alone()

    for _ in range(_NODES):
        world.after(world.chance.random() * 0.05, want)
    world.run(120.0)
    return calls[0], max(waits)


# Local copies: which share of hits crosses no network, and how old a copy may be.


def local_tier(
    chance: random.Random, keys: int, held: int, requests: int, writes_share: float
) -> float:
    """The share of hits that a node answers by itself: Zipf's law, LRU copies, invalidations."""
    weights = [1 / (rank + 1) for rank in range(keys)]
    drawn = chance.choices(range(keys), weights, k=requests)
    copies: dict[int, None] = {}
    local = 0
    for key in drawn:
        if chance.random() < writes_share:
            copies.pop(key, None)  # another node stored a new answer; the server says so
            continue
        if key in copies:
            local += 1
            copies.pop(key)
        elif len(copies) >= held:
            copies.pop(next(iter(copies)))
        copies[key] = None
    return local / requests


def stale_share(period_s: float, staleness_s: float, loss: float) -> float:
    """The share of a copy's answers that are older than the last change of the server.

    A change is pushed; a lost connection is noticed after ``staleness_s``. The
    rate of changes is one in ``period_s`` seconds, that of losses ``loss`` a second.
    """
    return loss * staleness_s * (1 - exp(-staleness_s / period_s))


@frozen
class Curve:
    name: str
    points: list[tuple[float, float]]


def plotted(title: str, x: str, y: str, curves: list[Curve]) -> str:
    """A plot as SVG: small, without a library, and readable in a diff."""
    wide, high, left, low = 480, 280, 60, 40
    xs = [px for curve in curves for px, _ in curve.points]
    ys = [py for curve in curves for _, py in curve.points] + [0.0]
    top = max(ys) * 1.1 or 1.0

    def at(px: float, py: float) -> str:
        share = (px - min(xs)) / (max(xs) - min(xs))
        down = py / top * (high - low - 40)
        return f"{left + share * (wide - left - 20):.1f},{high - low - down:.1f}"

    colours = ("#1668a8", "#b8442c", "#3b7d3b", "#7a5195")
    box = f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{wide}" height="{high}" fill="#fff"/>',
        f'<text x="{left}" y="18" font-size="13">{title}</text>',
        f'<text x="{wide / 2:.0f}" y="{high - 8}">{x}</text>',
        f'<text x="14" y="{high / 2:.0f}" transform="rotate(-90 14 {high / 2:.0f})">{y}</text>',
        f'<path d="M{left} 30V{high - low}H{wide - 20}" fill="none" stroke="#888"/>',
        f'<text x="{left - 6}" y="44" text-anchor="end">{top:.3g}</text>',
        f'<text x="{left}" y="{high - low + 14}">{min(xs):g}</text>',
        f'<text x="{wide - 20}" y="{high - low + 14}" text-anchor="end">{max(xs):g}</text>',
    ]
    for number, curve in enumerate(curves):
        points = " ".join(at(*point) for point in curve.points)
        colour = colours[number % len(colours)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(
            f'<text x="{left + 10}" y="{44 + 14 * number}" fill="{colour}">{curve.name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _world(seed: int, loss: float = 0.001, mean_s: float = 0.0015) -> World:
    return World(random.Random(seed), Network(loss=loss, mean_s=mean_s))


def report(say: Callable[[str], object]) -> dict[str, str]:
    """Run everything; returns the plots by their names."""
    rate, seconds = 50, 20.0
    together = shared_limit(_world(1), seconds, rate)
    apart = own_limits(_world(2), seconds, rate, 0.2)
    shared_most, own_most = most_within(together, 1.0), most_within(apart, 1.0)
    say(f"limits: {rate} in a second, {_NODES} nodes, {seconds:g} s\n")
    say(
        f"  one script on the server: at most {shared_most} in any second, "
        f"{(len(together) - rate) / rate / together[-1]:.1%} used\n"
    )
    say(f"  a share for each node: at most {own_most}, {len(apart) / rate / seconds:.1%} used\n")
    overshoot = []
    for mean_ms in (1, 2, 5, 10, 20, 40):
        left = shared_limit(_world(3, mean_s=mean_ms / 1e3), 10.0, rate)
        overshoot.append((float(mean_ms), float(most_within(left, 1.0) - rate)))
    used = []
    for mean_ms in (1, 2, 5, 10, 20, 40):
        left = shared_limit(_world(4, mean_s=mean_ms / 1e3), 10.0, rate)
        used.append((float(mean_ms), 100 * (len(left) - rate) / rate / left[-1]))
    say(f"  over the limit, by mean delay in ms: {overshoot}\n")
    say(f"  % used, by mean delay in ms: {[(ms, round(share, 1)) for ms, share in used]}\n")

    say(f"flights: one key that nobody has, {_NODES} nodes at once, a call of 1 s, lease 3 s\n")
    for share in (0.0, 0.1, 0.5):
        runs = [duplicate_calls(_world(seed), 3.0, 1.0, share, shared=True) for seed in range(20)]
        called, waited = mean(c for c, _ in runs), mean(w for _, w in runs)
        say(f"  {share:.0%} of those that call are killed: {called:.2f} calls, {waited:.1f} s\n")
    calls = []
    for lease_ms in (100, 200, 500, 1000, 3000):
        runs = [
            duplicate_calls(_world(seed, loss=0.02), lease_ms / 1e3, 1.0, 0.0, shared=True)
            for seed in range(20)
        ]
        calls.append((float(lease_ms), mean(c for c, _ in runs)))
    say(f"  without flights: {duplicate_calls(_world(1), 3.0, 1.0, 0, shared=False)[0]} calls\n")
    say(f"  calls by lease in ms, with 2 % loss: {calls}\n")

    say("local copies: 100,000 keys by Zipf's law, 1 % of the accesses are changes\n")
    rates = []
    for held in (100, 1000, 5000, 20_000):
        share = local_tier(random.Random(5), 100_000, held, 200_000, 0.01)
        rates.append((float(held), 100 * share))
        say(f"  {held:,} copies: {share:.1%} of the accesses cross no network\n")
    say(
        "  stale answers, a change every 10 s and a lost connection an hour, staleness 1 s: "
        f"{stale_share(10.0, 1.0, 1 / 3600):.1e}\n"
    )
    return {
        "fleet-limits.svg": plotted(
            "Limit of 50 in a second, 100 nodes",
            "mean one-way delay in ms",
            "requests; % used",
            [Curve("over the limit in the worst second", overshoot), Curve("% used", used)],
        ),
        "fleet-flights.svg": plotted(
            "Calls for one missing key, 100 nodes, 2 % loss",
            "lease in ms",
            "calls",
            [Curve("calls", calls)],
        ),
        "fleet-copies.svg": plotted(
            "Accesses that cross no network",
            "copies in a process",
            "%",
            [Curve("Zipf's law", rates)],
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="DIRECTORY", help="write plots as SVG there")
    options = parser.parse_args()
    plots = report(sys.stdout.write)
    if options.plot is not None:
        for name, text in plots.items():
            (options.plot / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
