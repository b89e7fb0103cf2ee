"""Which routes are held, and which are let go: by what is under way, by time and by number."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from buffr.exchanges.pace import PacedUpstream
from buffr.exchanges.route import Passing, Route
from buffr.origin import Origin
from buffr.redaction.rules import RedactionRules
from buffr.upstream.upstream import Upstream
from buffr.wiring.held_routes import Held, HeldRoutes

IDLE_S = 100.0
POOL: Any = None
"""Nobody is asked."""


def origin(number: int) -> Origin:
    return Origin("http", f"{number}.test", 80)


@define
class Bench:
    """Routes by number, on a clock that the test moves."""

    most: int = 3
    idle_s: float = IDLE_S
    gone: list[int] = field(factory=list)
    clock: Clock = field(factory=Clock)
    held: HeldRoutes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.held = HeldRoutes(self.most, self.idle_s, self._let_go)

    def _let_go(self, held: Held) -> None:
        assert held.route.origin is not None
        self.gone.append(int(held.route.origin.host.removesuffix(".test")))

    def add(self, number: int) -> Route:
        upstream = PacedUpstream(Upstream(origin(number), POOL))
        route = Passing(upstream=upstream, redaction=RedactionRules(), origin=origin(number))
        self.held.add((origin(number), None), Held(route, None, self.clock.seconds()))
        return route

    def used(self, number: int) -> Route:
        """A new route that has answered one request."""
        route = self.add(number)
        route.uses.begin()
        route.uses.end()
        return route

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.held.sweep(self.clock.seconds())

    def is_held(self, number: int) -> bool:
        return self.held.find((origin(number), None)) is not None


class TestTime:
    def test_an_idle_route_goes(self) -> None:
        bench = Bench()
        bench.add(1)
        bench.later(IDLE_S - 1)
        assert bench.is_held(1)
        bench.later(1)
        assert (bench.gone, bench.is_held(1), len(bench.held)) == ([1], False, 0)

    def test_a_use_counts_from_its_end(self) -> None:
        bench = Bench()
        uses = bench.add(1).uses
        uses.begin()
        for _ in range(5):
            bench.later(IDLE_S)
        uses.end()
        bench.later(1)
        bench.later(IDLE_S - 1)
        assert bench.gone == []
        bench.later(1)
        assert bench.gone == [1]

    def test_overlapping_uses_all_have_to_end(self) -> None:
        """An exchange is over, and the flight that it began goes on."""
        bench = Bench()
        uses = bench.add(1).uses
        uses.begin()
        uses.begin()
        uses.end()
        for _ in range(5):
            bench.later(IDLE_S)
        assert bench.gone == []

    def test_without_a_limit_none_goes(self) -> None:
        bench = Bench(idle_s=0)
        bench.add(1)
        bench.later(1e9)
        assert bench.is_held(1)


class TestNumber:
    def test_of_too_many_the_one_idle_longest_goes(self) -> None:
        bench = Bench(most=3)
        for number in (1, 2, 3):
            bench.used(number)
            bench.later(1)
        bench.used(4)
        assert bench.gone == [1]

    def test_one_that_was_used_lately_is_passed_over(self) -> None:
        bench = Bench(most=3)
        first = bench.used(1)
        bench.used(2)
        bench.used(3)
        bench.later(1)
        first.uses.begin()
        first.uses.end()
        bench.used(4)
        assert bench.gone == [2]

    @pytest.mark.parametrize("more", [1, 5])
    def test_what_is_in_use_stays_beyond_the_bound(self, more: int) -> None:
        bench = Bench(most=3)
        routes = []
        for number in range(3 + more):
            routes.append(bench.add(number))
            routes[-1].uses.begin()
        assert (bench.gone, len(bench.held)) == ([], 3 + more)
        for route in routes:
            route.uses.end()
        bench.used(99)
        assert len(bench.held) == 3
        assert bench.is_held(99)

    def test_thousands_cost_the_same_each(self) -> None:
        """The bound holds at every moment, and each goes once."""
        bench = Bench(most=50)
        for number in range(5000):
            bench.used(number)
            assert len(bench.held) <= 50
        assert sorted(bench.gone) == list(range(4950))
