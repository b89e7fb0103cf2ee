"""What the gateway's own pages show, taken from its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.threads import deferToThreadPool

from buffr import __version__
from buffr.admin.counting import Counting, LookUps
from buffr.admin.gateway_pages import Page, Verdict
from buffr.config import Config
from buffr.config.api_buddy import read_api_buddy, with_defaults
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.shown import MASK, as_data
from buffr.errors import ConfigError
from buffr.listeners.gateway import GatewayRoute
from buffr.stores.cache import CacheStats

__all__ = ["GatewayReport"]

_DEGRADED_FROM, _ERROR_FROM = 0.1, 0.5
"""Shares of failed calls from which a route counts as degraded, and as failing."""
_SECRETS = ("key", "secret", "password", "token")
_NOTHING = CacheStats(0, 0, 0, None, None, 0)


@define(eq=False)
class GatewayReport:
    """The ``Pages`` of a gateway with these settings and routes.

    ``database`` is the cache's file, ``None`` for memory. All figures take
    constant time for each route.
    """

    config: Config
    settings: GatewaySettings
    routes: Mapping[bytes, GatewayRoute]
    counting: Counting
    database: Path | None
    reactor: Any
    wall: Callable[[], float] = time.time

    def status(self) -> Page:
        figures = self.counting.figures
        looked_up = figures.hits + figures.misses
        calls = figures.upstream.calls
        components = self._components()
        healthy = all(one["status"] == "healthy" for one in components.values())
        return {
            "status": "healthy" if healthy else "degraded",
            "uptime_seconds": int(max(0.0, self.wall() - figures.start_time)),
            "components": components,
            "metrics": {
                "total_requests": figures.requests,
                "cache_hit_rate": figures.hits / looked_up if looked_up else 0.0,
                "average_response_time_ms": (
                    round(figures.upstream.total_ms / calls, 3) if calls else 0.0
                ),
                "errors_last_hour": figures.upstream.errors_last_hour(self.wall()),
            },
        }

    def _components(self) -> dict[str, dict[str, Any]]:
        paces = [found.route.pace for found in self.routes.values()]
        states = [pace.state() for pace in paces if pace is not None]
        throttled = [one for one in states if one.delay_s > 0 or one.held_s > 0]
        return {
            "cache_engine": {
                "status": "healthy",
                "backend": self._backend,
                "total_entries": self._whole().entries,
                "database_size_bytes": self._file_bytes(),
            },
            "database_manager": {"status": "healthy", "connection_active": True},
            "throttle_manager": {"status": "healthy", "active_throttles": len(throttled)},
            "security_manager": {
                "status": "healthy",
                "security_enabled": self._security_enabled,
            },
        }

    @property
    def _security_enabled(self) -> bool:
        return self.config.access_to(self.settings.access).key is not None

    @property
    def _backend(self) -> str:
        return "memory" if self.database is None else "sqlite"

    def _file_bytes(self) -> int:
        if self.database is None:
            return self._whole().bytes
        try:
            return self.database.stat().st_size
        except OSError:
            return 0

    def _whole(self) -> CacheStats:
        """Of the first store: routes share one, unless their settings say otherwise."""
        for found in self.routes.values():
            if found.route.cache is not None:
                return found.route.cache.store.stats(self.wall())
        return _NOTHING

    def _of(self, name: str) -> CacheStats:
        cache = self.routes[name.encode("ascii")].route.cache
        return _NOTHING if cache is None else cache.store.stats(self.wall(), cache.name)

    def configuration(self) -> Page:
        configuration, masked = as_data(self.config)
        if self.config.shown_as is not None:
            masked = []
            configuration = _masked(self.config.shown_as, masked)
        return {
            "proxy_version": __version__,
            "security_enabled": self._security_enabled,
            "configuration": configuration,
            "sanitized_fields": masked,
        }

    def cache(self) -> Page:
        stats, figures = self._whole(), self.counting.figures
        looked_up = figures.hits + figures.misses
        return {
            "cache_backend": self._backend,
            "database_path": "in-memory" if self.database is None else str(self.database),
            "database_size_bytes": self._file_bytes(),
            "total_entries": stats.entries,
            "expired_entries": stats.expired,
            "statistics": {
                "hit_rate": figures.hits / looked_up if looked_up else 0.0,
                "total_hits": figures.hits,
                "total_misses": figures.misses,
                "average_entry_size_bytes": stats.bytes // stats.entries if stats.entries else 0,
                "evicted_entries": stats.evicted,
            },
            "ttl_distribution": {
                "expired": stats.expired,
                "valid": stats.entries - stats.expired,
                "average_ttl_remaining": stats.fresh_left_s,
            },
            "oldest_entry": _moment(stats.oldest_at),
            "newest_entry": _moment(stats.newest_at),
        }

    def cache_of(self, name: str) -> Page | None:
        if name not in {row.name for row in self.settings.routes}:
            return None
        stats = self._of(name)
        return {
            "cache_entries": stats.entries,
            "total_size_bytes": stats.bytes,
            "hit_rate": self.counting.look_ups.get(name, LookUps()).hit_rate,
            # Their URLs are not shown: whoever may see these pages need not be who asked.
            "entries": [],
        }

    def domains(self) -> Page:
        return {"domain_mappings": {row.name: self._domain(row) for row in self.settings.routes}}

    def _domain(self, row: GatewayRow) -> dict[str, Any]:
        calls = self.counting.figures.by_domain.get(row.name)
        rate = calls.errors / calls.calls if calls is not None and calls.calls else 0.0
        status = "healthy"
        if rate > _DEGRADED_FROM:
            status = "error" if rate > _ERROR_FROM else "degraded"
        return {
            "upstream": row.target.url,
            "ttl_seconds": row.cache.ttl_s,
            "status": status,
            "last_successful_request": None if calls is None else _moment(calls.last_success_at),
            "total_requests": 0 if calls is None else calls.calls,
            "cache_entries": self._of(row.name).entries,
            "error_rate": rate,
            "last_error": None if calls is None else calls.last_error,
        }

    async def judge(self, given: Any) -> Verdict:
        """Settings of reference-api-buddy, as its page takes them."""
        pool = self.reactor.getThreadPool()
        verdict: Verdict = await deferToThreadPool(self.reactor, pool, _judged, given)
        return verdict


def _judged(given: Any) -> Verdict:
    try:
        settings = read_api_buddy(given)
    except ConfigError as error:
        return Verdict(tuple(error.message.splitlines()), (), None)
    return Verdict((), settings.warnings, _masked(with_defaults(given), []))


def _masked(value: Any, masked: list[str], path: str = "") -> Any:
    """Settings as JSON, and the paths of those whose values are secrets."""
    if isinstance(value, Mapping):
        dot = f"{path}." if path else ""
        return {str(key): _masked(inner, masked, f"{dot}{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner, masked, f"{path}[{at}]") for at, inner in enumerate(value)]
    name = path.rpartition(".")[2].lower()
    if isinstance(value, str) and any(word in name for word in _SECRETS):
        masked.append(path)
        return MASK
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return type(value).__name__


def _moment(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
