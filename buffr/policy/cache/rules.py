"""What a route says over what HTTP says."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from attrs import frozen

__all__ = ["CacheRules", "Override"]

Override = Literal[
    "no-store",
    "no-cache",
    "private",
    "must-revalidate",
    "authorization",
    "cookie",
    "set-cookie",
    "request",
]
"""What a route does not obey, by name."""


@frozen(kw_only=True)
class CacheRules:
    """How a route caches. Times are seconds.

    ``ttl_s`` takes the place of every freshness lifetime of a successful
    answer, ``ttl_by_status`` that of answers with these statuses, the first
    that fits. ``methods`` are in upper case. A stale answer takes the place
    of an error for ``stale_if_error_s``, where the upstream allows no more.
    A response over ``most_body_bytes`` is not stored.
    """

    ttl_s: float | None = None
    ttl_by_status: tuple[tuple[Container[int], float], ...] = ()
    override: frozenset[Override] = frozenset()
    methods: frozenset[bytes] = frozenset((b"GET", b"HEAD"))
    stale_if_error_s: float | None = None
    flight_timeout_s: float = 60.0
    most_body_bytes: int = 64 * 2**20
    tags: tuple[str, ...] = ()

    def ttl_of(self, status: int) -> float | None:
        """The lifetime that the route gives to answers with a status, if it does."""
        for statuses, ttl_s in self.ttl_by_status:
            if status in statuses:
                return ttl_s
        return self.ttl_s if status in _SUCCESSFUL else None


_SUCCESSFUL = frozenset((200, 203, 204, 300, 301, 308))
