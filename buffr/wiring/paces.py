"""Builds paces, which make the requests of a route wait for their turn, from settings."""

from __future__ import annotations

import time
from typing import Any

from buffr.config.limits import RateLimits
from buffr.exchanges.pace import Pace
from buffr.policy.rate_limits import RateRules, Window

__all__ = ["new_pace", "pace_for", "rate_rules"]


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


def new_pace(limits: RateLimits, reactor: Any) -> Pace:
    """A pace with these limits."""
    rules = rate_rules(limits)
    return Pace(reactor, rules, limits.max_hold_s, seconds=time.monotonic, wall=time.time)


def pace_for(limits: RateLimits | None, reactor: Any) -> Pace | None:
    """Like ``new_pace``; ``None`` without limits."""
    return None if limits is None else new_pace(limits, reactor)
