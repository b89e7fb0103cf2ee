"""The stored answers of mode cache on a server, and a bounded copy of the frequent ones here."""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from buffr.errors import StoreFailed, StoreUnreachable
from buffr.stores.cache import (
    MOST_VARIANTS,
    CacheCounters,
    CacheEntry,
    CacheStats,
    StoredEntry,
)
from buffr.stores.interactions import in_words
from buffr.stores.redis.address import OnStoreError
from buffr.stores.redis.cache_scripts import CLEAR, OPEN, PUT, REFRESH, REMOVE
from buffr.stores.redis.client import RedisClient
from buffr.stores.redis.entries import (
    CodedBody,
    FoundEntry,
    coded_body,
    coded_head,
    facts,
    read_entry,
)
from buffr.stores.redis.protocol import BlockingConnection
from buffr.stores.sqlite.ledger import Bounds
from buffr.stores.sqlite.rows import url_hash
from buffr.transport.eager import aside

__all__ = ["RedisCache", "RedisCacheView"]

_OVERHEAD_BYTES = 2048
_PART = 16
"""The share of the memory that one key may use, so that none displaces all others."""
_USED_EVERY_S = 1.0
_MOST_USED = 4096
_STEP = 500
_SUMMED = 10_000
_PARTS_S = 600


