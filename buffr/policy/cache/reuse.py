"""Whether a stored response may answer a request (RFC 9111 4, 5.2.1; RFC 5861)."""

from __future__ import annotations

import enum
import math

from buffr.policy.cache.directives import NO_DIRECTIVES, Directives
from buffr.policy.cache.freshness import terms_of
from buffr.policy.cache.rules import CacheRules
from buffr.stores.cache import CacheEntry

__all__ = ["Use", "may_replace_error", "use_of"]

_DISCONNECTED_S = 3600.0
"""How long a stale response stands in for an upstream that cannot be reached (RFC 9111 4.2.4)."""


class Use(enum.Enum):
    """What a stored response is good for."""

    FRESH = "fresh"
    STALE = "stale"
    """The client takes it although it is stale."""
    WHILE_REVALIDATED = "while revalidated"
    """It may be used once more while a new one is fetched."""
    AFTER_VALIDATION = "after validation"


def use_of(rules: CacheRules, asked: Directives, entry: CacheEntry, now: float) -> Use:
    """What a stored response is good for, at ``now`` in seconds since the epoch."""
    if asked is not NO_DIRECTIVES and "request" not in rules.override:
        if b"no-cache" in asked:
            return Use.AFTER_VALIDATION
        most_s = asked.seconds(b"max-age")
        if most_s is not None and now - entry.born_at > most_s:
            return Use.AFTER_VALIDATION
        least_s = asked.seconds(b"min-fresh")
        if least_s is not None and entry.fresh_until - now < least_s:
            return Use.AFTER_VALIDATION
    if now < entry.fresh_until:
        return Use.FRESH
    return _use_of_stale(rules, asked, entry, now)


def _use_of_stale(rules: CacheRules, asked: Directives, entry: CacheEntry, now: float) -> Use:
    said = terms_of(entry.head.headers).directives
    if _forbids_stale(rules, said):
        return Use.AFTER_VALIDATION
    stale_s = now - entry.fresh_until
    if b"s-maxage" not in said and stale_s <= _most_stale_s(asked):
        return Use.STALE
    if stale_s < (said.seconds(b"stale-while-revalidate") or 0):
        return Use.WHILE_REVALIDATED
    return Use.AFTER_VALIDATION


def _most_stale_s(asked: Directives) -> float:
    if None in asked.by_name.get(b"max-stale", ()):
        return math.inf
    most_s = asked.seconds(b"max-stale")
    return -1.0 if most_s is None else most_s


def _forbids_stale(rules: CacheRules, said: Directives) -> bool:
    if b"no-cache" in said and "no-cache" not in rules.override:
        return True
    if "must-revalidate" in rules.override:
        return False
    return b"must-revalidate" in said or b"proxy-revalidate" in said


def may_replace_error(
    rules: CacheRules, asked: Directives, entry: CacheEntry, now: float, *, reached: bool
) -> bool:
    """Whether a stale response may be given in place of an error.

    ``reached``: the upstream answered, with 500, 502, 503 or 504. Where it
    could not be reached the cache is disconnected (RFC 9111 4.2.4), and needs
    no leave.
    """
    said = terms_of(entry.head.headers).directives
    if _forbids_stale(rules, said):
        return False
    stale_s = now - entry.fresh_until
    allowed = [rules.stale_if_error_s or 0.0]
    allowed += [each.seconds(b"stale-if-error") or 0.0 for each in (said, asked)]
    if stale_s <= max(allowed) and max(allowed):
        return True
    if b"s-maxage" in said and "must-revalidate" not in rules.override:
        return False
    return not reached and rules.stale_if_error_s is None and stale_s <= _DISCONNECTED_S
