"""Which recording answers an exchange: its place in the route's store."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.logger import LogLevel

from buffr.exchanges.ages import Ages
from buffr.exchanges.exchange import Exchange, shown
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.captures import Captured
from buffr.matching.identity import Identity
from buffr.policy.decide import may_substitute
from buffr.policy.mode import Mode
from buffr.stores.base import Found, Store

__all__ = ["captured", "identity_of", "next_place"]


def identity_of(exchange: Exchange) -> Identity:
    """What identifies a request whose body is there."""
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
    route, identity = exchange.route, exchange.identity
    if route.store is None or route.mode is Mode.RECORD:
        return None
    assert identity is not None
    found = await route.store.find(identity.keys)
    if found is None or found.others or identity.selecting.compared.get(found.variant) != ():
        found = await _chosen(exchange, route.store, found)
        if found is None:
            return None
    if route.ages is None:
        return route.playhead.next(exchange.scope, found.name, found.places)
    return await _next_by_age(exchange, route.ages, found, wall())


async def _chosen(exchange: Exchange, store: Store, found: Found | None) -> Found | None:
    """The recordings that answer where the first look-up gives none, or several variants."""
    identity = exchange.identity
    assert identity is not None
    if found is None and identity.salted:
        # The search may have read the file anew, and a new file has a salt of its own.
        exchange.identity = identity = identity_of(exchange)
        found = await store.find(identity.keys)
    if found is None and _may_be_long(exchange):
        found = await exchange.route.bodies.find((*identity.keys, *identity.headerless))
    if found is None and (identity.is_credential or may_substitute(exchange.route.mode)):
        found = store.find_loose(identity.loose)
    variants = [] if found is None else [evolve(found, others=()), *found.others]
    equal = [each for each in variants if not identity.selecting.differences(each.variant)]
    if not equal and identity.headerless:
        bare = await store.find(identity.headerless)
        bares = () if bare is None else (bare, *bare.others)
        equal = [each for each in bares if each.variant is None]
    if equal:
        # One that says nothing of its request answers only where none says the same.
        return next((each for each in equal if each.variant is not None), equal[0])
    return _substitute(exchange, variants)


def _may_be_long(exchange: Exchange) -> bool:
    """Whether a recording's long body may mean the same as this one.

    White space and escapes make a body several times as long, rules any time.
    """
    body = exchange.body.identity
    if isinstance(body, bytes):
        return len(body) >= IN_MEMORY // 8 or (bool(body) and exchange.route.matcher.cuts_bodies)
    return True


def _substitute(exchange: Exchange, variants: list[Found]) -> Found | None:
    """The only variant, in mode replay: the same operation, recorded by another client."""
    route, identity = exchange.route, exchange.identity
    exchange.variants = variants
    strict = route.variants.strict
    if len(variants) != 1 or strict or not may_substitute(route.mode):
        return None
    assert identity is not None
    (only,) = variants
    for difference in identity.selecting.differences(only.variant):
        if route.variants.is_news(difference):
            say(
                LogLevel.warn,
                "the recording of another variant answers",
                request=shown(exchange.request, route),
                header=difference.name,
                recorded=_shown(difference.recorded),
                live=_shown(difference.live),
                rule=difference.rule,
            )
    return only


def _shown(value: bytes | None) -> str:
    return "(absent)" if value is None else value.decode("latin-1")


async def _next_by_age(exchange: Exchange, ages: Ages, found: Found, now_s: float) -> int | None:
    """The next place; none in auto where that is too old, so that it is recorded anew."""
    route = exchange.route
    assert route.store is not None
    places, too_old = await ages.in_turn(route.store, found.places, now_s)
    place = route.playhead.next(exchange.scope, found.name, places)
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