@define(eq=False)
class RedisCache:
    """Stored answers on a server, shared by all processes that use it. Call ``open`` first.

    Up to ``memory_bytes`` of them are also kept here, and used while the
    server confirms that they have not changed. ``wall`` is the time since 1970.
    """

    client: RedisClient
    bounds: Bounds
    memory_bytes: int
    reactor: Any
    wall: Callable[[], float]
    may_start_down: bool = False
    counters: CacheCounters = field(init=False, factory=CacheCounters)
    salt: bytes = field(init=False, factory=lambda: os.urandom(32))
    _stem: str = field(init=False)
    _held: OrderedDict[bytes, tuple[Sequence[StoredEntry], int]] = field(
        init=False, factory=OrderedDict
    )
    _held_bytes: int = field(init=False, default=0)
    _reading: dict[bytes, object] = field(init=False, factory=dict)
    _used: dict[int, float] = field(init=False, factory=dict)
    _telling: IDelayedCall | None = field(init=False, default=None)
    _closed: bool = field(init=False, default=False)

    @_stem.default
    def _default_stem(self) -> str:
        return self.client.key("{cache}", "")

    def __attrs_post_init__(self) -> None:
        self.client.at_each_connection(self._forget)

    @property
    def where(self) -> str:
        return str(self.client.address)

    def open(self) -> None:
        """Read the salt. Blocks. Raises ``StoreFailed``."""
        try:
            with BlockingConnection.to(self.client.address) as connection:
                state = f"{self._stem}state"
                self.salt = connection.ask("EVAL", OPEN.text, 1, state, self.salt)
        except StoreFailed as error:
            if not self.may_start_down:
                raise StoreFailed(
                    f"{self.where} cannot be used: {error.message}",
                    hint="start the server, or start with --allow-unrecorded",
                ) from error

    def change(self, bounds: Bounds, memory_bytes: int) -> None:
        """Apply other limits, from the next entry on."""
        self.bounds, self.memory_bytes = bounds, memory_bytes

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        held = self._held.get(key)
        if held is not None and self.client.is_fresh:
            self._held.move_to_end(key)
            self._note(held[0])
            return held[0]
        reading = self._reading[key] = object()
        name = f"{self._stem}k:{key.hex()}"
        # Watched first: an answer that changes while the reply is under way is not kept here.
        self.client.watch(name.encode(), partial(self.let_go, key))
        try:
            variants = await self.client.ask("HVALS", name)
            entries = [await self._entry(key, value) for value in variants]
        except ValueError as error:
            raise StoreFailed(f"{self.where}: {error}") from error
        finally:
            unchanged = self._reading.get(key) is reading
            if unchanged:
                del self._reading[key]
        found = [each for each in entries if each is not None]
        found.sort(reverse=True, key=lambda stored: stored.place)
        if unchanged and found:
            self._hold(key, found)
        if key not in self._held and key not in self._reading:
            self.client.unwatch(name.encode())
        self._note(found)
        return found

    def unchanged(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        held = self._held.get(key)
        if held is None or held[0] is not found or not self.client.is_fresh:
            return False
        self._held.move_to_end(key)
        self._note(found)
        return True

    def held(self, key: bytes) -> Sequence[StoredEntry]:
        """The copy of a key's entries, however old it is."""
        held = self._held.get(key)
        return () if held is None else held[0]

    async def _entry(self, key: bytes, value: bytes) -> StoredEntry | None:
        found = read_entry(key, value)
        parts = []
        for number in range(found.parts):
            part = await self.client.ask("HGET", f"{self._stem}part:{found.token}", number)
            if part is None:
                return None  # it was replaced meanwhile
            parts.append(part)
        self.counters.inflated += found.is_compressed
        return await self._decoded(found, parts)

    async def _decoded(self, found: FoundEntry, parts: list[bytes]) -> StoredEntry:
        if not found.parts:
            return found.entry(parts)
        return await aside(self.reactor, found.size_bytes, found.entry, parts)

    def let_go(self, key: bytes) -> None:
        """Drop the copy of a key."""
        self._reading.pop(key, None)
        held = self._held.pop(key, None)
        if held is not None:
            self._held_bytes -= held[1]

    def _hold(self, key: bytes, found: Sequence[StoredEntry]) -> None:
        size_bytes = sum([_OVERHEAD_BYTES + each.entry.body.size_bytes for each in found])
        if size_bytes * _PART > self.memory_bytes:
            return
        self.let_go(key)
        self._held[key] = (found, size_bytes)
        self._held_bytes += size_bytes
        while self._held_bytes > self.memory_bytes:
            oldest = next(iter(self._held))
            self.client.unwatch(f"{self._stem}k:{oldest.hex()}".encode())
            self.let_go(oldest)

    def _forget(self) -> None:
        """Nothing is watched on a new connection."""
        self._held.clear()
        self._reading.clear()
        self._held_bytes = 0

    def _note(self, found: Sequence[StoredEntry]) -> None:
        """Remember what was used, to be told to the server once a second."""
        if len(self._used) < _MOST_USED:
            now = self.wall()
            for each in found:
                self._used[each.place] = now
        if self._telling is None and found:
            self._telling = self.reactor.callLater(_USED_EVERY_S, self._tell_soon)

    def _tell_soon(self) -> None:
        self._telling = None
        Deferred.fromCoroutine(self._tell()).addErrback(_expected)

    async def _tell(self) -> None:
        used, self._used = self._used, {}
        if used:
            pairs = [each for place, at in used.items() for each in (at, place)]
            await self.client.ask("ZADD", f"{self._stem}lru", "XX", *pairs)

    async def put(self, entry: CacheEntry) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
        size_bytes, bounds = entry.body.size_bytes, self.bounds
        if size_bytes > min(bounds.body_bytes, bounds.bytes):
            return
        try:
            token = secrets.token_hex(12)
            body = await aside(self.reactor, size_bytes, coded_body, entry, token)
        except OSError as error:
            raise StoreFailed(in_words(error)) from error
        await self._put_parts(body)
        await self._tell()
        head = coded_head(entry)
        raw = facts(entry, len(head) + body.size_bytes, body.token)
        await self.client.run(PUT, [], self._stem, raw, head, body.data, *self._limits())
        self.let_go(entry.key)
        self.counters.puts += 1
        self.counters.compressed += body.compressed

    async def _put_parts(self, body: CodedBody) -> None:
        key = f"{self._stem}part:{body.token}"
        for number, part in enumerate(body.parts):
            await self.client.ask("HSET", key, number, part)
            if not number:
                await self.client.ask("EXPIRE", key, _PARTS_S)

    def _limits(self) -> tuple[float, int, int, int]:
        return self.wall(), self.bounds.bytes, self.bounds.entries, MOST_VARIANTS

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        head = coded_head(entry)
        raw = facts(entry, len(head), "")
        await self.client.run(REFRESH, [], self._stem, place, raw, head, *self._limits())
        self.let_go(entry.key)

    async def remove(self, place: int) -> None:
        await self.client.run(REMOVE, [], self._stem, place)
        self._forget()

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        places: list[bytes]
        if url is not None:
            places = list(await self.client.ask("SMEMBERS", f"{self._stem}url:{url_hash(url)}"))
        elif tag is not None:
            places = list(await self.client.ask("SMEMBERS", f"{self._stem}tag:{tag}"))
        else:
            until = "+inf" if stored_before is None else f"({stored_before!r}"
            name = f"{self._stem}at:{'*' if route is None else route}"
            places = await self.client.ask("ZRANGEBYSCORE", name, "-inf", until)
        wanted = {"route": route, "tag": tag, "before": stored_before}
        wanted["url"] = None if url is None else str(url_hash(url))
        said = msgspec.json.encode({name: one for name, one in wanted.items() if one is not None})
        gone = 0
        for first in range(0, len(places), _STEP):
            step = places[first : first + _STEP]
            gone += await self.client.run(CLEAR, [], self._stem, said, *step)
        self._forget()
        return gone

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        ask, which = self.client.ask, "*" if route is None else route
        fresh, at = f"{self._stem}fresh:{which}", f"{self._stem}at:{which}"
        entries = await ask("ZCARD", fresh)
        expired = await ask("ZCOUNT", fresh, "-inf", now)
        stale = await ask("ZRANGEBYSCORE", fresh, "-inf", now, "WITHSCORES", "LIMIT", 0, _SUMMED)
        total = float(await ask("HGET", f"{self._stem}sums", which) or 0)
        left, count = total - sum(float(score) for _, score in _pairs(stale)), entries - expired
        oldest = await ask("ZRANGE", at, 0, 0, "WITHSCORES")
        newest = await ask("ZRANGE", at, -1, -1, "WITHSCORES")
        return CacheStats(
            entries=entries,
            bytes=int(await ask("HGET", f"{self._stem}bytes", which) or 0),
            expired=expired,
            oldest_at=next((float(score) for _, score in _pairs(oldest)), None),
            newest_at=next((float(score) for _, score in _pairs(newest)), None),
            evicted=int(await ask("HGET", f"{self._stem}state", "evicted") or 0),
            fresh_left_s=left / count - now if count > 0 and expired <= _SUMMED else 0.0,
        )

    async def close(self) -> None:
        self._closed = True
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None


def _expected(failure: Failure) -> None:
    """The server cannot be asked, which is noticed elsewhere."""
    failure.trap(StoreFailed)


def _pairs(reply: list[Any]) -> list[tuple[bytes, float]]:
    """Members with scores, which RESP3 has in pairs."""
    return [(member, score) for member, score in reply]


@frozen(eq=False)
class RedisCacheView:
    """The cache as a route with its own ``on_error`` sees it: a ``CacheStore``.

    While the server cannot be asked, nothing is found with ``upstream``, with
    ``local`` what this process has a copy of, and with ``refuse`` a lookup
    raises ``StoreUnreachable``.
    """

    cache: RedisCache
    on_error: OnStoreError

    @property
    def counters(self) -> CacheCounters:
        return self.cache.counters

    @property
    def salt(self) -> bytes:
        return self.cache.salt

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        try:
            return await self.cache.find(key)
        except StoreUnreachable:
            if self.on_error == "refuse":
                raise
            return self.cache.held(key) if self.on_error == "local" else ()

    def unchanged(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        return self.cache.unchanged(key, found)

    async def put(self, entry: CacheEntry) -> None:
        await self.cache.put(entry)

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        await self.cache.refresh(place, entry)

    async def remove(self, place: int) -> None:
        await self.cache.remove(place)

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        return await self.cache.clear(route=route, url=url, tag=tag, stored_before=stored_before)

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        return await self.cache.stats(now, route)

    async def close(self) -> None:
        await self.cache.close()
