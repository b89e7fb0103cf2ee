"""The simulation of a fleet: what the documentation says of it."""

from __future__ import annotations

import random

from benchmarks.fleet_simulation import (
    Network,
    World,
    duplicate_calls,
    most_within,
    own_limits,
    shared_limit,
)


def world(seed: int) -> World:
    return World(random.Random(seed), Network())


class TestSimulation:
    def test_a_shared_limit_holds_and_is_used(self) -> None:
        left = shared_limit(world(1), 10.0, 50)
        assert most_within(left, 1.0) <= 50
        assert len(left) > 0.95 * 10 * 50

    def test_nodes_by_themselves_exceed_it(self) -> None:
        assert most_within(own_limits(world(2), 10.0, 50, 0.2), 1.0) > 60

    def test_a_key_that_all_want_is_one_call(self) -> None:
        assert duplicate_calls(world(3), 3.0, 1.0, 0.0, shared=True)[0] == 1
        assert duplicate_calls(world(3), 3.0, 1.0, 0.0, shared=False)[0] == 100
