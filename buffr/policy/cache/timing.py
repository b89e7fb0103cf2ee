"""Until when a stored response is fresh, as today's settings say.

They may be others than when it was stored, and hold at once.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from attrs import evolve

from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.rules import CacheRules
from buffr.policy.cache.storing import freshness
from buffr.stores.cache import Cached, CacheEntry

__all__ = ["Timing"]


class Timing:
    """Applies one route's rules to what is found; each entry is judged once."""

    def __init__(self, rules: CacheRules) -> None:
        self._rules = rules
        self._fresh_until: WeakKeyDictionary[CacheEntry, float] = WeakKeyDictionary()

    def timed(self, cached: Cached) -> Cached:
        entry = cached.entry
        fresh_until = self._fresh_until.get(entry)
        if fresh_until is None:
            fresh_until = self._fresh_until[entry] = _fresh_until(self._rules, entry)
        if fresh_until == entry.fresh_until:
            return cached
        return Cached(cached.place, evolve(entry, fresh_until=fresh_until))


def _fresh_until(rules: CacheRules, entry: CacheEntry) -> float:
    head = entry.head
    found = freshness(rules, head, terms_of(head.headers), entry.responded_at)
    return (entry.responded_at if found.since_arrival else entry.born_at) + found.seconds
