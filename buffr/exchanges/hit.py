"""A hit that may be one again: the same request, told by its bytes, skips what gives the same.

What is remembered follows from the request's bytes and the recording alone:
the place in the store, the answer as bytes, the words for the log. What can
change is looked at each time: ``again`` asks the store whether it is as it
was, and takes the playhead's turn; counters, log and observer are told as of
any other hit. The listener asks for access and for the route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define

from buffr.exchanges.route import Recorded

__all__ = ["Hit"]


@define(eq=False)
class Hit:
    """A hit on the only recording of its match key.

    ``name`` is what the playhead counts it by. ``generation`` is that of the
    store when the recording was found. ``tell`` notes one more such hit.
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
