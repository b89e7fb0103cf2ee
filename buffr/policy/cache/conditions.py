"""Conditional requests, of clients and our own (RFC 9110 13, RFC 9111 4.3)."""

from __future__ import annotations

import re

from attrs import frozen

from buffr.message import Headers, ResponseHead, first_value
from buffr.policy.cache.directives import http_date
from buffr.policy.cache.freshness import joined, present_year
from buffr.stores.cache import CacheEntry

__all__ = [
    "CONDITIONS",
    "UNSATISFIABLE",
    "Part",
    "Unsatisfiable",
    "asked_part",
    "fits",
    "is_for_upstream",
    "not_modified",
    "not_modified_head",
    "part_head",
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


_RANGE = re.compile(rb"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE)


@frozen
class Part:
    """The bytes from ``first`` to ``last``, both within."""

    first: int
    last: int


@frozen
class Unsatisfiable:
    """No byte of the response is asked for."""


UNSATISFIABLE = Unsatisfiable()


def asked_part(
    request: Headers, head: ResponseHead, size_bytes: int
) -> Part | Unsatisfiable | None:
    """The part that a request asks for; ``None`` for the whole.

    Several parts at once, and what is malformed, get the whole (14.2), and so
    do those who hold a part of another version (``If-Range``).
    """
    value = first_value(request, b"range")
    if value is None or head.status != 200:
        return None
    matched = _RANGE.fullmatch(value.strip())
    if matched is None or matched[0] == b"bytes=-" or not _same_version(request, head.headers):
        return None
    first, last = matched.groups()
    if not first:
        if not last:
            return None
        wanted = min(int(last), size_bytes)
        return Part(size_bytes - wanted, size_bytes - 1) if wanted else UNSATISFIABLE
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        return UNSATISFIABLE
    return Part(start, min(int(last), size_bytes - 1) if last else size_bytes - 1)


def _same_version(request: Headers, response: Headers) -> bool:
    """RFC 9110 13.1.5: a strong tag, or the very date."""
    known = first_value(request, b"if-range")
    if known is None:
        return True
    if known.startswith((b'"', b"W/")):
        return known == strong_tag(response)
    return known == first_value(response, b"last-modified")


def part_head(head: ResponseHead, part: Part | Unsatisfiable, size_bytes: int) -> ResponseHead:
    """The head of a 206, or of a 416, for a part of a response."""
    fields = tuple(
        one for one in head.headers if one[0].lower() not in (b"content-length", b"content-range")
    )
    if isinstance(part, Unsatisfiable):
        told = ((b"Content-Range", b"bytes */%d" % size_bytes), (b"Content-Length", b"0"))
        return ResponseHead(416, b"Range Not Satisfiable", (*fields, *told))
    length = part.last - part.first + 1
    told = (
        (b"Content-Range", b"bytes %d-%d/%d" % (part.first, part.last, size_bytes)),
        (b"Content-Length", b"%d" % length),
    )
    return ResponseHead(206, b"Partial Content", (*fields, *told))
