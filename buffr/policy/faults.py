"""Faults that a user asks for: which of an answer's faults applies to which request.

Which requests meet a fault depends on their order within their scope, and on
numbers drawn from ``chance``: with a seed, each run is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Protocol

from attrs import define, evolve, field, fields, frozen

from buffr.message import Request

__all__ = ["Fault", "FaultRule", "Faults", "Latency", "Quota", "Refusal", "SessionClose"]

_MOST_SCOPES = 4096
_BROKEN_OFF = 1006
"""RFC 6455 7.1.5: what a client is told whose connection broke off; it is never sent."""
_NORMAL = NormalDist()
_P99 = _NORMAL.inv_cdf(0.99)
_LEAST_CHANCE = 1e-9
"""The logarithm of no chance at all would be infinite."""


class Matches(Protocol):
    """A compiled pattern."""

    def search(self, text: bytes, /) -> object | None:
        """A match anywhere in a text."""


@frozen
class Latency:
    """How long an answer waits, in seconds: ``delay_s``, and ``jitter_s`` at most in addition.

    With ``p99_s`` it is as services are: half of the answers wait ``delay_s`` or
    less, one in a hundred ``p99_s`` or more (a log-normal distribution).
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    p99_s: float | None = None

    def drawn(self, chance: float) -> float:
        """The wait for a number from 0 to below 1."""
        if self.p99_s is None:
            return self.delay_s + chance * self.jitter_s
        spread = math.log(self.p99_s / self.delay_s) / _P99
        return self.delay_s * math.exp(spread * _NORMAL.inv_cdf(max(chance, _LEAST_CHANCE)))


@frozen
class Refusal:
    """A status in the place of an answer. ``body`` is ``None`` for one in the client's form."""

    status: int
    retry_after_s: int | None = None
    body: bytes | None = None


@frozen
class SessionClose:
    """How a WebSocket session ends: by a close code, ``after`` so many messages of the server.

    The code 1006 is none that can be sent: the connection breaks off.
    """

    code: int
    after: int = 0

    @property
    def name(self) -> str:
        """In a word, for log, client and recording."""
        return f"close-{self.code}"

    @property
    def sendable(self) -> bool:
        """Whether there can be a close frame with this code."""
        return self.code != _BROKEN_OFF


@frozen(kw_only=True)
class Fault:
    """What one answer suffers. ``names`` has a word for each fault, for log and client.

    ``quota`` is what a client is told: the limit, and what is left of it.
    """

    names: tuple[str, ...] = ()
    delay_s: float = 0.0
    body_delay_s: float = 0.0
    """How long the body's first byte waits behind the head."""
    refusal: Refusal | None = None
    close: SessionClose | None = None
    reset: bool = False
    malformed: bool = False
    cut_after_bytes: int | None = None
    cut_after_events: int | None = None
    event_delay_s: float = 0.0
    bytes_per_s: int | None = None
    quota: tuple[int, int] | None = None

    @property
    def is_of_body(self) -> bool:
        """Whether it is about how the body goes out."""
        return (
            self.malformed
            or self.cut_after_bytes is not None
            or self.cut_after_events is not None
            or self.bytes_per_s is not None
            or self.event_delay_s > 0
            or self.body_delay_s > 0
        )

    def with_more(self, other: Fault) -> Fault:
        """Both: delays before the answer add up, of all else the first counts."""
        added = {
            name: getattr(other, name)
            for name, default in _DEFAULTS.items()
            if getattr(self, name) == default
        }
        added["names"] = self.names + other.names
        added["delay_s"] = self.delay_s + other.delay_s
        return evolve(self, **added)


_DEFAULTS = {one.name: one.default for one in fields(Fault)}


@frozen
class Quota:
    """So many answers in ``period_s`` seconds; then 429 until these are over."""

    limit: int
    period_s: float = 60.0


@frozen(kw_only=True)
class FaultRule:
    """A fault, and the requests that meet it: those that meet every condition.

    ``share`` is a probability. Requests that meet the other conditions are
    counted from 1 within a scope: ``calls`` are their numbers, ``first`` is
    how many of them, ``every`` takes each so-manyth. Without a condition every
    request meets it.
    """

    fault: Fault
    latency: Latency = Latency()
    quota: Quota | None = None
    share: float = 1.0
    calls: tuple[int, ...] = ()
    first: int | None = None
    every: int | None = None
    methods: frozenset[bytes] = frozenset()
    path: Matches | None = None
    header: bytes | None = None

    def concerns(self, request: Request) -> bool:
        """Whether a request meets the conditions that are about itself."""
        if self.methods and request.method not in self.methods:
            return False
        if self.path is not None and not self.path.search(request.target):
            return False
        return self.header is None or any(
            name.lower() == self.header for name, _ in request.headers
        )

    def is_turn(self, number: int) -> bool:
        """Whether the request of this number, counted from 1, is one that meets it."""
        if self.calls and number not in self.calls:
            return False
        if self.first is not None and number > self.first:
            return False
        return self.every is None or number % self.every == 0


@define
class _Count:
    """How often a rule was asked in a scope, and since when its quota counts."""

    asked: int = 0
    used: int = 0
    since: float = 0.0


@define(eq=False)
class Faults:
    """The faults of one route. ``chance`` draws a number from 0 to below 1, from a ``seed``."""

    rules: tuple[FaultRule, ...]
    chance: Callable[[], float]
    seed: int = 0
    _counts: dict[tuple[str, int], _Count] = field(init=False, factory=dict)

    def of(self, request: Request, scope: str, now: float) -> Fault | None:
        """What the answer to a request suffers, at ``now`` in seconds; counts the request."""
        found: Fault | None = None
        for at, rule in enumerate(self.rules):
            if not rule.concerns(request):
                continue
            count = self._count(scope, at)
            count.asked += 1
            # Drawn for each request, so that a condition changes nothing for the others.
            drawn, wait = self.chance(), self.chance()
            if rule.is_turn(count.asked) and drawn < rule.share:
                met = _met(rule, rule.latency.drawn(wait), count, now)
                found = met if found is None else found.with_more(met)
        return found

    def _count(self, scope: str, at: int) -> _Count:
        known = self._counts.get((scope, at))
        if known is None:
            while len(self._counts) >= _MOST_SCOPES:
                del self._counts[next(iter(self._counts))]
            known = self._counts[scope, at] = _Count()
        return known


def _met(rule: FaultRule, delay_s: float, count: _Count, now: float) -> Fault:
    """What a request suffers that has met a rule; counts its part of a quota."""
    fault = evolve(rule.fault, delay_s=delay_s) if delay_s else rule.fault
    quota = rule.quota
    if quota is None:
        return fault
    if now - count.since >= quota.period_s:
        count.used, count.since = 0, now
    count.used += 1
    told = (quota.limit, max(0, quota.limit - count.used))
    if count.used <= quota.limit:
        return Fault(quota=told)
    wait_s = max(1, math.ceil(count.since + quota.period_s - now))
    return evolve(fault, refusal=fault.refusal or Refusal(429, wait_s), quota=told)
