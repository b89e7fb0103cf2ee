"""A hit that may be repeated: an identical request skips everything with the same result.

What is remembered depends only on the request's bytes and the stored answer:
its place in the store, the answer as bytes, the words for the log. Values of
volatile fields are no part of it if the answer disregards them. What can
change is checked each time: ``again`` asks the store whether it has changed,
and takes the playhead's turn or looks at the clock; counters, log and observer
are updated as for any other hit. The listener checks access and selects the
route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define

from buffr.exchanges.route import Cached, Recorded, Route
from buffr.stores.cache import StoredEntry
from buffr.upstream.bound import Client

__all__ = ["CachedHit", "Hit", "RecordedHit", "Tell"]


Tell = Callable[[Sequence[bytes]], None]
"""Records another such hit, with the values of its volatile fields if it disregards them."""


class Hit(Protocol):
    """A hit, and whether it would be the same now. ``tell`` records another such hit.

    ``volatile`` are the fields whose values make no difference to it, as in
    ``SwitchingSink``; none if one of them does.
    """

    tell: Tell
    volatile: Sequence[bytes]

    @property
    def route(self) -> Route:
        """The route that answered."""

    def again(self, client: Client) -> bool:
        """Whether the request gets the same answer now; if so, it counts as answered.

        ``client`` is the connection on which it arrived.
        """


@define(eq=False)
class RecordedHit:
    """A hit on the only recording of its match key.

    ``name`` is the name under which the playhead counts it. ``generation`` is
    that of the store when the recording was found.
    """

    route: Recorded
    scope: str
    name: bytes
    places: Sequence[int]
    generation: object
    tell: Tell
    volatile: Sequence[bytes] = ()

    def again(self, client: Client) -> bool:  # noqa: ARG002  # as in ``Hit``
        """Take the recording's turn. False if the request may get another answer now."""
        route = self.route
        return (
            route.store.generation() is self.generation
            and route.playhead.next(self.scope, self.name, self.places) is not None
        )


@define(eq=False)
class CachedHit:
    """A hit on a fresh answer, ``found`` under a key.

    From ``since`` until ``until``, in seconds since the epoch, its fields say
    the same: they count whole seconds.
    """

    route: Cached
    key: bytes
    found: Sequence[StoredEntry]
    since: float
    until: float
    now: Callable[[], float]
    tell: Tell
    volatile: Sequence[bytes] = ()

    def again(self, client: Client) -> bool:
        """Use the answer. False if the request may get another one now."""
        route = self.route
        if client.bonds and route.upstream.upstream.holds(client):
            return False
        return self.since <= self.now() < self.until and route.store.unchanged(self.key, self.found)
