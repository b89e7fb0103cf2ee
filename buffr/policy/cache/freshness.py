"""How old a response is, and how long it is fresh (RFC 9111 4.2)."""

from __future__ import annotations

from attrs import frozen

from buffr.message import Headers
from buffr.policy.cache.directives import (
    NO_DIRECTIVES,
    Directives,
    delta_seconds,
    directives,
    http_date,
    targeted_directives,
)

__all__ = ["Lifetime", "Terms", "born_at", "joined", "lifetime", "present_year", "terms_of"]

_HEURISTIC_STATUSES = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
"""RFC 9110 15.1, without 206."""
_HEURISTIC_PART = 0.1
_HEURISTIC_MOST_S = 86400.0
"""A day: RFC 9111 4.2.2 leaves the bound open; longer guesses surprise."""
_YEAR_S = 31556952.0


@frozen
class Terms:
    """What a response says of its caching.

    ``targeted``: by ``CDN-Cache-Control``, which hides ``Cache-Control`` and
    ``Expires`` (RFC 9213 2.2).
    """

    directives: Directives
    targeted: bool = False


@frozen
class Lifetime:
    """How long a response is fresh, in seconds. ``explicit``: the response says so itself."""

    seconds: float
    explicit: bool


def present_year(now: float) -> int:
    return 1970 + int(now / _YEAR_S)


def joined(headers: Headers, name: bytes) -> bytes | None:
    """The values of all fields with this lower-case name as one list (RFC 9110 5.3)."""
    values = [value for key, value in headers if key.lower() == name]
    return b", ".join(values) if values else None


def terms_of(headers: Headers) -> Terms:
    target = joined(headers, b"cdn-cache-control")
    if target is not None:
        said = targeted_directives(target)
        if said is not None:
            return Terms(said, targeted=True)
    value = joined(headers, b"cache-control")
    return Terms(NO_DIRECTIVES if value is None else directives(value))


def born_at(headers: Headers, requested_at: float, responded_at: float) -> float:
    """When the response's age was zero (RFC 9111 4.2.3), in seconds since the epoch."""
    age_s = _age_value(headers) + (responded_at - requested_at)
    date = _date(headers, b"date", responded_at)
    if date is not None:
        age_s = max(age_s, responded_at - date)
    return responded_at - age_s


def _age_value(headers: Headers) -> int:
    value = joined(headers, b"age")
    if value is None:
        return 0
    return delta_seconds(value.partition(b",")[0].strip()) or 0


def _date(headers: Headers, name: bytes, now: float) -> float | None:
    values = [value for key, value in headers if key.lower() == name]
    return http_date(values[0], present_year(now)) if len(values) == 1 else None


def lifetime(status: int, headers: Headers, terms: Terms, responded_at: float) -> Lifetime | None:
    """How long a response is fresh for a shared cache; ``None`` when nothing says so."""
    said = terms.directives
    for name in (b"s-maxage", b"max-age"):
        seconds = said.seconds(name)
        if seconds is not None:
            return Lifetime(seconds, explicit=True)
    date = _date(headers, b"date", responded_at)
    since = responded_at if date is None else date
    if not terms.targeted and any(name.lower() == b"expires" for name, _ in headers):
        expires = _date(headers, b"expires", responded_at)
        return Lifetime(0 if expires is None else max(0.0, expires - since), explicit=True)
    modified = _date(headers, b"last-modified", responded_at)
    if modified is None or not (status in _HEURISTIC_STATUSES or b"public" in said):
        return None
    guess = min(_HEURISTIC_MOST_S, _HEURISTIC_PART * (since - modified))
    return Lifetime(max(0.0, guess), explicit=False)
