"""Faults that a user asks for: which of an answer's faults applies to which request.

Which requests meet a fault depends on their order within their scope, and on
numbers drawn from ``chance``: with a seed, each run is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen

from buffr.message import Request

__all__ = ["Fault", "FaultRule", "Faults"]

_MOST_SCOPES = 4096


class Matches(Protocol):
    """A compiled pattern."""

    def search(self, text: bytes, /) -> object | None:
        """A match anywhere in a text."""


@frozen(kw_only=True)
class FaultRule:
    """One fault, and the requests that meet it: those that meet every condition.

    ``share`` is a probability. Requests that meet the other conditions are
    counted from 1 within a scope: ``calls`` are their numbers, ``first`` is
    how many of them, ``every`` takes each so-manyth. Without a condition every
    request meets it. ``name`` is the fault in one word, for the log.
    """

    name: str
    share: float = 1.0
    calls: tuple[int, ...] = ()
    first: int | None = None
    every: int | None = None
    methods: frozenset[bytes] = frozenset()
    path: Matches | None = None
    header: bytes | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    status: int | None = None
    retry_after_s: int | None = None
    body: bytes | None = None
    reset: bool = False
    malformed: bool = False
    cut_after_bytes: int | None = None
    cut_after_events: int | None = None
    event_delay_s: float = 0.0
    bytes_per_s: int | None = None
    quota: int | None = None
    quota_s: float = 60.0

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


@frozen
class Fault:
    """What one answer suffers. ``quota`` is what a client is told: the limit, and what is left."""

    names: tuple[str, ...] = ()
    delay_s: float = 0.0
    status: int | None = None
    retry_after_s: int | None = None
    body: bytes | None = None
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
        )


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
            drawn, jitter = self.chance(), self.chance()
            if rule.is_turn(count.asked) and drawn < rule.share:
                found = _with(found or Fault(), rule, jitter, count, now)
        return found

    def _count(self, scope: str, at: int) -> _Count:
        known = self._counts.get((scope, at))
        if known is None:
            while len(self._counts) >= _MOST_SCOPES:
                del self._counts[next(iter(self._counts))]
            known = self._counts[scope, at] = _Count()
        return known


def _with(fault: Fault, rule: FaultRule, jitter: float, count: _Count, now: float) -> Fault:
    """A fault with a rule's in addition: delays add up, of the rest the first counts."""
    status, retry_after_s, quota = rule.status, rule.retry_after_s, fault.quota
    names = (*fault.names, rule.name)
    if rule.quota is not None:
        if now - count.since >= rule.quota_s:
            count.used, count.since = 0, now
        count.used += 1
        quota = (rule.quota, max(0, rule.quota - count.used))
        if count.used <= rule.quota:
            names = fault.names
        elif status is None:
            status = 429
            retry_after_s = max(1, int(count.since + rule.quota_s - now + 0.999))
    first = fault.status is None
    return Fault(
        names=names,
        delay_s=fault.delay_s + rule.delay_s + jitter * rule.jitter_s,
        status=status if first else fault.status,
        retry_after_s=retry_after_s if first else fault.retry_after_s,
        body=rule.body if first else fault.body,
        reset=fault.reset or rule.reset,
        malformed=fault.malformed or rule.malformed,
        cut_after_bytes=_either(fault.cut_after_bytes, rule.cut_after_bytes),
        cut_after_events=_either(fault.cut_after_events, rule.cut_after_events),
        event_delay_s=fault.event_delay_s or rule.event_delay_s,
        bytes_per_s=_either(fault.bytes_per_s, rule.bytes_per_s),
        quota=quota,
    )


def _either(first: int | None, second: int | None) -> int | None:
    return second if first is None else first
