"""Cache entries for the tests of the stores."""

from __future__ import annotations

from buffr.interaction import Body
from buffr.message import Headers, ResponseHead
from buffr.stores.cache import CacheEntry

KEY = b"k" * 16


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entry(
    which: bytes = KEY,
    body: bytes | Body = b"answer",
    *,
    route: str = "wikidata",
    url: str = "https://api.example/x",
    method: bytes = b"GET",
    vary: Headers = (),
    responded_at: float = 1000.0,
    fresh_for_s: float = 60.0,
    keep_for_s: float = 600.0,
    headers: Headers = ((b"Content-Type", b"text/plain"), (b"X-A", b"1"), (b"x-a", b"\xff")),
    tags: tuple[str, ...] = (),
) -> CacheEntry:
    return CacheEntry(
        which,
        route,
        method,
        url,
        vary,
        ResponseHead(200, b"Fine", headers, 1),
        body if isinstance(body, Body) else Body.of(body),
        ((b"T", b"v"),),
        responded_at - 0.25,
        responded_at,
        responded_at + fresh_for_s,
        responded_at + keep_for_s,
        tags,
    )


def shape(cached: CacheEntry) -> tuple[object, ...]:
    """All of an entry, to be compared."""
    head, body = cached.head, cached.body
    return (
        (cached.key, cached.route, cached.method, cached.url, cached.vary, cached.tags),
        (head.status, head.reason, head.headers, head.minor),
        (body.data if body.file is None else body.file.read_bytes(), cached.trailers),
        (cached.born_at, cached.responded_at, cached.fresh_until, cached.keep_until),
    )
