"""The running service, as the admin listener's pages see it and change it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from attrs import define, evolve, field

from buffr.admin.running import Check, NamedRoute, Open, OpenStore, RouteIds
from buffr.config import Config, ReverseRoute
from buffr.exchanges.engine import Engine
from buffr.exchanges.exchange import Counters
from buffr.exchanges.route import Recorded, Route
from buffr.interaction import Interaction
from buffr.listeners.listener import HTTPListener
from buffr.origin import host_and_port
from buffr.policy.mode import Mode
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cassette.store import Cassette
from buffr.stores.interactions import InteractionSet
from buffr.stores.memory import MemoryInteractions
from buffr.stores.sqlite.interactions import SQLiteInteractions
from buffr.transport.eager import at_once
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.live_gateway import LiveGateway

__all__ = ["LiveReverse", "LiveService"]


def _enabled(rules: RedactionRules) -> RedactionRules:
    """These rules, also where recordings are not redacted: nothing is shown that is secret."""
    return evolve(rules, enabled=True)


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
    rules: RedactionRules = field(converter=_enabled)
    spool_dir: Path | None = None
    ids: RouteIds = field(factory=RouteIds)
    _redactor: Redactor = field(init=False)

    @_redactor.default
    def _redactor_of_rules(self) -> Redactor:
        # Pseudonyms are not those of any cassette: live values are not recorded here.
        return Redactor(self.rules, os.urandom(16), spool_dir=self.spool_dir)

    def redacted(self, interaction: Interaction) -> Interaction:
        return self._redactor.interaction(interaction)

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

    def stores(self) -> Sequence[OpenStore]:
        found: dict[InteractionSet, list[NamedRoute]] = {}
        for one in self.routes():
            if isinstance(one.route, Recorded):
                held: Any = one.route.store  # wiring knows what it is
                found.setdefault(held.interactions, []).append(one)
        return [_open_store(held, routes) for held, routes in found.items()]

    def reference(self, route: Route, place: int) -> tuple[str | None, str, int] | None:
        for store in self.stores():
            if self.ids.of(route) in store.routes and place in store.places:
                return None, store.id, place - store.places.start
        return None

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


def _open_store(held: InteractionSet, routes: Sequence[NamedRoute]) -> OpenStore:
    route = routes[0].route
    assert isinstance(route, Recorded)
    path, name = None, held.where
    kind: Literal["cassette", "sqlite", "memory"] = "memory"
    match held:
        case Cassette():
            kind, path, name = "cassette", held.path, held.path.name
        case SQLiteInteractions():
            kind, path, name = "sqlite", held.path, f"{held.path.name} {held.name.name}"
        case MemoryInteractions():
            path = held.path
    return OpenStore(
        blake2b(f"{kind} {name} {path}".encode(), digest_size=5).hexdigest(),
        name,
        kind,
        path,
        route.store,
        at_once(route.store.places()) or range(0),
        isinstance(held, Cassette),
        tuple(one.id for one in routes),
        route.matcher,
    )
