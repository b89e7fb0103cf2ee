"""A pace that many processes keep together, by limits that a server keeps for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil, inf

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from buffr.errors import StoreFailed
from buffr.exchanges.pace import Pace
from buffr.message import ResponseHead
from buffr.policy.rate_limits import RateRules
from buffr.stores.fleet import FleetLimits

__all__ = ["FleetPace"]


_LATE_S = 0.008
"""From then on the server is told that a turn was taken later than it had been granted.

Less than what is added to each window, so that requests that leave a little
late are never closer together than the window allows.
"""


@frozen(eq=False)
class _Waiting:
    """A request in the queue."""

    came_s: float
    leaves: Deferred[None]


class _FleetClock:
    """The fleet's clock by that of this process, which is known within bounds.

    A reply was made after it was asked for, and before it came. The quickest
    ones tell most. Clocks may run apart by a ten-thousandth.
    """

    def __init__(self) -> None:
        self._least_s, self._most_s = -inf, inf
        self._heard_s = 0.0

    def heard(self, fleet_s: float, asked_s: float, now_s: float) -> None:
        """A reply that was asked for at ``asked_s`` said ``fleet_s``, and came at ``now_s``."""
        drift_s = (now_s - self._heard_s) * 1e-4
        self._least_s = max(self._least_s - drift_s, asked_s - fleet_s)
        self._most_s = min(self._most_s + drift_s, now_s - fleet_s)
        self._heard_s = now_s

    def local(self, fleet_s: float) -> tuple[float, float]:
        """The first and the last moment that may be meant."""
        return fleet_s + self._least_s, fleet_s + self._most_s


class FleetPace(Pace):
    """Lets the requests of this process leave at turns that ``limits`` grants.

    Within the process the first to come is the first to leave. While the
    limits cannot be asked, each process keeps its share of them by itself.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        rules: RateRules,
        max_hold_s: float,
        limits: FleetLimits,
        *,
        seconds: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        super().__init__(reactor, rules, max_hold_s, seconds=seconds, wall=wall)
        self._rules = rules
        self._limits = limits
        self._queue: deque[_Waiting] = deque()
        self._granted = 0
        self._clock = _FleetClock()
        self._late: list[bytes] = []
        self._unused: list[bytes] = []
        self._active = 1
        self._alone = False
        self._free_at = 0.0
        self._asking = False

    async def turn(self) -> None:
        """Return when the request may leave. Raises ``RateLimited``."""
        if self._alone and not self._asking:
            self._ask()  # whether the server is back
        if self._alone:
            await super().turn()
            return
        ahead, rules = len(self._queue), self._rules
        if ahead >= rules.max_waiting:
            self._refuse_at_once(f"{ahead} requests are already waiting")
        if self._expected_s(ahead) > rules.max_delay_s:
            self._refuse_at_once(f"max_delay is {rules.max_delay_s:g} s")
        waiting = _Waiting(self._seconds(), Deferred(lambda _: self._give_up(waiting)))
        self._queue.append(waiting)
        self._ask()
        try:
            await waiting.leaves
        except StoreFailed:
            await super().turn()
        else:
            super().note()

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._queue:
            self._queue.remove(waiting)

    def _refuse_those_too_late(self) -> None:
        """Refuse who would wait for too long, as is known now, behind those with a turn."""
        now, rules = self._seconds(), self._rules
        for position, waiting in enumerate(list(self._queue)[self._granted :]):
            left_s = self._expected_s(position)
            if now - waiting.came_s + left_s > rules.max_delay_s:
                self._queue.remove(waiting)
                error = self._limiter.refusal(left_s, f"max_delay is {rules.max_delay_s:g} s")
                self._note(error)
                waiting.leaves.errback(error)

    def _refuse_at_once(self, why: str) -> None:
        error = self._limiter.refusal(self._expected_s(len(self._queue)), why)
        self._note(error)
        raise error

    def _expected_s(self, position: int) -> float:
        """About how long a request at this position of the queue will wait."""
        return self._rounds_s(position) + max(0.0, self._free_at - self._seconds())

    def _rounds_s(self, position: int) -> float:
        rounds = [
            (position * self._active // window.count) * window.length_s
            for window in self._rules.windows
        ]
        return float(max(rounds, default=0))

    def wait_s(self) -> float:
        return super().wait_s() if self._alone else self._expected_s(len(self._queue))

    def heard(self, head: ResponseHead) -> None:
        super().heard(head)
        held_s = self._limiter.state(self._seconds()).held_s
        if held_s:
            Deferred.fromCoroutine(self._limits.hold(held_s)).addErrback(_unknown)

    def change(self, rules: RateRules, max_hold_s: float) -> None:
        super().change(rules, max_hold_s)
        self._rules = rules

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            Deferred.fromCoroutine(self._taken()).addErrback(self._not_taken)

    async def _taken(self) -> None:
        """Take turns until everyone in the queue has one."""
        try:
            while True:
                wanted = len(self._queue) - self._granted
                if wanted <= 0 and not self._alone:
                    return
                windows = [(one.count, float(one.length_s)) for one in self._rules.windows]
                asked = self._seconds()
                grants = await self._limits.take(max(0, wanted), windows)
                self._clock.heard(grants.now_s, asked, self._seconds())
                if self._alone:
                    self._alone = False
                    super().change(self._rules, self._max_hold_s)
                self._active = grants.active
                self._free_at = self._seconds() + grants.wait_s
                for delay_s, name in grants.turns:
                    self._granted += 1
                    first, last = self._clock.local(grants.now_s + delay_s)
                    wait_s = max(0.0, last - self._seconds())
                    self._reactor.callLater(wait_s, self._next_leaves, name, first)
                if grants.wait_s:
                    self._refuse_those_too_late()
                    await deferLater(self._reactor, grants.wait_s)
        finally:
            self._asking = False

    def _next_leaves(self, name: bytes, due: float) -> None:
        """Let the next request leave; its turn was due at this moment, or later."""
        self._granted -= 1
        if not self._queue:  # the client of this turn has left
            self._settle(self._unused, name)
            return
        if self._seconds() - due > _LATE_S:
            self._settle(self._late, name)
        self._queue.popleft().leaves.callback(None)

    def _settle(self, names: list[bytes], name: bytes) -> None:
        """Tell the server, together with what else there is to tell in this turn."""
        if not self._late and not self._unused:
            self._reactor.callLater(0, self._tell)
        names.append(name)

    def _tell(self) -> None:
        late, self._late = self._late, []
        unused, self._unused = self._unused, []
        Deferred.fromCoroutine(self._limits.settle(late, unused)).addErrback(_unknown)

    def _not_taken(self, failure: Failure) -> None:
        """Go on alone, with this process's share, until the server is back."""
        failure.trap(StoreFailed)
        if not self._alone:
            self._alone = True
            share = [
                evolve(one, count=max(1, ceil(one.count / self._active)))
                for one in self._rules.windows
            ]
            rules = evolve(self._rules, windows=tuple(share))
            super().change(rules, self._max_hold_s)
        queue, self._queue = self._queue, deque()
        for waiting in queue:
            waiting.leaves.errback(failure)


def _unknown(failure: Failure) -> None:
    """The server is away, or buffr stops: this process keeps the pause by itself."""
    failure.trap(StoreFailed, CancelledError)
