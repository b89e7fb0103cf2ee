"""The figures of a proxy in the format of reference-api-buddy."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from buffr.config.api_buddy import ApiBuddySettings
from buffr.exchanges.metrics import Metrics, whole
from buffr.policy.rate_limits import LimiterState
from buffr.stores.cache import CacheCounters, CacheStats

__all__ = ["MonitoringManager", "Watched"]


class Watched(Protocol):
    """The source of the figures. All methods take constant time."""

    @property
    def settings(self) -> ApiBuddySettings: ...
    @property
    def figures(self) -> Metrics: ...
    def is_running(self) -> bool: ...
    def store_stats(self) -> tuple[CacheStats, Mapping[str, CacheStats]] | None:
        """Of the whole store and of each name; ``None`` if it cannot be read."""

    def store_counters(self) -> CacheCounters: ...

    def limits(self) -> Mapping[str, tuple[LimiterState, float | None]]:
        """Of each name, and when it was last refused."""


_NOTHING = CacheStats(0, 0, 0, None, None, 0)


class MonitoringManager:
    """Five calls, each of which returns a new dictionary of figures as of now."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def get_cache_stats(self) -> dict[str, Any]:
        """The cache's content and hit rate."""
        stats, by_name = self._watched.store_stats() or (_NOTHING, {})
        figures = self._watched.figures
        looked_up = figures.hits + figures.misses
        hit_rate = figures.hits / looked_up if looked_up else 0.0
        counters = self._watched.store_counters()
        return {
            "total_entries": stats.entries,
            "entries_per_domain": {name: one.entries for name, one in by_name.items()},
            "cache_size_bytes": stats.bytes,
            "cache_size_per_domain": {name: one.bytes for name, one in by_name.items()},
            "hit_count": figures.hits,
            "miss_count": figures.misses,
            "hit_rate": hit_rate,
            "miss_rate": 1.0 - hit_rate if looked_up else 0.0,
            "sets": counters.puts,
            "compressed": counters.compressed,
            "decompressed": counters.inflated,
            "ttl_distribution": {
                "expired": stats.expired,
                "valid": stats.entries - stats.expired,
                "average_ttl_remaining": round(stats.fresh_left_s),
            },
            "expired_entries": stats.expired,
            "evicted_entries": stats.evicted,
        }

    def get_upstream_stats(self) -> dict[str, Any]:
        """How the upstreams answered."""
        figures = self._watched.figures
        now = figures.wall()
        by_domain = {name: one.shape(now) for name, one in figures.by_domain.items()}
        return {"overall": figures.upstream.shape(now), "by_domain": by_domain}

    def get_database_stats(self) -> dict[str, Any]:
        """Where the cache is, and whether it can be read."""
        stats = self._watched.store_stats()
        database = self._watched.settings.database
        health = "healthy" if stats is not None or not self._watched.is_running() else "error"
        if database is None:
            size_bytes = stats[0].bytes if stats is not None else 0
            return {
                "db_file_path": "in_memory",
                "db_file_size_bytes": "in_memory",
                "db_health": health,
                "in_memory_cache_size": size_bytes,
            }
        try:
            file_bytes: int | str = Path(database).stat().st_size
        except OSError:
            file_bytes = "file_not_found"
        return {
            "db_file_path": database,
            "db_file_size_bytes": file_bytes,
            "db_health": health,
            "in_memory_cache_size": 0,
        }

    def get_proxy_health(self) -> dict[str, Any]:
        """How long it has been up, this process's threads, and the last errors."""
        figures = self._watched.figures
        return {
            "uptime_seconds": max(0.0, figures.wall() - figures.start_time),
            "active_threads": threading.active_count(),
            "recent_errors": list(figures.recent_errors),
        }

    def get_throttling_stats(self) -> dict[str, Any]:
        """How near each upstream is to its limits."""
        settings, figures = self._watched.settings, self._watched.figures
        now = figures.wall()
        requests, states = {}, {}
        for name, (state, refused_at) in self._watched.limits().items():
            calls = figures.by_domain.get(name)
            requests[name] = {
                "current_hour_requests": 0 if calls is None else calls.last_hour(now),
                "total_requests": state.departed,
                "violations": state.violations,
                "current_delay_seconds": whole(state.delay_s),
            }
            states[name] = {
                "is_throttled": state.delay_s > 0,
                "violations": state.violations,
                "delay_seconds": whole(state.delay_s),
                "last_violation": refused_at or 0.0,
            }
        return {
            "requests_per_domain": requests,
            "throttle_state": states,
            "default_requests_per_hour": settings.default_per_hour,
            "progressive_max_delay": whole(settings.max_delay_s),
            "progressive_enabled": True,
            "domain_limits": dict(settings.domain_limits),
        }
