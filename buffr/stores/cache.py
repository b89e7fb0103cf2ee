"""What cache mode asks of a store, beside what a cassette does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import define, frozen

from buffr.interaction import Body
from buffr.message import Headers, ResponseHead

__all__ = [
    "MOST_VARIANTS",
    "CacheCounters",
    "CacheEntry",
    "CacheStats",
    "CacheStore",
    "StoredEntry",
]

MOST_VARIANTS = 64
"""Variants of a key that are kept, the last stored: a look-up reads them all."""


@frozen(eq=False)
class CacheEntry:
    """A stored response, exact, and what its freshness is worked out from.

    ``key`` is the digest (16 bytes) of what identifies the request but for
    ``Vary``; ``vary`` are the request's fields that the response's ``Vary``
    names, in lower case and in order: one that was not sent is empty, a
    credential is a keyed digest.
    ``url`` is the request's as people may see it, without credentials. All
    times are seconds since the epoch: it came at ``responded_at``, its age was
    zero at ``born_at`` (RFC 9111 4.2.3); from ``fresh_until`` on it is stale,
    from ``keep_until`` on of no use at all.
    """

    key: bytes
    route: str
    method: bytes
    url: str
    vary: Headers
    head: ResponseHead
    body: Body
    trailers: Headers
    born_at: float
    responded_at: float
    fresh_until: float
    keep_until: float
    tags: tuple[str, ...] = ()


@frozen(eq=False)
class StoredEntry:
    """An entry and its place: what names it until it is replaced or removed."""

    place: int
    entry: CacheEntry


@frozen
class CacheStats:
    """What a store holds. ``bytes`` are of bodies and heads as kept.

    ``expired`` are stale at ``now``; ``fresh_left_s`` is the mean of the
    seconds that the others are fresh for still.
    """

    entries: int
    bytes: int
    expired: int
    oldest_at: float | None
    newest_at: float | None
    evicted: int
    fresh_left_s: float = 0.0


@define
class CacheCounters:
    """What a store of this process has done; a body is inflated when it is found."""

    puts: int = 0
    compressed: int = 0
    inflated: int = 0


class CacheStore(Protocol):
    """Keeps responses within its bounds of bytes and entries; the least recently used go first.

    All methods are called on the reactor's thread.
    """

    @property
    def counters(self) -> CacheCounters:
        """What it has done since it was opened."""

    @property
    def salt(self) -> bytes:
        """At least 16 random bytes that are kept with the entries, and key their digests.

        Known since the store was opened: keys are made of it for each request.
        """

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        """Every variant of a key, the one stored last first. Counts as use.

        Raises ``StoreFailed`` when the store cannot be read.
        """

    async def put(self, entry: CacheEntry) -> None:
        """Keep an entry in place of the variant with the same key, method and ``vary``.

        Raises ``StoreFailed``; a response over the bound of one body is left out.
        """

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        """Replace all of an entry but its body: a 304 came (RFC 9111 4.3.4)."""

    async def remove(self, place: int) -> None:
        """Remove one entry, if it is there."""

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        """Remove the entries to which all that is given applies; how many those were."""

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        """In constant time. Raises ``StoreFailed``."""

    async def close(self) -> None:
        """Finish what is under way; further calls are errors."""
