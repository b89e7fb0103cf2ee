"""A hit that may be repeated: an identical request skips everything with the same result.

What is remembered depends only on the request's bytes and the recording: the
place in the store, the answer as bytes, the words for the log. What can change
is checked each time: ``again`` asks the store whether it has changed, and
takes the playhead's turn; counters, log and observer are updated as for any
other hit. The listener checks access and selects the route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from buffr.exchanges.route import Recorded

__all__ = ["Hit"]


@define(eq=False)
class Hit:
    """A hit on the only recording of its match key.

    ``name`` is the name under which the playhead counts it. ``generation`` is
    that of the store when the recording was found. ``tell`` records another
    such hit.
    """

    route: Recorded
    scope: str
    name: bytes
    places: Sequence[int]
    generation: object
    tell: Callable[[], None]

    def again(self) -> bool:
        """Take the recording's turn. False if the request may get another answer now."""
        route = self.route
        return (
            route.store.generation() is self.generation
            and route.playhead.next(self.scope, self.name, self.places) is not None
        )
