"""Limits that several processes keep together: never exceeded, used in full, shared fairly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from reactors import ReactorTurns
from redis_servers import RedisServer
from twisted.internet.defer import Deferred, gatherResults

from buffr.errors import RateLimited
from buffr.exchanges.fleet_pace import FleetPace
from buffr.message import ResponseHead
from buffr.policy.rate_limits import RateRules, Window
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.client import Patience, RedisClient
from buffr.stores.redis.limits import RedisLimits

COUNT = 50
RULES = RateRules((Window(COUNT, 1, "second"),), max_delay_s=60.0)
MICROSECONDS = 1_000_000
_PATIENCE = Patience(5.0, 5.0)


@define(eq=False)
class Processes:
    """The paces of several processes, each with a connection of its own, on one reactor."""

    turns: ReactorTurns
    clients: list[RedisClient]
    paces: list[FleetPace]
    left: list[int] = field(factory=list)

    async def _leaves(self, number: int) -> None:
        await self.paces[number].turn()
        self.left.append(number)

    def ask(self, number: int, times: int) -> Deferred[Any]:
        return gatherResults(
            [Deferred.fromCoroutine(self._leaves(number)) for _ in range(times)],
            consumeErrors=True,
        )

    def wait(self, *running: Deferred[Any]) -> None:
        async def all_of_them() -> None:
            await gatherResults(running)

        self.turns.run(all_of_them())


@contextmanager
def processes(
    address: RedisAddress, number: int, rules: RateRules = RULES, patience: Patience = _PATIENCE
) -> Iterator[Processes]:
    turns = ReactorTurns()
    clients = [RedisClient(address, turns.reactor, patience) for _ in range(number)]
    paces = [
        FleetPace(
            turns.reactor,
            rules,
            60.0,
            RedisLimits(client, "api"),
            seconds=time.monotonic,
            wall=time.time,
        )
        for client in clients
    ]
    yield Processes(turns, clients, paces)
    for client in clients:
        turns.run(client.close())
    turns.close()


@pytest.fixture
def address(redis_server: RedisServer, tmp_path: Path) -> RedisAddress:
    return evolve(redis_server.address, prefix=tmp_path.name)


def most_in_a_window(stamps: list[int], length: int) -> int:
    first, most = 0, 0
    for last, stamp in enumerate(stamps):
        while stamps[first] <= stamp - length:
            first += 1
        most = max(most, last - first + 1)
    return most


class TestTogether:
    def test_a_limit_is_never_exceeded_and_used_in_full(
        self, redis_server: RedisServer, address: RedisAddress
    ) -> None:
        """By the server's clock, over four processes that all want more than there is."""
        rounds = 4
        # All turns are looked at, so that none may be forgotten meanwhile.
        rules = evolve(RULES, windows=(*RULES.windows, Window(10_000, 60, "minute")))
        with processes(address, 4, rules) as fleet:
            fleet.wait(*[fleet.ask(number, COUNT * rounds // 4) for number in range(4)])
        left = f"{address.prefix}:{{limit api}}:left"
        scored = redis_server.ask("ZRANGE", left, 0, -1, "WITHSCORES")
        assert isinstance(scored, list)
        stamps = [int(score) for _, score in scored]
        assert len(stamps) == COUNT * rounds
        assert most_in_a_window(stamps, MICROSECONDS) == COUNT
        took = stamps[-1] - stamps[0]
        # The first and the last window are full at once: so many seconds lie between.
        assert took < (rounds - 1) * MICROSECONDS / 0.98 + 60_000

    def test_each_process_has_its_part(self, address: RedisAddress) -> None:
        """One that wants much leaves something for one that comes later."""
        with processes(address, 2) as fleet:
            greedy = fleet.ask(0, 2 * COUNT)
            while len(fleet.left) < COUNT:
                fleet.turns.step()
            fleet.wait(fleet.ask(1, 10))
            assert fleet.left.count(0) < 2 * COUNT, "it did not have to wait for all of them"
            fleet.wait(greedy)

    def test_within_a_process_the_first_to_come_leaves_first(self, address: RedisAddress) -> None:
        with processes(address, 1) as fleet:
            order: list[int] = []

            async def leaves(number: int) -> None:
                await fleet.paces[0].turn()
                order.append(number)

            running = [Deferred.fromCoroutine(leaves(number)) for number in range(COUNT)]
            fleet.wait(*running)
            assert order == sorted(order)

    def test_a_pause_that_one_hears_of_holds_for_all(self, address: RedisAddress) -> None:
        with processes(address, 2) as fleet:
            fleet.wait(fleet.ask(0, 1), fleet.ask(1, 1))
            head = ResponseHead(429, b"Too Many", ((b"Retry-After", b"1"),))
            fleet.paces[0].heard(head)
            started = time.monotonic()
            fleet.wait(fleet.ask(0, 0))
            fleet.turns.run(fleet.clients[0].ask("PING"))
            fleet.wait(fleet.ask(1, 1))
            assert time.monotonic() - started > 0.9

    def test_a_wait_that_would_be_too_long_is_refused(self, address: RedisAddress) -> None:
        rules = evolve(RULES, max_delay_s=1.0)
        with processes(address, 1, rules) as fleet:
            running = fleet.ask(0, 2 * COUNT)
            with pytest.raises(RateLimited, match="max_delay is 1 s"):
                fleet.turns.run(fleet.paces[0].turn())
            fleet.wait(running)

    def test_nobody_waits_who_may_not(self, address: RedisAddress) -> None:
        """Neither the one that asks for a turn, nor those that come after it."""
        rules = RateRules((Window(2, 3600, "hour"),), max_delay_s=0.0)
        with processes(address, 2, rules) as fleet:
            fleet.wait(fleet.ask(0, 2))
            for number in (0, 1, 0, 1):
                with pytest.raises(RateLimited) as refused:
                    fleet.turns.run(fleet.paces[number].turn())
                assert 3500 < refused.value.retry_after_s <= 3601

    def test_a_client_that_leaves_takes_no_turn_from_others(self, address: RedisAddress) -> None:
        with processes(address, 1) as fleet:
            leaving = [Deferred.fromCoroutine(fleet.paces[0].turn()) for _ in range(COUNT)]
            for each in leaving:
                each.addErrback(lambda _: None)
                each.cancel()
            fleet.wait(fleet.ask(0, COUNT))


class TestAlone:
    def test_without_the_server_each_keeps_its_share(self, tmp_path: Path) -> None:
        server = RedisServer(tmp_path / "r")
        with processes(server.address, 1, patience=Patience(0.5, 0.5)) as fleet:
            fleet.wait(fleet.ask(0, 5))
            server.kill()
            fleet.wait(fleet.ask(0, COUNT - 5))
            started = time.monotonic()
            fleet.wait(fleet.ask(0, 1))
            assert time.monotonic() - started > 0.2
            server.start()
            while not fleet.clients[0].is_up:
                fleet.turns.step()
            fleet.wait(fleet.ask(0, 1))
        server.kill()
