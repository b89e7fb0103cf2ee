"""A cache in memory: its content is lost when the process ends."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from attrs import define, evolve, field

from buffr.errors import StoreFailed
from buffr.interaction import Body
from buffr.stores.cache import MOST_VARIANTS, CacheCounters, CacheEntry, CacheStats, StoredEntry

__all__ = ["MemoryCache"]

_OVERHEAD_BYTES = 1024
"""The approximate size of an entry's objects, without its bytes."""
_LOOKED_AT = 8
"""How many of the least recently used entries are examined when another one is added."""


@define(eq=False)
class _Shelf:
    """The counts of one route's entries; the times are sorted, so that counting is quick."""

    entries: int = 0
    bytes: int = 0
    fresh_total_s: float = 0.0
    fresh_until: list[float] = field(factory=list)
    responded_at: list[float] = field(factory=list)

    def add(self, entry: CacheEntry, size_bytes: int) -> None:
        self.entries += 1
        self.bytes += size_bytes
        self.fresh_total_s += entry.fresh_until
        insort(self.fresh_until, entry.fresh_until)
        insort(self.responded_at, entry.responded_at)

    def take(self, entry: CacheEntry, size_bytes: int) -> None:
        self.entries -= 1
        self.bytes -= size_bytes
        self.fresh_total_s -= entry.fresh_until
        del self.fresh_until[bisect_left(self.fresh_until, entry.fresh_until)]
        del self.responded_at[bisect_left(self.responded_at, entry.responded_at)]


@define(eq=False)
class MemoryCache:
    """Keeps up to ``most_entries`` entries, and ``most_bytes`` of them.

    ``now`` returns seconds since the epoch: useless entries are evicted before
    the least recently used ones.
    """

    most_bytes: int
    most_entries: int
    most_body_bytes: int
    now: Callable[[], float]
    counters: CacheCounters = field(init=False, factory=CacheCounters)
    salt: bytes = field(init=False, factory=lambda: os.urandom(32))
    _held: OrderedDict[int, StoredEntry] = field(init=False, factory=OrderedDict)
    _by_key: dict[bytes, list[StoredEntry]] = field(init=False, factory=dict)
    _by_url: dict[str, set[int]] = field(init=False, factory=dict)
    _shelves: dict[str, _Shelf] = field(init=False, factory=dict)
    _bytes: int = field(init=False, default=0)
    _evicted: int = field(init=False, default=0)
    _next: int = field(init=False, default=1)
    _closed: bool = field(init=False, default=False)

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        found = self._by_key.get(key)
        if found is None:
            return ()
        for cached in found:
            self._held.move_to_end(cached.place)
        return found if len(found) == 1 else tuple(found)

    def unchanged(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        if self._by_key.get(key) is not found or len(found) != 1:
            return False
        self._held.move_to_end(found[0].place)
        return True

    async def put(self, entry: CacheEntry) -> None:
        if self._closed:
            raise StoreFailed("the store is closed")
        if entry.body.size_bytes > min(self.most_body_bytes, self.most_bytes):
            return
        try:
            kept = evolve(entry, body=_in_memory(entry.body))
        except OSError as error:
            raise StoreFailed(f"{error.filename}: {error.strerror}") from error
        for known in list(self._by_key.get(entry.key, ())):
            if (known.entry.method, known.entry.vary) == (entry.method, entry.vary):
                self._take(known.place)
        self._add(StoredEntry(self._next, kept))
        self._next += 1
        self.counters.puts += 1
        for surplus in self._by_key[entry.key][MOST_VARIANTS:]:
            self._evict(surplus.place)
        self._make_room()

    def change(self, most_bytes: int, most_entries: int, most_body_bytes: int) -> None:
        """Apply other limits, from the next entry on."""
        self.most_bytes, self.most_entries = most_bytes, most_entries
        self.most_body_bytes = most_body_bytes

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        known = self._held.get(place)
        if known is None:
            return
        siblings = self._by_key[known.entry.key]
        position = siblings.index(known)
        self._take(place)
        updated = StoredEntry(place, evolve(entry, key=known.entry.key, body=known.entry.body))
        for other in list(self._by_key.get(known.entry.key, ())):
            if (other.entry.method, other.entry.vary) == (entry.method, entry.vary):
                self._take(other.place)
        self._add(updated, position)
        self._make_room()

    async def remove(self, place: int) -> None:
        if place in self._held:
            self._take(place)

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        among = self._held.keys() if url is None else self._by_url.get(url, set())
        gone = [
            place for place in among if _applies(self._held[place].entry, route, tag, stored_before)
        ]
        for place in gone:
            self._take(place)
        return len(gone)

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        shelves = list(self._of(route))
        times = [shelf.responded_at for shelf in shelves if shelf.responded_at]
        stale = [shelf.fresh_until[: bisect_right(shelf.fresh_until, now)] for shelf in shelves]
        entries, expired = sum(shelf.entries for shelf in shelves), sum(map(len, stale))
        fresh_total_s = sum(shelf.fresh_total_s for shelf in shelves) - sum(map(sum, stale))
        fresh = entries - expired
        return CacheStats(
            entries=entries,
            bytes=sum(shelf.bytes for shelf in shelves),
            expired=expired,
            oldest_at=min((each[0] for each in times), default=None),
            newest_at=max((each[-1] for each in times), default=None),
            evicted=self._evicted,
            fresh_left_s=fresh_total_s / fresh - now if fresh else 0.0,
        )

    def _of(self, route: str | None) -> Iterator[_Shelf]:
        if route is None:
            yield from self._shelves.values()
        elif route in self._shelves:
            yield self._shelves[route]

    async def close(self) -> None:
        self._closed = True

    def _add(self, cached: StoredEntry, position: int = 0) -> None:
        entry, size_bytes = cached.entry, _size(cached.entry)
        self._held[cached.place] = cached
        self._by_key.setdefault(entry.key, []).insert(position, cached)
        self._by_url.setdefault(entry.url, set()).add(cached.place)
        self._shelves.setdefault(entry.route, _Shelf()).add(entry, size_bytes)
        self._bytes += size_bytes

    def _take(self, place: int) -> None:
        cached = self._held.pop(place)
        entry, size_bytes = cached.entry, _size(cached.entry)
        # A list that was returned stays unchanged.
        left = [one for one in self._by_key.pop(entry.key) if one is not cached]
        if left:
            self._by_key[entry.key] = left
        places = self._by_url[entry.url]
        places.discard(place)
        if not places:
            del self._by_url[entry.url]
        self._shelves[entry.route].take(entry, size_bytes)
        self._bytes -= size_bytes

    def _make_room(self) -> None:
        now = self.now()
        oldest = [place for _, place in zip(range(_LOOKED_AT), self._held, strict=False)]
        for place in oldest:
            if self._held[place].entry.keep_until <= now:
                self._take(place)
        while len(self._held) > self.most_entries or self._bytes > self.most_bytes:
            self._evict(next(iter(self._held)))

    def _evict(self, place: int) -> None:
        self._take(place)
        self._evicted += 1


def _in_memory(body: Body) -> Body:
    return body if body.file is None else Body.of(body.file.read_bytes())


def _size(entry: CacheEntry) -> int:
    return _OVERHEAD_BYTES + len(entry.head.encoded) + len(entry.url) + entry.body.size_bytes


def _applies(
    entry: CacheEntry, route: str | None, tag: str | None, stored_before: float | None
) -> bool:
    return (
        (route is None or entry.route == route)
        and (tag is None or tag in entry.tags)
        and (stored_before is None or entry.responded_at < stored_before)
    )
