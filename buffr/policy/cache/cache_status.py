"""What is told of how a request was handled: ``Cache-Status`` (RFC 9211) and ``Age``."""

from __future__ import annotations

from buffr.message import Headers
from buffr.policy.cache.storing import Stored, Unstored
from buffr.stores.cache import CacheEntry

__all__ = ["age", "forwarded", "hit", "hit_until"]


def age(entry: CacheEntry, now: float) -> Headers:
    """The age that a stored response has on its way out (RFC 9111 5.1)."""
    return ((b"Age", b"%d" % max(0, int(now - entry.born_at))),)


def hit(entry: CacheEntry, now: float) -> Headers:
    """What is told of a stored response for which nobody was asked."""
    age_s = max(0, int(now - entry.born_at))
    told = b"buffr; hit; ttl=%d" % ((entry.fresh_until - now) // 1)
    return ((b"Age", b"%d" % age_s), (b"Cache-Status", told))


def hit_until(entry: CacheEntry, now: float) -> float:
    """Until when ``hit`` says the same of a fresh response, in seconds since the epoch."""
    age_s = max(0, int(now - entry.born_at))
    return min(entry.born_at + age_s + 1, entry.fresh_until - (entry.fresh_until - now) // 1)


def forwarded(
    why: bytes,
    status: int | None,
    verdict: Stored | Unstored | None = None,
    *,
    collapsed: bool = False,
    detail: str = "",
) -> Headers:
    """What is told of a request that went on, and why (RFC 9211 2.2); ``status`` came back.

    ``verdict`` says what became of the answer.
    """
    told = b"buffr; fwd=" + why
    if status is not None:
        told += b"; fwd-status=%d" % status
    if isinstance(verdict, Stored):
        told += b"; stored"
    elif verdict is not None:
        detail = verdict.why
    if collapsed:
        told += b"; collapsed"
    if detail:
        told += b'; detail="%b"' % detail.encode("ascii", "replace")
    return ((b"Cache-Status", told),)
