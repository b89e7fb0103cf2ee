"""What the admin listener's pages know of the running service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, assert_never
from weakref import WeakKeyDictionary

from attrs import define, field, frozen

from buffr.config import Config
from buffr.exchanges.exchange import Counters
from buffr.exchanges.route import Cached, Passing, Recorded, Route
from buffr.policy.mode import Mode

__all__ = ["Check", "Kind", "NamedRoute", "Open", "RouteIds", "Running", "mode_of"]

Kind = Literal["reverse", "gateway", "forward", "bypass"]


@frozen
class Open:
    """A port that is open: its address, connections now, and connections since the start."""

    address: str
    port: int
    connections: int
    accepted: int


@frozen
class Check:
    """One condition for being ready."""

    name: str
    ok: bool
    detail: str | None = None


@frozen(eq=False)
class NamedRoute:
    """A route and how it is shown.

    ``modes`` are those that it can be switched to, ``listens`` is where
    clients reach it.
    """

    id: str
    name: str
    kind: Kind
    route: Route
    modes: tuple[Mode, ...] = ()
    listens: str | None = None


def mode_of(route: Route) -> Mode:
    """The mode of a route."""
    match route:
        case Recorded():
            return route.mode
        case Cached():
            return Mode.CACHE
        case Passing():
            return Mode.PASSTHROUGH
        case other:
            assert_never(other)


@define(eq=False)
class RouteIds:
    """The ids of routes: given ones, or made of the origin behind the forward proxy."""

    _given: WeakKeyDictionary[Route, str] = field(factory=WeakKeyDictionary)

    def give(self, route: Route, name: str) -> None:
        """Give a route an id."""
        self._given[route] = name

    def of(self, route: Route) -> str:
        """The id of a route; the same for all routes to one origin of the forward proxy."""
        known = self._given.get(route)
        if known is None:
            origin = route.origin
            known = "unknown"
            if origin is not None:
                kind = "bypass" if route.src == "bypass" else "forward"
                known = f"{kind}-{origin.scheme}-{origin.host}-{origin.port}"
            self._given[route] = known
        return known


class Running(Protocol):
    """The service behind the pages. All methods are called on the reactor's thread."""

    config: Config
    ids: RouteIds

    @property
    def counters(self) -> Counters: ...

    def open_ports(self) -> Sequence[Open]:
        """The ports that it listens on, without the admin listener's."""

    def checks(self) -> Sequence[Check]:
        """What has to hold for it to be ready."""

    def routes(self) -> Sequence[NamedRoute]:
        """The routes that are there now."""
