"""Which recordings no client was given, as a run or a test tells in the end."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from buffr.exchanges.route import Recorded, Route
from buffr.policy.mode import Mode
from buffr.redaction.for_log import request_for_log
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.store import CassetteStore
from buffr.stores.interactions import IndexedStore, InteractionSet, InteractionView

__all__ = ["Unused", "unused"]

_REPLAYING = (Mode.AUTO, Mode.REPLAY)


@frozen
class Unused:
    """An interaction that was never replayed. ``request`` is spelled as in the log."""

    cassette: str
    request: str


def unused(routes: Iterable[Route]) -> list[Unused]:
    """The interactions that none of these routes' clients was given, in recorded order.

    Those in the cassettes of routes that replay; recorded in this run is as
    good as replayed. A playhead gives those of a name from the first on, and
    appends to them, so that two numbers say which of them were used.
    """
    asked: dict[IndexedStore, Recorded] = {
        route.store: route
        for route in routes
        if isinstance(route, Recorded)
        and isinstance(route.store, CassetteStore | InteractionView)
        and route.mode in _REPLAYING
    }
    held: dict[InteractionSet, set[int]] = {}
    used: dict[InteractionSet, set[int]] = {}
    rules: dict[InteractionSet, RedactionRules] = {}
    for store, route in asked.items():
        rules[store.interactions] = route.redaction
        ours = held.setdefault(store.interactions, set())
        theirs = used.setdefault(store.interactions, set())
        if isinstance(store, CassetteStore) and store.index.waiting:
            # What was looked up in this run is filed; an earlier one may have counted other keys.
            if not route.playhead.names <= {found.name for found in store.index.all()}:
                store.settle_now()
            ours.update(store.index.waiting)
        for found in store.index.all():
            ours.update(found.places)
            theirs.update(found.places[: route.playhead.used(found.name)])
            made = route.playhead.made(found.name)
            theirs.update(found.places[max(0, len(found.places) - made) :])
    return [
        Unused(cassette.where, request_for_log(request, rules[cassette]))
        for cassette, places in held.items()
        for place in sorted(places - used[cassette])
        if (request := cassette.request(place)) is not None
    ]
