"""Entries out of answers, and entries brought up to date (RFC 9111 3.1, 4.3.4, 4.3.5)."""

from __future__ import annotations

from attrs import evolve

from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, ResponseHead, first_value, response_length
from buffr.policy.cache.conditions import updated_fields
from buffr.policy.cache.freshness import born_at
from buffr.policy.cache.rules import CacheRules
from buffr.policy.cache.storing import Stored, stored_fields, storing
from buffr.stores.cache import CacheEntry

__all__ = ["is_same_body", "moments", "refreshed", "stored_head"]

_FRAMING = frozenset((b"transfer-encoding", b"trailer", b"content-length"))
_OF_A_MESSAGE = frozenset((b"date", b"age"))


def moments(
    verdict: Stored, head: ResponseHead, requested_at: float, responded_at: float
) -> tuple[float, float, float]:
    """When an answer's age was zero, until when it is fresh, and until when it is of use."""
    born = born_at(head.headers, requested_at, responded_at)
    fresh_until = (responded_at if verdict.since_arrival else born) + verdict.fresh_s
    return born, fresh_until, max(fresh_until, responded_at) + verdict.keep_s


def stored_head(
    rules: CacheRules, method: bytes, head: ResponseHead, size_bytes: int, trailers: Headers
) -> ResponseHead:
    """The head as it is kept: a body without trailers is framed by its length."""
    fields = stored_fields(rules, head.headers)
    if response_length(method, head) in (CHUNKED, UNTIL_CLOSE) and not trailers:
        fields = tuple(one for one in fields if one[0].lower() not in _FRAMING)
        fields = (*fields, (b"Content-Length", b"%d" % size_bytes))
    return ResponseHead(head.status, head.reason, fields)


def is_same_body(stored: Headers, fresh: Headers) -> bool:
    """Whether the answer to a HEAD is about the stored body (RFC 9111 4.3.5)."""
    for name in (b"content-length", b"etag", b"last-modified"):
        value = first_value(fresh, name)
        if value is not None and value != first_value(stored, name):
            return False
    return True


def refreshed(
    rules: CacheRules,
    request: Headers,
    entry: CacheEntry,
    fresh: ResponseHead,
    requested_at: float,
    responded_at: float,
) -> tuple[CacheEntry, bool]:
    """The entry with what a 304, or the answer to a HEAD, says anew; whether it may be kept on.

    Its age and its ``Date`` are the new answer's.
    """
    old = tuple(one for one in entry.head.headers if one[0].lower() != b"date")
    fields = updated_fields(old, stored_fields(rules, fresh.headers))
    head = ResponseHead(entry.head.status, entry.head.reason, fields)
    of_message = tuple(one for one in fresh.headers if one[0].lower() in _OF_A_MESSAGE)
    judged = ResponseHead(head.status, head.reason, updated_fields(fields, of_message))
    verdict = storing(rules, request, judged, responded_at)
    if not isinstance(verdict, Stored):
        return evolve(entry, head=head, fresh_until=responded_at), False
    born, fresh_until, keep_until = moments(verdict, judged, requested_at, responded_at)
    updated = evolve(
        entry,
        head=head,
        born_at=born,
        responded_at=responded_at,
        fresh_until=fresh_until,
        keep_until=keep_until,
    )
    return updated, True
