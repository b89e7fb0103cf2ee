"""What is told of how a request was handled: ``Cache-Status`` (RFC 9211) and ``Age``."""

from __future__ import annotations

from buffr.message import Headers
from buffr.stores.cache import CacheEntry

__all__ = ["forwarded", "hit"]


def hit(entry: CacheEntry, now: float, detail: bytes = b"") -> Headers:
    """The fields that a stored response gets on its way out."""
    age_s = max(0, int(now - entry.born_at))
    ttl_s = int(entry.fresh_until - now // 1)
    told = b"buffr; hit; ttl=%d" % ttl_s
    if detail:
        told += b"; detail=" + detail
    return ((b"Age", b"%d" % age_s), (b"Cache-Status", told))


def forwarded(
    why: bytes,
    status: int | None = None,
    *,
    stored: bool = False,
    collapsed: bool = False,
    detail: str = "",
) -> Headers:
    """The field of an answer that was forwarded for: ``why`` is as in RFC 9211 2.2."""
    told = b"buffr; fwd=" + why
    if status is not None:
        told += b"; fwd-status=%d" % status
    if stored:
        told += b"; stored"
    if collapsed:
        told += b"; collapsed"
    if detail:
        told += b'; detail="%b"' % detail.encode("ascii", "replace").replace(b'"', b"'")
    return ((b"Cache-Status", told),)
