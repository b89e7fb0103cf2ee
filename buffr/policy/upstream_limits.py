"""What an upstream says of its own limits: how long to leave it alone."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from buffr.message import Headers, ResponseHead, first_value

__all__ = ["silence_asked"]

_NUMBER = re.compile(rb"[0-9]{1,13}(?:\.[0-9]{1,6})?")
_EPOCH_FROM = 1e9
"""Smaller figures are seconds from now; this one, as a date, is in 2001."""
_EPOCH_MS_FROM = 1e11
_BUSY = frozenset((429, 503))
# draft-ietf-httpapi-ratelimit-headers: "name";r=0;t=30 since version 8, remaining=0, reset=30
# in versions 3 to 7.
_ITEM = re.compile(rb'"[^"]*"(?P<parameters>(?:\s*;\s*[a-z*][a-z0-9_.*-]*(?:=[^;,\s]*)?)*)')
_PARAMETER = re.compile(rb"(?:^|[;,\s])(?P<name>r|t|remaining|reset)=(?P<value>[0-9]{1,13})")


def silence_asked(head: ResponseHead, now: float) -> float | None:
    """The seconds in which an upstream wants no further request; ``None`` when it does not say.

    ``now`` is wall-clock time in seconds. ``Retry-After`` (RFC 9110 10.2.3)
    counts on 429 and 503; then the ``RateLimit`` field, ``RateLimit-Reset``
    and ``X-RateLimit-Reset``, where nothing remains or the status is 429.
    """
    if head.status in _BUSY:
        asked = _retry_after(head.headers, now)
        if asked is not None:
            return asked
    spent = head.status == 429
    asked = _rate_limit(head.headers, spent=spent)
    if asked is not None:
        return asked
    for prefix in (b"ratelimit-", b"x-ratelimit-", b"x-rate-limit-"):
        remaining = _number(head.headers, prefix + b"remaining")
        reset = _number(head.headers, prefix + b"reset")
        if reset is not None and (spent or remaining == 0):
            return _from_now(reset, now)
    return None


def _retry_after(headers: Headers, now: float) -> float | None:
    value = first_value(headers, b"retry-after")
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    moment = _date(value)
    if moment is None:
        return None
    # By the upstream's own clock, where it tells.
    date = first_value(headers, b"date")
    since = None if date is None else _date(date)
    return max(0.0, moment - (now if since is None else since))


def _date(value: bytes) -> float | None:
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return None


def _rate_limit(headers: Headers, *, spent: bool) -> float | None:
    """The longest silence that one of the limits in ``RateLimit`` asks for."""
    value = first_value(headers, b"ratelimit")
    if value is None:
        return None
    asked = None
    items = [found["parameters"] for found in _ITEM.finditer(value)] or [value]
    for item in items:
        said = {found["name"]: float(found["value"]) for found in _PARAMETER.finditer(item)}
        remaining = said.get(b"r", said.get(b"remaining"))
        reset = said.get(b"t", said.get(b"reset"))
        used_up = remaining == 0 or (spent and len(items) == 1)
        if reset is not None and used_up:
            asked = reset if asked is None else max(asked, reset)
    return asked


def _number(headers: Headers, name: bytes) -> float | None:
    value = first_value(headers, name)
    return float(value) if value is not None and _NUMBER.fullmatch(value) else None


def _from_now(reset: float, now: float) -> float:
    """A reset as seconds from now: it may be a moment, in seconds or in milliseconds."""
    if reset >= _EPOCH_MS_FROM:
        reset /= 1000
    return max(0.0, reset - now) if reset >= _EPOCH_FROM else reset
