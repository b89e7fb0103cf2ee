"""The running service, as the admin listener's pages see it and change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from buffr.admin.running import Check, NamedRoute, Open, RouteIds
from buffr.config import Config, ReverseRoute
from buffr.exchanges.engine import Engine
from buffr.exchanges.exchange import Counters
from buffr.exchanges.route import Route
from buffr.listeners.listener import HTTPListener
from buffr.origin import host_and_port
from buffr.policy.mode import Mode
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.live_gateway import LiveGateway

__all__ = ["LiveReverse", "LiveService"]


@define(eq=False)
class LiveReverse:
    """A reverse port: its row, its route, and its listener."""

    row: ReverseRoute
    route: Route
    listener: HTTPListener

    @property
    def id(self) -> str:
        """By the port, which no other route has."""
        return f"reverse-{self.listener.port if self.row.port == 0 else self.row.port}"

    @property
    def name(self) -> str:
        target = self.row.target
        return self.id if target is None else target.authority.decode("ascii")


@define(eq=False)
class LiveService:
    """The ``Running`` service of some settings."""

    config: Config
    engine: Engine
    listeners: Sequence[HTTPListener]
    reverse: Sequence[LiveReverse]
    gateway: LiveGateway | None
    forward: ForwardRoutes | None
    ids: RouteIds = field(factory=RouteIds)

    @property
    def counters(self) -> Counters:
        return self.engine.counters

    def open_ports(self) -> Sequence[Open]:
        return [
            Open(*listener.address, listener.connections, listener.accepted)
            for listener in self.listeners
        ]

    def checks(self) -> Sequence[Check]:
        closed = [
            host_and_port(*listener.address)
            for listener in self.listeners
            if not listener.running or listener.stopping
        ]
        detail = f"not listening on {', '.join(closed)}" if closed else None
        return [Check("listeners", not closed, detail)]

    def routes(self) -> Sequence[NamedRoute]:
        return list(self._routes())

    def _routes(self) -> Iterator[NamedRoute]:
        for one in self.reverse:
            self.ids.give(one.route, one.id)
            modes = tuple(Mode) if one.row.target is not None else (Mode.REPLAY,)
            listens = host_and_port(*one.listener.address)
            yield NamedRoute(one.id, one.name, "reverse", one.route, modes, listens)
        if self.gateway is not None:
            assert self.gateway.listener is not None
            at = host_and_port(*self.gateway.listener.address)
            for name, route in self.gateway.by_name().items():
                named = f"gateway-{name}"
                self.ids.give(route, named)
                yield NamedRoute(named, name, "gateway", route, tuple(Mode), f"{at}/{name}")
        if self.forward is not None:
            yield from self._forward(self.forward)

    def _forward(self, forward: ForwardRoutes) -> Iterator[NamedRoute]:
        seen: set[str] = set()
        for route in forward.held():
            named = self.ids.of(route)
            if named in seen or route.origin is None:
                continue
            seen.add(named)
            bypassed = route.src == "bypass"
            yield NamedRoute(
                named,
                route.origin.authority.decode("ascii"),
                "bypass" if bypassed else "forward",
                route,
                () if bypassed else tuple(Mode),
            )
