"""Parts of a stored response (RFC 9110 14)."""

from __future__ import annotations

import re

from attrs import frozen

from buffr.message import Headers, ResponseHead, first_value
from buffr.policy.cache.conditions import strong_tag

__all__ = ["UNSATISFIABLE", "Part", "Unsatisfiable", "asked_part", "part_head"]

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
