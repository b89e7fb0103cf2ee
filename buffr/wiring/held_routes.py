"""Routes created on demand: kept while they are used, and for some time afterwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from attrs import define

from buffr.exchanges.route import Route
from buffr.origin import Origin
from buffr.wiring.cassettes import Place, SharedCassette

__all__ = ["Held", "HeldRoutes", "Name"]

Name = tuple[Origin, Place | None]
"""An origin, and where its recordings are: with scopes, one origin may have several."""


@define(eq=False)
class Held:
    """A route, its borrowed cassette, and since when it has been idle, as currently known."""

    route: Route
    cassette: SharedCassette | None
    idle_since_s: float


class HeldRoutes:
    """Routes by name, each until it was idle for ``idle_s`` seconds or there are too many.

    Zero seconds means no limit. Of more than ``most`` routes, one that was
    idle for long is dropped first; a route in use is never dropped, so there
    may be more while they are in use. ``let_go`` is called with a dropped one.
    """

    def __init__(self, most: int, idle_s: float, let_go: Callable[[Held], None]) -> None:
        self._most = most
        self._idle_s = idle_s
        self._let_go = let_go
        self._held: OrderedDict[Name, Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def find(self, name: Name) -> Route | None:
        held = self._held.get(name)
        return None if held is None else held.route

    def routes(self) -> Iterator[Route]:
        """All that are held."""
        return (held.route for held in self._held.values())

    def items(self) -> Iterator[tuple[Name, Held]]:
        """All that are held, by their names."""
        return iter(list(self._held.items()))

    def take(self, fits: Callable[[Name], bool]) -> list[Held]:
        """Take those out whose names fit, also if they are in use."""
        names = [name for name in self._held if fits(name)]
        return [self._held.pop(name) for name in names]

    def add(self, name: Name, held: Held) -> None:
        """Keep a new route. Its use begins before others are added."""
        self._make_room(held.idle_since_s)
        self._held[name] = held

    def sweep(self, now_s: float) -> None:
        """Drop routes that were idle for too long; called periodically."""
        for name, held in list(self._held.items()):
            used = self._was_used(name, held, now_s)
            if not used and 0 < self._idle_s <= now_s - held.idle_since_s:
                self._drop(name)

    def let_all_go(self) -> bool:
        """Let go of all that nothing is under way on; whether none is left."""
        for name, held in list(self._held.items()):
            if not held.route.uses.under_way:
                self._drop(name)
        return not self._held

    def _make_room(self, now_s: float) -> None:
        """By the clock algorithm: a route used since the last check is skipped once."""
        for _ in range(2 * len(self._held)):
            if len(self._held) < self._most:
                return
            name, held = next(iter(self._held.items()))
            if not self._was_used(name, held, now_s):
                self._drop(name)

    def _was_used(self, name: Name, held: Held, now_s: float) -> bool:
        """Whether a route is in use, or was used since the last check."""
        uses = held.route.uses
        if not (uses.under_way or uses.lately):
            return False
        uses.lately = False
        held.idle_since_s = now_s
        self._held.move_to_end(name)
        return True

    def _drop(self, name: Name) -> None:
        self._let_go(self._held.pop(name))
