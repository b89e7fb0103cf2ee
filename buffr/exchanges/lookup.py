"""Which recording answers an exchange, and the error where none does."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.logger import LogLevel

from buffr.errors import NoMatch
from buffr.exchanges.ages import Ages
from buffr.exchanges.exchange import Exchange, shown
from buffr.exchanges.explain import Explained
from buffr.exchanges.route import Recorded
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.captures import Captured
from buffr.matching.identity import Identity
from buffr.message import Request
from buffr.policy.mode import Mode, may_substitute
from buffr.stores.base import Found, Store

__all__ = ["captured", "identity_of", "next_place", "no_match", "only_recording"]

_RETRYING_SDKS = (
    (b"x-fern-language", b"", 424),  # Cohere's, and all others that Fern generates
    (b"user-agent", b"azsdk-js-", 424),
    (b"user-agent", b"azsdk-java-", 424),
    (b"user-agent", b"octokit.js/", 400),  # it takes 424 for a passing trouble, too
)
"""SDKs that repeat a request after any 5xx, whatever the answer says: a field, how its
value begins, and a status that none of them repeats (RFC 4918 11.4)."""


def identity_of(exchange: Exchange, route: Recorded) -> Identity:
    """What identifies a request whose body is there."""
    return route.matcher.live(exchange.request, exchange.body.identity, route.origin)


def captured(exchange: Exchange, route: Recorded) -> Captured:
    """What the rules with ``sync_response`` match in a request; nothing without such rules."""
    sync, body = route.matcher.sync, exchange.body.identity
    if not sync:
        return ()
    return sync.live(exchange.request, body if isinstance(body, bytes) else b"")


async def next_place(exchange: Exchange, route: Recorded, wall: Callable[[], float]) -> int | None:
    """The place whose turn it is; none in mode record, and where the upstream shall answer.

    ``wall`` gives the time since 1970.
    """
    if route.mode is Mode.RECORD:
        return None
    identity = exchange.identity
    found = await route.store.find(identity.keys)
    if found is None or found.others or identity.selecting.compared.get(found.variant) != ():
        found = await _chosen(exchange, route, found)
        if found is None:
            return None
    if route.ages is None:
        return route.playhead.next(exchange.scope, found.name, found.places)
    return await _next_by_age(exchange, route, route.ages, found, wall())


async def only_recording(exchange: Exchange, route: Recorded, place: int) -> Found | None:
    """What was found for an exchange, if nothing else can answer such a request.

    That is one recording, found by its key alone, whose answer follows from
    the request's bytes and does not take time.
    """
    if route.ages is not None or route.matcher.sync or route.replay_delays:
        return None
    identity = exchange.identity
    found = await route.store.find(identity.keys)
    if found is None or found.others or list(found.places) != [place]:
        return None
    return found if identity.selecting.compared.get(found.variant) == () else None


async def _chosen(exchange: Exchange, route: Recorded, found: Found | None) -> Found | None:
    """The recordings that answer where the first look-up gives none, or several variants."""
    store, identity = route.store, exchange.identity
    if found is None and identity.salted:
        # The search may have read the file anew, and a new file has a salt of its own.
        exchange.identity = identity = identity_of(exchange, route)
        found = await store.find(identity.keys)
    if found is None and _may_be_long(exchange, route):
        found = await route.bodies.find((*identity.keys, *identity.headerless))
    if found is None and (identity.is_credential or may_substitute(route.mode)):
        found = await store.find_loose(identity.loose)
    variants = [] if found is None else [evolve(found, others=()), *found.others]
    equal = [each for each in variants if not identity.selecting.differences(each.variant)]
    if not equal and identity.headerless:
        bare = await store.find(identity.headerless)
        bares = () if bare is None else (bare, *bare.others)
        equal = [each for each in bares if each.variant is None]
    if equal:
        # One that says nothing of its request answers only where none says the same.
        return next((each for each in equal if each.variant is not None), equal[0])
    return _substitute(exchange, route, variants)


def _may_be_long(exchange: Exchange, route: Recorded) -> bool:
    """Whether a recording's long body may mean the same as this one.

    White space and escapes make a body several times as long, rules any time.
    """
    body = exchange.body.identity
    if isinstance(body, bytes):
        return len(body) >= IN_MEMORY // 8 or (bool(body) and route.matcher.cuts_bodies)
    return True


def _substitute(exchange: Exchange, route: Recorded, variants: list[Found]) -> Found | None:
    """The only variant, in mode replay: the same operation, recorded by another client."""
    exchange.variants = variants
    strict = route.variants.strict
    if len(variants) != 1 or strict or not may_substitute(route.mode):
        return None
    (only,) = variants
    for difference in exchange.identity.selecting.differences(only.variant):
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


async def _next_by_age(
    exchange: Exchange, route: Recorded, ages: Ages, found: Found, now_s: float
) -> int | None:
    """The next place; none in auto where that is too old, so that it is recorded anew."""
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


async def no_match(exchange: Exchange, route: Recorded) -> NoMatch:
    """What to raise for a request without a recording: it tells the nearest ones."""
    request = exchange.request
    words = shown(request, route)
    body = exchange.body.identity if isinstance(exchange.body.identity, bytes) else None
    why = await route.explainer.explained(request, body, exchange.identity, exchange.variants)
    named = f" ({why.operation})" if why.operation else ""
    message = f"no recorded interaction matches {words}{named}"
    hint = "record it in mode auto or record"
    error = NoMatch(f"{message}: {_short(why, route.store)}", hint=hint)
    error.explanation = why.text
    error.details = {
        "request": {"method": request.method.decode("ascii"), "shown": words},
        "nearest": why.data,
    }
    return _for(request, error)


def _short(why: Explained, store: Store) -> str:
    """What came nearest; and where the store as a whole has a fault, that too."""
    trouble = store.trouble
    if trouble and not why.nearest:
        return trouble
    return why.short + (f" ({trouble})" if trouble else "")


def _for(request: Request, error: NoMatch) -> NoMatch:
    """With a status after which the client does not try again."""
    for name, value in request.headers:
        for field, start, status in _RETRYING_SDKS:
            if name.lower() == field and value.startswith(start):
                error.status = status
    return error
