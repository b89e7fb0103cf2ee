"""Checks a share of what a route replays against the live API, on the side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.threads import deferToThreadPool

from buffr.drift.carrying import Carried
from buffr.drift.stand_ins import live_values
from buffr.drift.verdict import Verdict
from buffr.exchanges.pace import Pace
from buffr.interaction import Interaction
from buffr.message import Request
from buffr.refreshing.asking import SAFE, Asking, Client, Rules, SessionClient

__all__ = ["LiveChecks"]

_MOST_UNDER_WAY = 4
_MOST_DONE = 1_000_000


@define(eq=False)
class LiveChecks:
    """The checks of one route, each recording at most once.

    ``share`` is the part of the safe requests, from 0 to 1, that is checked;
    ``chance`` returns a number from 0 to 1. A request is sent as it is
    recorded, with the credentials of ``rules``, or else with those of the live
    request that was replayed to. It waits for its turn like any other.
    """

    share: float
    chance: Callable[[], float]
    rules: Rules
    client: Client
    sessions: SessionClient
    pace: Pace
    reactor: Any
    _done: set[int] = field(init=False, factory=set)
    _under_way: int = field(init=False, default=0)

    def is_done(self, place: int) -> bool:
        """Whether nothing more is to be checked of the recording at a place."""
        return place in self._done or len(self._done) >= _MOST_DONE

    def wants(self, place: int, request: Request) -> bool:
        """Whether to check the recording at a place, now that it answers a request."""
        if self.is_done(place):
            return False
        if request.method not in SAFE or request.upgrade:
            self._done.add(place)
            return False
        if self._under_way >= _MOST_UNDER_WAY or self.chance() >= self.share:
            return False
        self._done.add(place)
        return True

    async def verdict(
        self, place: int, recorded: Interaction, request: Request, words: str
    ) -> Verdict:
        """Ask the live API what a recording answered; ``words`` are those of the request."""
        credentials = evolve(self.rules.credentials, live=live_values(request))
        asking = Asking(
            evolve(self.rules, credentials=credentials),
            self.client,
            self.sessions,
            self.pace,
            Carried(frozenset()),
            aside=self._aside,
        )
        self._under_way += 1
        try:
            return await asking.verdict(place, recorded, words)
        finally:
            self._under_way -= 1

    async def _aside(self, work: Callable[[], Any]) -> Any:
        """Read and compare answers on a thread: they may be long."""
        pool = self.reactor.getThreadPool()
        return await deferToThreadPool(self.reactor, pool, work)
