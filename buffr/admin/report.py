"""The content of the gateway's own pages, collected from its parts."""

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
from buffr.admin.pages import Page, Verdict
from buffr.config import Config
from buffr.config.api_buddy import defaults_used, read_api_buddy, with_defaults
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.config.problems import shown_key
from buffr.config.shown import MASK, as_data
from buffr.errors import BuffrError, ConfigError
from buffr.exchanges.metrics import whole
from buffr.exchanges.route import Cached
from buffr.listeners.gateway import GatewayRoute
from buffr.stores.cache import CacheCounters, CacheStats, CacheStore

__all__ = ["GatewayReport"]

_DEGRADED_FROM, _ERROR_FROM = 0.1, 0.5
"""Shares of failed calls from which a route counts as degraded, and as failing."""
_WRAPPED = "configuration"
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

    async def status(self) -> Page:
        figures = self.counting.figures
        looked_up = figures.hits + figures.misses
        calls = figures.upstream.calls
        components = await self._components()
        found = {one["status"] for one in components.values()}
        return {
            "status": "error" if "error" in found else "healthy",
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

    async def _components(self) -> dict[str, dict[str, Any]]:
        paces = [found.route.pace for found in self.routes.values()]
        states = [pace.state() for pace in paces if pace is not None]
        throttled = [one for one in states if one.delay_s > 0 or one.held_s > 0]
        try:
            stats, health = await self._whole(), "healthy"
        except BuffrError:
            stats, health = _NOTHING, "error"
        return {
            "cache_engine": {
                "status": health,
                "backend": self._backend,
                "total_entries": stats.entries,
                "database_size_bytes": self._size_bytes(stats),
            },
            "database_manager": {
                "status": health,
                "connection_active": health == "healthy",
                "last_backup": None,  # there are no backups
            },
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

    def _size_bytes(self, stats: CacheStats) -> int:
        if self.database is None:
            return stats.bytes
        try:
            return self.database.stat().st_size
        except OSError:
            return 0

    @property
    def _store(self) -> CacheStore | None:
        """The first one: routes share it, unless their settings say otherwise."""
        routes = (found.route for found in self.routes.values())
        return next((route.store for route in routes if isinstance(route, Cached)), None)

    async def _whole(self) -> CacheStats:
        store = self._store
        return _NOTHING if store is None else await store.stats(self.wall())

    async def _of(self, name: str) -> CacheStats:
        route = self.routes[name.encode("ascii")].route
        if not isinstance(route, Cached):
            return _NOTHING
        return await route.store.stats(self.wall(), route.name)

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

    async def cache(self) -> Page:
        stats, figures, store = await self._whole(), self.counting.figures, self._store
        looked_up = figures.hits + figures.misses
        counters = CacheCounters() if store is None else store.counters
        own = [row.name for row in self.settings.routes if self._own(row)]
        own_ttl = sum([(await self._of(name)).entries for name in own])
        return {
            "cache_backend": self._backend,
            "database_path": "in-memory" if self.database is None else str(self.database),
            "database_size_bytes": self._size_bytes(stats),
            "total_entries": stats.entries,
            "expired_entries": stats.expired,
            "statistics": {
                "hit_rate": figures.hits / looked_up if looked_up else 0.0,
                "total_hits": figures.hits,
                "total_misses": figures.misses,
                "total_sets": counters.puts,
                "compressed_entries": counters.compressed,
                "average_entry_size_bytes": stats.bytes // stats.entries if stats.entries else 0,
                "evicted_entries": stats.evicted,
            },
            "ttl_distribution": {
                "default_ttl": stats.entries - own_ttl,
                "custom_ttl": own_ttl,
                "expired": stats.expired,
                "valid": stats.entries - stats.expired,
                "average_ttl_remaining": round(stats.fresh_left_s),
            },
            "oldest_entry": _moment(stats.oldest_at),
            "newest_entry": _moment(stats.newest_at),
        }

    def _own(self, row: GatewayRow) -> bool:
        """Whether a route has its own TTL."""
        theirs = self.config.shown_as
        if theirs is None:
            return row.cache.ttl_s is not None
        mappings = {str(name): mapping for name, mapping in theirs["domain_mappings"].items()}
        return mappings[row.name].get("ttl_seconds") is not None

    async def cache_of(self, name: str) -> Page | None:
        if name not in {row.name for row in self.settings.routes}:
            return None
        stats = await self._of(name)
        return {
            "cache_entries": stats.entries,
            "total_size_bytes": stats.bytes,
            "hit_rate": self.counting.look_ups.get(name, LookUps()).hit_rate,
            # Their URLs are not shown: a viewer of these pages may not be the requesting client.
            "entries": [],
        }

    async def domains(self) -> Page:
        return {
            "domain_mappings": {row.name: await self._domain(row) for row in self.settings.routes}
        }

    async def _domain(self, row: GatewayRow) -> dict[str, Any]:
        calls = self.counting.figures.by_domain.get(row.name)
        rate = calls.errors / calls.calls if calls is not None and calls.calls else 0.0
        status = "healthy"
        if rate > _DEGRADED_FROM:
            status = "error" if rate > _ERROR_FROM else "degraded"
        return {
            "upstream": row.target.url,
            "ttl_seconds": None if row.cache.ttl_s is None else whole(row.cache.ttl_s),
            "status": status,
            "last_successful_request": None if calls is None else _moment(calls.last_success_at),
            "total_requests": self.counting.look_ups.get(row.name, LookUps()).requests,
            "cache_entries": (await self._of(row.name)).entries,
            "error_rate": rate,
            "last_error": None if calls is None else calls.last_error,
        }

    async def judge(self, given: Any) -> Verdict:
        """Validate settings of reference-api-buddy, bare or in a member ``configuration``."""
        pool = self.reactor.getThreadPool()
        verdict: Verdict = await deferToThreadPool(self.reactor, pool, _judged, given)
        return verdict


def _judged(given: Any) -> Verdict:
    if isinstance(given, Mapping) and _WRAPPED in given:
        beside = [shown_key(key) for key in given if key != _WRAPPED]
        warnings = [f"{key}: is outside {_WRAPPED}, ignored" for key in beside]
        given = given[_WRAPPED]
    else:
        warnings = []
    merged = None
    if isinstance(given, Mapping):
        merged = _masked(with_defaults(given), [])
        warnings += defaults_used(given)
    try:
        settings = read_api_buddy(given)
    except ConfigError as error:
        return Verdict(tuple(error.message.splitlines()), tuple(warnings), merged)
    return Verdict((), (*settings.warnings, *warnings), merged)


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
