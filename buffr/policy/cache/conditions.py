"""Conditional requests, of clients and our own (RFC 9110 13, RFC 9111 4.3)."""

from __future__ import annotations

import re

from buffr.message import Headers, ResponseHead, first_value
from buffr.policy.cache.dates import http_date
from buffr.policy.cache.freshness import joined, present_year
from buffr.stores.cache import CacheEntry

__all__ = [
    "CONDITIONS",
    "fits",
    "is_for_upstream",
    "not_modified",
    "not_modified_head",
    "strong_tag",
    "updated_fields",
    "validating_fields",
]

CONDITIONS = frozenset((b"if-none-match", b"if-modified-since"))
"""What a cache may answer by itself."""

_FOR_UPSTREAM = frozenset((b"if-match", b"if-unmodified-since"))
_TAG = re.compile(rb'(?:W/)?"[^"]*"|[^\s,]+')
_ABOUT_THE_BODY = frozenset(
    b"""
    content-length content-type content-encoding content-language content-range
    transfer-encoding trailer
    """.split()
)
_KEPT = frozenset((b"content-length", b"content-encoding", b"content-range"))
"""Fields that a stored body depends on (RFC 9111 3.2)."""
_FRAMING = frozenset((b"transfer-encoding", b"trailer"))


def is_for_upstream(headers: Headers) -> bool:
    """Whether a request has conditions that only an origin can judge (RFC 9111 4.3.2)."""
    return any(name.lower() in _FOR_UPSTREAM for name, _ in headers)


def _opaque(tag: bytes) -> bytes:
    return tag.removeprefix(b"W/")


def strong_tag(headers: Headers) -> bytes | None:
    """The entity tag, if it is a strong one."""
    tag = first_value(headers, b"etag")
    return None if tag is None or not tag.startswith(b'"') else tag


def not_modified(request: Headers, head: ResponseHead, responded_at: float) -> bool:
    """Whether a client that asks so has the response already."""
    if not 200 <= head.status < 300:
        return False
    tags = joined(request, b"if-none-match")
    if tags is not None:
        if tags.strip() == b"*":
            return True
        own = first_value(head.headers, b"etag")
        return own is not None and _opaque(own) in map(_opaque, _TAG.findall(tags))
    since = first_value(request, b"if-modified-since")
    if since is None:
        return False
    year = present_year(responded_at)
    limit = http_date(since, year)
    if limit is None:
        return False
    for name in (b"last-modified", b"date"):
        value = first_value(head.headers, name)
        known = None if value is None else http_date(value, year)
        if known is not None:
            # A response without Last-Modified counts as made when it was sent (4.3.2).
            return known <= limit
    return responded_at <= limit


def not_modified_head(head: ResponseHead) -> ResponseHead:
    """The 304 for a client that has the response (RFC 9110 15.4.5)."""
    fields = tuple(one for one in head.headers if one[0].lower() not in _ABOUT_THE_BODY)
    return ResponseHead(304, b"Not Modified", fields)


def validating_fields(entry: CacheEntry) -> Headers:
    """The conditions that ask whether a stored response still holds; none without validators."""
    if entry.head.status != 200:
        return ()
    fields: Headers = ()
    for name, condition in ((b"etag", b"If-None-Match"), (b"last-modified", b"If-Modified-Since")):
        value = first_value(entry.head.headers, name)
        if value is not None:
            fields += ((condition, value),)
    return fields


def fits(stored: Headers, fresh: Headers) -> bool:
    """Whether a 304 is about the stored response: a strong tag in it must be the same."""
    tag, own = strong_tag(fresh), strong_tag(stored)
    return tag is None or own is None or tag == own


def updated_fields(stored: Headers, fresh: Headers) -> Headers:
    """The stored fields with those of a 304, or of a HEAD's answer, in their place (3.2)."""
    new = tuple(
        one for one in fresh if one[0].lower() not in _KEPT and one[0].lower() not in _FRAMING
    )
    replaced = {name.lower() for name, _ in new}
    return tuple(one for one in stored if one[0].lower() not in replaced) + new
