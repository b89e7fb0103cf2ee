"""How often a route asks its upstream, as settings say it."""

from __future__ import annotations

from attrs import frozen

from buffr.config import quantities
from buffr.config.schema import setting

__all__ = ["RateLimits"]

_COUNT = quantities.whole(1, 1_000_000)


@frozen(kw_only=True)
class RateLimits:
    """How often a route asks its upstream; ``None`` is no limit. Times are seconds."""

    per_second: int | None = setting(_COUNT, None, "Requests to the upstream in any second.")
    per_minute: int | None = setting(_COUNT, None, "Requests to the upstream in any minute.")
    per_hour: int | None = setting(_COUNT, None, "Requests to the upstream in any hour.")
    max_delay_s: float = setting(
        quantities.duration(zero="none waits"),
        300.0,
        "The longest that a request waits for its turn; beyond it is 429.",
        key="max_delay",
    )
    max_waiting: int = setting(
        quantities.whole(0, 100_000), 1000, "Requests that wait at a time; beyond it is 429."
    )
    max_hold_s: float = setting(
        quantities.duration(zero="do not listen to it"),
        3600.0,
        "How long an upstream's own `Retry-After` and rate limits are believed at most.",
        key="max_hold",
    )
