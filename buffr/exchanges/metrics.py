"""Events at a proxy: counted as they happen, read in constant time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from attrs import define, field

__all__ = ["Metrics", "UpstreamMetrics", "whole"]

_EVENTS = 100
_BUCKET_S = 60
_BUCKETS = 60


def whole(number: float) -> float:
    """The number; an ``int`` if it is whole, so that it is shown as it was given."""
    return int(number) if number == int(number) else number


@define
class _LastHour:
    """Counts events of the last hour, by the minute."""

    _buckets: list[int] = field(init=False, factory=lambda: [0] * _BUCKETS)
    _minute: int = field(init=False, default=0)

    def add(self, now: float) -> None:
        self._turn(now)
        self._buckets[self._minute % _BUCKETS] += 1

    def count(self, now: float) -> int:
        self._turn(now)
        return sum(self._buckets)

    def _turn(self, now: float) -> None:
        minute = int(now // _BUCKET_S)
        for passed in range(max(self._minute + 1, minute - _BUCKETS + 1), minute + 1):
            self._buckets[passed % _BUCKETS] = 0
        self._minute = max(self._minute, minute)


@define
class UpstreamMetrics:
    """Calls to one upstream, or to all."""

    calls: int = 0
    errors: int = 0
    total_ms: float = 0.0
    by_status: Counter[str] = field(factory=Counter)
    last_success_at: float | None = None
    last_error: str | None = None
    _hour: _LastHour = field(init=False, factory=_LastHour)
    _hour_of_errors: _LastHour = field(init=False, factory=_LastHour)

    def add(self, now: float, status: int | None, dur_s: float) -> None:
        """Count a call; ``status`` is ``None`` if no answer came in time."""
        self.calls += 1
        self.total_ms += dur_s * 1000
        self.by_status["timeout" if status is None else str(status)] += 1
        self._hour.add(now)
        if status is None or status >= 400:
            self.errors += 1
            self._hour_of_errors.add(now)
            self.last_error = "timeout" if status is None else f"status {status}"
        else:
            self.last_success_at = now

    def last_hour(self, now: float) -> int:
        return self._hour.count(now)

    def errors_last_hour(self, now: float) -> int:
        return self._hour_of_errors.count(now)

    def shape(self, now: float) -> dict[str, Any]:
        """As ``get_upstream_stats`` gives it."""
        calls = self.calls
        return {
            "total_requests": calls,
            "avg_response_time_ms": round(self.total_ms / calls, 3) if calls else 0.0,
            "success_rate": (calls - self.errors) / calls if calls else 0.0,
            "error_rate": self.errors / calls if calls else 0.0,
            "requests_per_hour": self._hour.count(now),
            "errors_by_status": {"timeout": 0, **self.by_status},
        }


@define(eq=False)
class Metrics:
    """All counts of one proxy since it was created. ``wall`` is seconds since the epoch."""

    wall: Callable[[], float]
    start_time: float = field(init=False)
    requests: int = field(init=False, default=0)
    hits: int = field(init=False, default=0)
    misses: int = field(init=False, default=0)
    throttled: int = field(init=False, default=0)
    errors: int = field(init=False, default=0)
    upstream: UpstreamMetrics = field(init=False, factory=UpstreamMetrics)
    by_domain: dict[str, UpstreamMetrics] = field(init=False, factory=dict)
    events: deque[dict[str, Any]] = field(init=False, factory=lambda: deque(maxlen=_EVENTS))
    recent_errors: deque[dict[str, Any]] = field(init=False, factory=lambda: deque(maxlen=_EVENTS))

    def __attrs_post_init__(self) -> None:
        self.start_time = self.wall()

    def record_event(self, event_type: str, details: dict[str, Any] | None = None) -> None:
        """Count a request: ``cache_hit``, ``cache_miss``, ``throttle`` or ``error``."""
        self.requests += 1
        match event_type:
            case "cache_hit":
                self.hits += 1
            case "cache_miss":
                self.misses += 1
            case "throttle":
                self.throttled += 1
            case "error":
                self.errors += 1
                self.recent_errors.append({"time": self.wall(), **(details or {})})
        self.events.append({"event_type": event_type, "details": details or {}})

    def asked(self, domain: str, status: int | None, dur_s: float) -> None:
        """Count a call to an upstream."""
        now = self.wall()
        self.upstream.add(now, status, dur_s)
        self.by_domain.setdefault(domain, UpstreamMetrics()).add(now, status, dur_s)

    def get_metrics(self) -> dict[str, Any]:
        """As ``CachingProxy.get_metrics`` gives it."""
        return {
            "total_requests": self.requests,
            "cache_hits": self.hits,
            "cache_misses": self.misses,
            "throttled": self.throttled,
            "errors": self.errors,
            "start_time": self.start_time,
            "uptime_seconds": max(0.0, self.wall() - self.start_time),
            "events": list(self.events),
        }
