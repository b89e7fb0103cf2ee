"""The cache of a proxy, by the calls that reference-api-buddy has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buffr.embedded.monitoring import MonitoringManager, Watched

__all__ = ["CacheDatabase", "CacheEngine"]


class CacheEngine:
    """What a proxy's cache holds, and how to empty it: ``proxy.cache_engine``.

    What is found for a request depends on its headers, too, so that there are
    no keys to ask by: ask the proxy, with ``Cache-Control: only-if-cached``.
    """

    def __init__(self, proxy: Watched, clear: Callable[[str | None], int]) -> None:
        self._proxy = proxy
        self._clear = clear

    @property
    def max_response_size(self) -> int:
        """The bytes of the largest body that is kept."""
        return self._proxy.settings.max_response_bytes

    @property
    def max_cache_entries(self) -> int:
        return self._proxy.settings.max_entries

    def clear(self) -> int:
        """Remove all entries; how many those were."""
        return self._clear(None)

    def clear_cache(self, domain: str | None = None) -> int:
        """Remove all entries, or those of one name; how many those were."""
        return self._clear(domain)

    def get_stats(self) -> dict[str, int]:
        """What was asked, kept and removed."""
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
        """How much it holds, and how often it had the answer."""
        told = self.get_stats()
        looked_up = told["hits"] + told["misses"]
        stats = self._proxy.store_stats()
        return {
            "total_entries": 0 if stats is None else stats[0].entries,
            "total_size_bytes": 0 if stats is None else stats[0].bytes,
            "expired_entries": told["expired"],
            "hit_rate": told["hits"] / looked_up if looked_up else 0.0,
            "evictions": told["evictions"],
            "compressed": told["compressed"],
            "decompressed": told["decompressed"],
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
        """As ``get_database_stats`` of the monitoring."""
        return MonitoringManager(self._proxy).get_database_stats()
