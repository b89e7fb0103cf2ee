"""The modes, and the decision about a request in each: the only place that knows them."""

from __future__ import annotations

import enum
from collections.abc import Container
from typing import assert_never

from attrs import frozen

from buffr.policy.cache.directives import Directives
from buffr.policy.cache.reuse import Use, use_of
from buffr.policy.cache.rules import CacheRules
from buffr.stores.cache import StoredEntry

__all__ = [
    "CacheDecision",
    "Decision",
    "Fetch",
    "Mode",
    "Refuse",
    "Replay",
    "Reuse",
    "decide",
    "decide_cached",
    "may_substitute",
    "needs_key",
    "recorded_by_default",
]

_SHAREABLE = frozenset((b"GET", b"HEAD", b"POST"))
_ALL = range(100, 1000)
_PASSING = frozenset((401, 407, 408, 429))
_ERRORS = range(500, 600)
_NOT_PASSING = frozenset(_ALL) - _PASSING - frozenset(_ERRORS)


class Mode(enum.Enum):
    """What a route does with a request; the value is the word in settings and log."""

    AUTO = "auto"
    """Replay what is recorded; fetch and record what is not."""
    RECORD = "record"
    """Always fetch, and record again."""
    REPLAY = "replay"
    """Never use the network; an unrecorded request is a miss."""
    CACHE = "cache"
    """Act as an HTTP cache: answer with fresh answers, fetch and store the rest."""
    PASSTHROUGH = "passthrough"
    """Relay without storing anything."""

    @property
    def uses_cassette(self) -> bool:
        """Whether interactions are recorded, or replayed."""
        return self in (Mode.AUTO, Mode.RECORD, Mode.REPLAY)

    @property
    def records(self) -> bool:
        """Whether new interactions are stored in a cassette."""
        return self in (Mode.AUTO, Mode.RECORD)

    @property
    def keeps(self) -> bool:
        """Whether anything is written: to a cassette, or to a cache."""
        return self.records or self is Mode.CACHE


@frozen
class Replay:
    """Answer with the recording at this place of the store."""

    place: int


@frozen
class Reuse:
    """Answer with a cache's stored answer; with ``revalidate``, also refresh it."""

    cached: StoredEntry
    revalidate: bool


@frozen
class Fetch:
    """Call the upstream. ``record`` stores the answer, ``share`` lets equal requests wait for it.

    ``why`` is the reason why a cache fetches, for ``Cache-Status`` (RFC 9211 2.2).
    """

    record: bool
    share: bool
    why: bytes = b""


@frozen
class Refuse:
    """Refuse: no recording or stored answer may be used."""


Decision = Replay | Fetch | Refuse
CacheDecision = Reuse | Fetch | Refuse

_REFUSE = Refuse()
_FETCH = {
    (record, share): Fetch(record=record, share=share)
    for record in (False, True)
    for share in (False, True)
}


def needs_key(mode: Mode, *, share: bool) -> bool:
    """Whether the request must be identified, and so read completely, before the decision."""
    return mode in (Mode.AUTO, Mode.REPLAY) or (mode is Mode.RECORD and share)


def may_substitute(mode: Mode) -> bool:
    """Whether the only recording of a request may answer another variant of it.

    Modes that can call the upstream do so instead.
    """
    return mode is Mode.REPLAY


def decide(mode: Mode, method: bytes, place: int | None, *, share: bool) -> Decision:
    """What to do with a request; ``place`` is the recording that is next for it, if any."""
    match mode:
        case Mode.REPLAY:
            return _REFUSE if place is None else Replay(place)
        case Mode.AUTO:
            if place is not None:
                return Replay(place)
            return _FETCH[True, share and method in _SHAREABLE]
        case Mode.RECORD:
            return _FETCH[True, share and method in _SHAREABLE]
        case Mode.PASSTHROUGH | Mode.CACHE:
            # A cache uses ``decide_cached``, except for WebSocket sessions, which it never stores.
            return _FETCH[False, False]
    assert_never(mode)


def decide_cached(
    rules: CacheRules,
    said: Directives,
    cached: StoredEntry | None,
    now: float,
    *,
    for_upstream: bool,
    ranged: bool,
) -> CacheDecision:
    """What mode cache does with a request with the directives ``said`` (RFC 9111 4, 5.2.1).

    ``cached`` is the stored answer, ``now`` seconds since the epoch.
    ``for_upstream``: only the upstream can evaluate its conditions;
    ``ranged``: it requests a range. Neither shares a call.
    """
    obeyed = "request" not in rules.override
    why = b"request" if for_upstream else b"uri-miss"
    if cached is not None:
        use = use_of(rules, said, cached.entry, now)
        if use is not Use.AFTER_VALIDATION and not (obeyed and b"no-store" in said):
            return Reuse(cached, revalidate=use is Use.WHILE_REVALIDATED)
        why = b"request" if now < cached.entry.fresh_until else b"stale"
    if obeyed and b"only-if-cached" in said:
        return _REFUSE
    own = for_upstream or ranged
    own = own or b"no-store" in said or b"no-cache" in said or b"max-age" in said
    return Fetch(record=True, share=not own, why=why)


def recorded_by_default(mode: Mode) -> Container[int]:
    """All in mode record; otherwise all except those that depend on circumstances.

    Those are 5xx, 408 and 429, and 401 and 407: since all keys count as equal,
    the refusal of a wrong key would be replayed to the right one. Statuses
    from 600 to 999 are an API's own, and are recorded.
    """
    return _ALL if mode is Mode.RECORD else _NOT_PASSING
