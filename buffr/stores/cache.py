"""The port of a store for mode cache."""

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
"""The number of variants that are kept for a key, the latest ones: a lookup reads all of them."""


@frozen(eq=False)
class CacheEntry:
    """A stored response, exact, and what its freshness is computed from.

    ``key`` is the digest (16 bytes) of what identifies the request, except for
    ``Vary``; ``vary`` are the request's fields that the response's ``Vary``
    names, in lower case and in order: an absent one is empty, a credential is
    a keyed digest. ``url`` is the request's, without credentials. All times
    are seconds since the epoch: the response arrived at ``responded_at``, its
    age was zero at ``born_at`` (RFC 9111 4.2.3); from ``fresh_until`` on it is
    stale, from ``keep_until`` on it is useless.
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
    """An entry and its place, which identifies it until it is replaced or removed."""

    place: int
    entry: CacheEntry


@frozen
class CacheStats:
    """The content of a store. ``bytes`` are those of bodies and heads as stored.

    ``expired`` entries are stale at ``now``; ``fresh_left_s`` is the mean
    remaining freshness of the others in seconds.
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
    """The actions of a store in this process; a body is decompressed when it is found."""

    puts: int = 0
    compressed: int = 0
    inflated: int = 0


class CacheStore(Protocol):
    """Keeps responses within limits of bytes and entries, evicting the least recently used.

    All methods are called on the reactor's thread.
    """

    @property
    def counters(self) -> CacheCounters:
        """The counts since it was opened."""

    @property
    def salt(self) -> bytes:
        """16 or more random bytes that are stored with the entries, and key their digests.

        Known once the store is open: the keys of all requests depend on it.
        """

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        """Every variant of a key, the one stored last first. Counts as use.

        Raises ``StoreFailed`` if the store cannot be read.
        """

    def unchanged(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        """Whether ``find`` would give what it ``found`` before, without a wait.

        If so, it counts as use.
        """

    async def put(self, entry: CacheEntry) -> None:
        """Store an entry, replacing the variant with the same key, method and ``vary``.

        Raises ``StoreFailed``; a response whose body is over the limit is not
        stored.
        """

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        """Replace everything of an entry except its body: a 304 was received (RFC 9111 4.3.4)."""

    async def remove(self, place: int) -> None:
        """Remove one entry, if it exists."""

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        """Remove the entries that match all given criteria. Returns their number."""

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        """In constant time. Raises ``StoreFailed``."""

    async def close(self) -> None:
        """Finish all work in progress; later calls are errors."""
