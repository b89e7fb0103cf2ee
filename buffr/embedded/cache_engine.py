"""The cache of a proxy, with reference-api-buddy's interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buffr.embedded.monitoring import MonitoringManager, Watched

__all__ = ["CacheDatabase", "CacheEngine"]


class CacheEngine:
    """Figures of a proxy's cache, and ways to clear it: ``proxy.cache_engine``.

    The answer to a request also depends on its headers, so there are no keys
    for look-ups: send the proxy a request with ``Cache-Control: only-if-cached``.
    """

    def __init__(self, proxy: Watched, clear: Callable[[str | None], int]) -> None:
        self._proxy = proxy
        self._clear = clear

    @property
    def max_response_size(self) -> int:
        """The size of the largest body that is stored, in bytes."""
        return self._proxy.settings.max_response_bytes

    @property
    def max_cache_entries(self) -> int:
        return self._proxy.settings.max_entries

    def clear(self) -> int:
        """Remove all entries; returns their number."""
        return self._clear(None)

    def clear_cache(self, domain: str | None = None) -> int:
        """Remove all entries, or those of one name; returns their number."""
        return self._clear(domain)

    def get_stats(self) -> dict[str, int]:
        """Counts of look-ups, stored and removed entries."""
        figures, counters = self._proxy.figures, self._proxy.store_counters()
        stats = self._proxy.store_stats()
        return {
            "hits": figures.hits,
            "misses": figures.misses,
            "evictions": 0 if stats is None else stats[0].evicted,
            "sets": counters.puts,
            "expired": 0 if stats is None else stats[0].expired,
            "compressed": counters.compressed,
            "decompressed": counters.inflated,
        }

    def get_cache_performance(self) -> dict[str, Any]:
        """Its size and its hit rate."""
        counts = self.get_stats()
        looked_up = counts["hits"] + counts["misses"]
        stats = self._proxy.store_stats()
        return {
            "total_entries": 0 if stats is None else stats[0].entries,
            "total_size_bytes": 0 if stats is None else stats[0].bytes,
            "expired_entries": counts["expired"],
            "hit_rate": counts["hits"] / looked_up if looked_up else 0.0,
            "evictions": counts["evictions"],
            "compressed": counts["compressed"],
            "decompressed": counts["decompressed"],
        }


class CacheDatabase:
    """Where a proxy's cache is: ``proxy.db_manager``. Its tables are buffr's own."""

    def __init__(self, proxy: Watched) -> None:
        self._proxy = proxy

    @property
    def database_path(self) -> str:
        """The file, or ``:memory:``."""
        return self._proxy.settings.database or ":memory:"

    def get_stats(self) -> dict[str, Any]:
        """Like ``get_database_stats`` of the monitoring."""
        return MonitoringManager(self._proxy).get_database_stats()
