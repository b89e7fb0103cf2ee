"""The running service, as the admin listener's pages see it and change it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from attrs import define, evolve, field

from buffr.admin.running import (
    CachePlace,
    Check,
    LeafFigures,
    NamedRoute,
    Open,
    OpenStore,
    RouteIds,
    ServerFigures,
)
from buffr.admin.running import Candidate as Proposed
from buffr.config import Config
from buffr.config.forward import ForwardHost
from buffr.errors import BuffrError, ConfigError
from buffr.exchanges.engine import Engine
from buffr.exchanges.exchange import Counters
from buffr.exchanges.route import Recorded, Route
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Interaction
from buffr.listeners.listener import HTTPListener
from buffr.matching.variants import Identity
from buffr.origin import host_and_port
from buffr.policy.mode import Mode
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules
from buffr.stores.cache import CacheStore
from buffr.stores.cassette.store import Cassette
from buffr.stores.interactions import InteractionSet
from buffr.stores.memory import MemoryInteractions
from buffr.stores.memory_cache import MemoryCache
from buffr.stores.sqlite.interactions import SQLiteInteractions
from buffr.stores.sqlite.store import SQLiteStore
from buffr.tls.contexts import LeafContexts
from buffr.transport.eager import at_once
from buffr.wiring.forward_routes import ForwardRoutes
from buffr.wiring.live_changes import RouteChanges
from buffr.wiring.live_recordings import LiveRecordings, changed_by, element_of
from buffr.wiring.live_rules import Candidate, LiveRules

__all__ = ["LiveService"]


def _enabled(rules: RedactionRules) -> RedactionRules:
    """These rules, also where recordings are not redacted: nothing is shown that is secret."""
    return evolve(rules, enabled=True)


@define(eq=False)
class LiveService:
    """The ``Running`` service of some settings."""

    engine: Engine
    listeners: Sequence[HTTPListener]
    changes: RouteChanges
    live_rules: LiveRules
    recordings: LiveRecordings
    reactor: Any
    leaf_contexts: Callable[[], LeafContexts | None]
    rules: RedactionRules = field(converter=_enabled)
    spool_dir: Path | None = None
    ids: RouteIds = field(factory=RouteIds)
    switched: Callable[[str, Mode], None] = field(init=False, default=lambda *_: None)
    """Called with the id of a route, and the mode that it was switched to here."""
    figures_of_servers: Callable[[], Sequence[ServerFigures]] = field(default=tuple)
    _redactor: Redactor = field(init=False)

    @_redactor.default
    def _redactor_of_rules(self) -> Redactor:
        # Pseudonyms are not those of any cassette: live values are not recorded here.
        return Redactor(self.rules, os.urandom(16), spool_dir=self.spool_dir)

    def redacted(self, interaction: Interaction, types: MessageTypes) -> Interaction:
        redactor = evolve(self._redactor, types=types) if types.declared else self._redactor
        return redactor.interaction(interaction)

    @property
    def config(self) -> Config:
        return self.changes.config

    @property
    def counters(self) -> Counters:
        return self.engine.counters

    def flights(self) -> int:
        return self.engine.flights

    def leaves(self) -> LeafFigures | None:
        leaves = self.leaf_contexts()
        if leaves is None:
            return None
        return LeafFigures(len(leaves), leaves.minted, leaves.asked)

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
        lost = "recordings cannot be written; the log says why"
        stores = [
            Check(one.name, not one.held.losses_noted, lost if one.held.losses_noted else None)
            for one in self.stores()
        ]
        losing = self.engine.loses_recordings
        lately = "recordings were lost within the last minute; the log says why"
        return [
            Check("listeners", not closed, detail),
            Check("recordings", not losing, lately if losing else None),
            *stores,
        ]

    def routes(self) -> Sequence[NamedRoute]:
        return list(self._routes())

    def servers(self) -> Sequence[ServerFigures]:
        return self.figures_of_servers()

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
                return f"{store.id}-{place}", store.id, place - store.places.start
        return None

    def _routes(self) -> Iterator[NamedRoute]:
        changes = self.changes
        for one in changes.reverse:
            self.ids.give(one.route, one.id)
            listens = host_and_port(*one.listener.address)
            modes = changes.modes(one.row)
            yield NamedRoute(one.id, one.name, "reverse", one.route, modes, listens)
        gateway = changes.gateway
        if gateway is not None and gateway.listener is not None:
            at = host_and_port(*gateway.listener.address)
            for name, route in gateway.by_name().items():
                named, row = f"gateway-{name}", changes.row_of(route)
                self.ids.give(route, named)
                modes = () if row is None else changes.modes(row)
                yield NamedRoute(named, name, "gateway", route, modes, f"{at}/{name}")
        if changes.forward is not None:
            yield from self._forward(changes.forward)

    def _forward(self, forward: ForwardRoutes) -> Iterator[NamedRoute]:
        seen: set[str] = set()
        for route in forward.held():
            named, row = self.ids.of(route), self.changes.row_of(route)
            if named in seen or route.origin is None:
                continue
            seen.add(named)
            yield NamedRoute(
                named,
                route.origin.authority.decode("ascii"),
                "forward" if row is not None else "bypass",
                route,
                () if row is None else self.changes.modes(row),
            )

    async def read(
        self, store: OpenStore, places: Sequence[int]
    ) -> Sequence[Interaction | BuffrError]:
        return await self.recordings.read(store, places)

    def element(self, interaction: Interaction) -> dict[str, Any]:
        return element_of(interaction)

    async def edit(
        self,
        store: OpenStore,
        place: int,
        element: Mapping[str, Any] | None,
        note: str | None,
        *,
        sets_note: bool,
        save: bool,
    ) -> None:
        change = changed_by(element, note, sets_note=sets_note)
        await self.recordings.edit(store, place, change, save=save)

    async def remove(self, store: OpenStore, place: int) -> None:
        await self.recordings.remove(store, place)

    def cache_place(self, store: CacheStore) -> CachePlace:
        match store:
            case SQLiteStore():
                return CachePlace(store.path.name, "sqlite", store.path)
            case MemoryCache():
                return CachePlace("memory", "memory")
        return CachePlace("redis", "redis")

    async def with_rules(self, named: NamedRoute, rules: Mapping[str, Any]) -> Candidate:
        assert isinstance(named.route, Recorded)
        return await self.live_rules.candidate(named.route, rules)

    async def accept(self, candidate: Proposed) -> None:
        assert isinstance(candidate, Candidate)
        await self.live_rules.accept(candidate)
        self.routes()

    async def undo(self, candidate: Proposed, named: NamedRoute) -> None:
        assert isinstance(candidate, Candidate)
        assert isinstance(named.route, Recorded)
        await self.live_rules.undo(candidate, named.route)
        self.routes()

    def can_record(self, named: NamedRoute) -> bool:
        row = self.changes.row_of(named.route)
        if row is None or not isinstance(named.route, Recorded):
            return False
        return isinstance(row, ForwardHost) or row.target is not None

    async def record_once(self, named: NamedRoute, identity: Identity, within_s: float) -> str:
        route, row = named.route, self.changes.row_of(named.route)
        upstream = None if row is None else self.changes.upstream(route, row)
        if row is None or upstream is None or not isinstance(route, Recorded):
            raise ConfigError(f"{named.id} has no upstream", hint="give the route a target")
        await self.changes.let_record(route, row)
        route.once.allow(identity, upstream, self.reactor.seconds() + within_s)
        return upstream.upstream.origin.url

    async def set_mode(self, named: NamedRoute, mode: Mode) -> None:
        await self.switch(named, mode)
        self.switched(named.id, mode)

    async def switch(self, named: NamedRoute, mode: Mode) -> None:
        """Switch a route of this process. Raises ``BuffrError``."""
        row = self.changes.row_of(named.route)
        if row is not None and row.mode is not mode:
            await self.changes.change(named.route, evolve(row, mode=mode))
            self.routes()  # which gives the new one its id


def _open_store(held: InteractionSet, routes: Sequence[NamedRoute]) -> OpenStore:
    route = routes[0].route
    assert isinstance(route, Recorded)
    path, name = None, held.where
    kind: Literal["cassette", "sqlite", "memory", "redis"] = "memory"
    match held:
        case Cassette():
            kind, path, name = "cassette", held.path, held.path.name
        case SQLiteInteractions():
            kind, path, name = "sqlite", held.path, f"{held.path.name} {held.name.name}"
        case MemoryInteractions():
            path = held.path
        case _:
            shared: Any = held
            kind, name = "redis", f"{held.where} {shared.name}"
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
        held,
    )
