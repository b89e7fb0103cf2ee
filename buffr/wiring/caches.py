"""The stores of mode cache: one object per file or server, shared by its routes."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel

from buffr.config import Config
from buffr.config.caching import CacheBounds, CacheSettings
from buffr.log import say
from buffr.policy.cache.rules import CacheRules
from buffr.policy.mode import Mode
from buffr.stores.cache import CacheStore
from buffr.stores.memory_cache import MemoryCache
from buffr.stores.redis.address import OnStoreError, RedisAddress
from buffr.stores.writable import check_beside
from buffr.wiring.keeping import Keeping, make_directory
from buffr.wiring.open_once import Openings
from buffr.wiring.servers import Servers, on_error_of

if TYPE_CHECKING:
    from buffr.stores.redis.cache import RedisCache, RedisCacheView
    from buffr.stores.sqlite.ledger import Bounds
    from buffr.stores.sqlite.store import SQLiteStore

__all__ = ["Caches"]

_DEFAULT_FILE = "buffr-cache.db"
_ELSEWHERE = "choose another file (--store sqlite:FILE) or none (--store memory:)"
_IN_MEMORY = "answers are kept in memory, for this run only"
_CHECKED_EVERY_S = 0.001
"""How long a look-up may rely on an earlier check for writes by other processes."""


class Caches:
    """Creates the stores of mode cache, one for each real path and each server."""

    def __init__(self, config: Config, reactor: Any, servers: Servers) -> None:
        self._servers = servers
        self._shared: dict[RedisAddress, RedisCache] = {}
        self._views: dict[tuple[RedisAddress, OnStoreError], RedisCacheView] = {}
        self._config = config
        self._reactor = reactor
        self._memory: MemoryCache | None = None
        self._files: dict[Path, SQLiteStore] = {}
        self._keeping = Keeping(config.allow_unrecorded, _warn)
        self._kept: dict[Path, bool] = {}
        self._expected: list[Path] = []
        self._openings: Openings[Path | RedisAddress] = Openings()

    def rules(self, settings: CacheSettings) -> CacheRules:
        """A route's caching rules, which override HTTP's."""
        return CacheRules(
            ttl_s=settings.ttl_s,
            ttl_by_status=settings.ttl_by_status,
            override=settings.override,
            methods=settings.methods,
            stale_if_error_s=settings.stale_if_error_s,
            flight_timeout_s=settings.flight_timeout_s,
            most_body_bytes=self._config.cache.most_body_bytes,
            tags=settings.tags,
        )

    def of(self, settings: CacheSettings) -> CacheStore:
        """The store in a route's settings; not yet opened if it is new."""
        if settings.store is not None and settings.store.server is not None:
            return self._on_server(settings.store.server, settings)
        bounds, path = self._config.cache, self.path_of(settings)
        if path is None:
            if self._memory is None:
                self._memory = MemoryCache(
                    bounds.most_bytes, bounds.most_entries, bounds.most_body_bytes, time.time
                )
            return self._memory
        real = path.resolve()
        if real not in self._files:
            self._files[real] = self._in_file(path)
        return self._files[real]

    def _in_file(self, path: Path) -> SQLiteStore:
        from buffr.stores.sqlite.store import SQLiteStore  # noqa: PLC0415  # few need it

        bounds = self._config.cache
        return SQLiteStore(
            path,
            _bounds(bounds),
            call_from_thread=self._reactor.callFromThread,
            wall=time.time,
            warn=_warn,
            memory_bytes=bounds.memory_bytes,
            soon=partial(self._reactor.callLater, _CHECKED_EVERY_S),
        )

    def _on_server(self, address: RedisAddress, settings: CacheSettings) -> CacheStore:
        from buffr.stores.redis.cache import RedisCache, RedisCacheView  # noqa: PLC0415

        cache, bounds = self._shared.get(address), self._config.cache
        if cache is None:
            cache = self._shared[address] = RedisCache(
                self._servers.of(address).client,
                _bounds(bounds),
                bounds.memory_bytes,
                self._reactor,
                time.time,
                may_start_down=self._config.allow_unrecorded,
            )
        on_error = on_error_of(settings, Mode.CACHE)
        view = self._views.get((address, on_error))
        if view is None:
            view = self._views[address, on_error] = RedisCacheView(cache, on_error)
        return view

    def where(self, settings: CacheSettings) -> str:
        """Where a route's answers are, for people."""
        if settings.store is not None and settings.store.server is not None:
            return str(settings.store.server)
        return str(self.path_of(settings) or "memory:")

    def path_of(self, settings: CacheSettings) -> Path | None:
        """The file of a route's answers; ``None`` for memory."""
        path: Path | None = self._config.data_dir / _DEFAULT_FILE
        if settings.store is not None:
            path = settings.store.path
        if path is None or (self._config.allow_unrecorded and not self._can_keep(path)):
            return None
        return path

    def expect(self, settings: CacheSettings) -> None:
        """Register a file that is opened only when a host is first requested."""
        path = self.path_of(settings)
        if path is not None:
            self._expected.append(path)
        elif settings.store is not None and settings.store.server is not None:
            self._servers.of(settings.store.server)

    def _can_keep(self, path: Path) -> bool:
        """Whether a file can be written, checked once.

        Raises ``Unwritable`` if it cannot, unless memory may replace it.
        """
        real = path.resolve()
        if real not in self._kept:

            def check() -> None:
                make_directory(path.parent)
                check_beside(path)

            self._kept[real] = self._keeping.checked(
                f"cache {path}", check, elsewhere=_ELSEWHERE, otherwise=_IN_MEMORY
            )
        return self._kept[real]

    def change(self, config: Config) -> None:
        """Apply other limits from now on; open stores stay open."""
        self._config = config
        bounds = config.cache
        for store in self._files.values():
            most = _bounds(bounds)
            store.change(most, bounds.memory_bytes)
        for cache in self._shared.values():
            most = _bounds(bounds)
            cache.change(most, bounds.memory_bytes)
        if self._memory is not None:
            self._memory.change(bounds.most_bytes, bounds.most_entries, bounds.most_body_bytes)

    def open_all(self) -> None:
        """Open all that are known so far. Blocks. Raises ``StoreFailed``."""
        for path in self._expected:
            self._can_keep(path)
        for real, store in self._files.items():
            self._prepare(store)
            self._openings.done.add(real)
        for address, cache in self._shared.items():
            cache.open()
            self._openings.done.add(address)

    def _prepare(self, store: SQLiteStore) -> None:
        self._can_keep(store.path)
        store.open()

    async def opened(self, settings: CacheSettings) -> None:
        """Open a store while the service runs. Raises ``StoreFailed``."""
        pool = self._reactor.getThreadPool()
        if settings.store is not None and settings.store.server is not None:
            cache = self._shared[settings.store.server]
            opening = partial(deferToThreadPool, self._reactor, pool, cache.open)
            await self._openings.once(settings.store.server, opening)
            return
        path = self.path_of(settings)
        if path is None:
            return
        real = path.resolve()
        opening = partial(deferToThreadPool, self._reactor, pool, self._prepare, self._files[real])
        await self._openings.once(real, opening)

    async def close(self) -> None:
        """Write pending data, and close the files."""
        for place in self._openings.done:
            store = self._files.get(place) if isinstance(place, Path) else self._shared.get(place)
            if store is not None:
                await store.close()


def _warn(line: str) -> None:
    say(LogLevel.warn, line)


def _bounds(settings: CacheBounds) -> Bounds:
    from buffr.stores.sqlite.ledger import Bounds  # noqa: PLC0415  # as above

    return Bounds(settings.most_bytes, settings.most_entries, settings.most_body_bytes)
