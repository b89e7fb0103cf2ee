"""What makes the requests of a route wait for their turn, by its settings."""

from __future__ import annotations

import time
from typing import Any

from buffr.config.rates import RateLimits
from buffr.pacing import Pace
from buffr.policy.limits import RateRules, Window

__all__ = ["pace_for", "rate_rules"]


def rate_rules(limits: RateLimits) -> RateRules:
    """A ``limits`` section as rules."""
    windows = (
        (limits.per_second, 1, "second"),
        (limits.per_minute, 60, "minute"),
        (limits.per_hour, 3600, "hour"),
    )
    return RateRules(
        windows=tuple(
            Window(count, length_s, name) for count, length_s, name in windows if count is not None
        ),
        max_delay_s=limits.max_delay_s,
        max_waiting=limits.max_waiting,
    )


def pace_for(limits: RateLimits | None, reactor: Any) -> Pace | None:
    """What makes the requests of a route wait for their turn; without limits, nothing does."""
    if limits is None:
        return None
    rules = rate_rules(limits)
    return Pace(reactor, rules, limits.max_hold_s, seconds=time.monotonic, wall=time.time)
