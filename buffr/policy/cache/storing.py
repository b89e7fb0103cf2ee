"""Whether a response may be stored, for whom, and for how long (RFC 9111 3)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from attrs import evolve, frozen

from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, ResponseHead, first_value, response_length
from buffr.policy.cache.conditions import updated_fields
from buffr.policy.cache.directives import Directives, request_directives
from buffr.policy.cache.freshness import Terms, born_at, joined, lifetime, terms_of
from buffr.policy.cache.rules import CacheRules, Override
from buffr.stores.cache import CacheEntry, StoredEntry

__all__ = [
    "Forbidden",
    "Freshness",
    "Stored",
    "Timing",
    "Unstored",
    "for_everybody",
    "freshness",
    "is_same_body",
    "moments",
    "refreshed",
    "stored_fields",
    "stored_head",
    "storing",
]

_UNDERSTOOD = frozenset(
    {200, 203, 204, *range(300, 304), 307, 308, *range(400, 407), *range(409, 418)}
    | {421, 422, 426, 428, 429, 431, 451, *range(500, 506), 511}
)
_PARTIAL = frozenset((206, 304))
_STALE_KEPT_S = 3600.0
_VALIDATED_KEPT_S = 30 * 86400.0
"""How long a stale response is kept where nothing says so: to answer when the upstream cannot
be reached, or as long as it can be validated."""

_FOR_EVERYBODY = (b"public", b"s-maxage", b"must-revalidate")
"""What allows an answer to a request with credentials to be shared (RFC 9111 3.5)."""

_NEVER_STORED = frozenset((b"age", b"proxy-authentication-info"))


@frozen
class Stored:
    """May be stored: fresh for ``fresh_s`` seconds of its age, of use for ``keep_s`` more.

    ``since_arrival`` counts ``fresh_s`` from when it came, whatever its age.
    """

    fresh_s: float
    keep_s: float
    since_arrival: bool


@frozen
class Freshness:
    """Fresh for ``seconds`` of its age; with ``since_arrival``, from when it came.

    ``is_known``: the route or the response says so.
    """

    seconds: float
    is_known: bool
    since_arrival: bool


@frozen
class Unstored:
    """May be used for nothing but the request at hand, for want of freshness or meaning."""

    why: str


@frozen
class Forbidden(Unstored):
    """Is not to be used for any other request: something says so."""


_NO_FRESHNESS = Unstored("no freshness and no validator")
_NOT_WHOLE = Forbidden("not whole")
_NO_STORE = Forbidden("no-store")
_NO_STORE_ASKED = Forbidden("no-store in the request")
_PRIVATE = Forbidden("private")
_NOT_UNDERSTOOD = Forbidden("must-understand")
_VARY_STAR = Forbidden("vary *")
_SET_COOKIE = Forbidden("set-cookie")


def for_everybody(terms: Terms) -> bool:
    """Whether an answer may be shared although its request had credentials."""
    return any(name in terms.directives for name in _FOR_EVERYBODY)


def storing(
    rules: CacheRules, request: Headers, head: ResponseHead, responded_at: float
) -> Stored | Unstored:
    """Whether the answer to a request with these fields, of a cacheable method, may be stored."""
    terms = terms_of(head.headers)
    forbidden = _forbidden(rules, request, head, terms)
    if forbidden is not None:
        return forbidden
    said = terms.directives
    fresh = freshness(rules, head, terms, responded_at)
    validator = any(name.lower() in (b"etag", b"last-modified") for name, _ in head.headers)
    usable = fresh.is_known or (validator and _is_plain(head.status, said))
    if not usable or not (fresh.seconds or validator or _stale_s(said)):
        return _NO_FRESHNESS
    keep_s = _VALIDATED_KEPT_S if validator else _STALE_KEPT_S
    keep_s = max(keep_s, _stale_s(said), rules.stale_if_error_s or 0.0)
    return Stored(fresh.seconds, keep_s, since_arrival=fresh.since_arrival)


def freshness(
    rules: CacheRules, head: ResponseHead, terms: Terms, responded_at: float
) -> Freshness:
    """How long a response is fresh: as the route says, else as it says itself."""
    ttl_s = rules.ttl_of(head.status)
    found = lifetime(head.status, head.headers, terms, responded_at)
    seconds = 0.0
    if ttl_s is not None:
        seconds = ttl_s
    elif found is not None:
        seconds = found.seconds
    said = terms.directives
    if _obeys(rules, said, "no-cache") and said.fields(b"no-cache") is None:
        seconds = 0.0
    is_known = ttl_s is not None or found is not None
    return Freshness(seconds, is_known, since_arrival=ttl_s is not None)


def _obeys(rules: CacheRules, said: Directives, name: Override) -> bool:
    return name.encode() in said and name not in rules.override


def _is_plain(status: int, said: Directives) -> bool:
    return status in (200, 203, 204, 300, 301, 308, 404, 410) or b"public" in said


def _stale_s(said: Directives) -> float:
    names = (b"stale-while-revalidate", b"stale-if-error")
    return max(said.seconds(name) or 0 for name in names)


def _forbidden(
    rules: CacheRules, request: Headers, head: ResponseHead, terms: Terms
) -> Forbidden | None:
    said = terms.directives
    if head.status in _PARTIAL or head.status < 200:
        return _NOT_WHOLE
    if "request" not in rules.override and b"no-store" in request_directives(request):
        return _NO_STORE_ASKED
    if b"must-understand" in said and head.status not in _UNDERSTOOD:
        return _NOT_UNDERSTOOD
    if _obeys(rules, said, "no-store") and b"must-understand" not in said:
        return _NO_STORE
    if _obeys(rules, said, "private") and said.fields(b"private") is None:
        return _PRIVATE
    vary = joined(head.headers, b"vary")
    if vary is not None and b"*" in [name.strip() for name in vary.split(b",")]:
        return _VARY_STAR
    shared = b"public" in said or b"s-maxage" in said or "set-cookie" in rules.override
    if not shared and any(name.lower() == b"set-cookie" for name, _ in head.headers):
        return _SET_COOKIE
    return None


def stored_fields(rules: CacheRules, headers: Headers) -> Headers:
    """The fields of a response that are stored (RFC 9111 3.1), of those that passed a proxy."""
    said = terms_of(headers).directives
    left_out = set(_NEVER_STORED)
    for name in ("private", "no-cache"):
        if name not in rules.override:
            left_out |= said.fields(name.encode()) or frozenset()
    return tuple(field for field in headers if field[0].lower() not in left_out)


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


class Timing:
    """Applies one route's rules to what is found; each entry is judged once."""

    def __init__(self, rules: CacheRules) -> None:
        self._rules = rules
        self._fresh_until: WeakKeyDictionary[CacheEntry, float] = WeakKeyDictionary()

    def timed(self, cached: StoredEntry) -> StoredEntry:
        entry = cached.entry
        fresh_until = self._fresh_until.get(entry)
        if fresh_until is None:
            fresh_until = self._fresh_until[entry] = _fresh_until(self._rules, entry)
        if fresh_until == entry.fresh_until:
            return cached
        return StoredEntry(cached.place, evolve(entry, fresh_until=fresh_until))


def _fresh_until(rules: CacheRules, entry: CacheEntry) -> float:
    head = entry.head
    found = freshness(rules, head, terms_of(head.headers), entry.responded_at)
    return (entry.responded_at if found.since_arrival else entry.born_at) + found.seconds
