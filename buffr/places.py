"""Which recording answers an exchange: its place in the route's store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.logger import LogLevel

from buffr.exchange import Exchange, shown
from buffr.log import say
from buffr.matching.captures import Captured
from buffr.matching.key import MatchKey
from buffr.policy.age import Ages
from buffr.policy.mode import Mode
from buffr.stores.base import Found

__all__ = ["captured", "keys_of", "next_place"]


def keys_of(exchange: Exchange) -> Sequence[MatchKey]:
    """The keys of a request whose body is there."""
    route = exchange.route
    return route.matcher.live(exchange.request, exchange.body.identity, route.origin)


def captured(exchange: Exchange) -> Captured:
    """What the rules with ``sync_response`` match in a request; nothing without such rules."""
    sync, body = exchange.route.matcher.sync, exchange.body.identity
    if not sync:
        return ()
    return sync.live(exchange.request, body if isinstance(body, bytes) else b"")


async def next_place(exchange: Exchange, wall: Callable[[], float]) -> int | None:
    """The place whose turn it is; none in mode record, and where the upstream shall answer.

    ``wall`` gives the time since 1970.
    """
    route = exchange.route
    if route.store is None or route.mode is Mode.RECORD:
        return None
    found = await route.store.find(exchange.keys)
    if found is None and route.matcher.is_salted:
        # The search may have read the file anew, and a new file has a salt of its own.
        exchange.keys = keys_of(exchange)
        found = await route.store.find(exchange.keys)
    if found is None:
        return None
    if route.ages is None:
        return route.playhead.next(exchange.scope, found.digest, found.places)
    return await _next_by_age(exchange, route.ages, found, wall())


async def _next_by_age(exchange: Exchange, ages: Ages, found: Found, now_s: float) -> int | None:
    """The next place; none in auto where that is too old, so that it is recorded anew."""
    route = exchange.route
    assert route.store is not None
    places, too_old = await ages.in_turn(route.store, found.places, now_s)
    place = route.playhead.next(exchange.scope, found.digest, places)
    if place not in too_old:
        return place
    if route.mode is Mode.AUTO:
        exchange.too_old = place
        return None
    if not ages.told:
        ages.told = True
        words = shown(exchange.request, route)
        say(LogLevel.warn, "a recording is older than re_record_after", request=words)
    return place
