"""The forward proxy's routes: created when an origin is first requested, released when idle."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve, frozen
from twisted.internet.protocol import Protocol

from buffr.config.forward import ForwardHost, ForwardSettings
from buffr.exchanges.pace import Pace, PacedUpstream
from buffr.exchanges.playhead import Playhead
from buffr.exchanges.route import Route
from buffr.matching.matcher import Matcher
from buffr.origin import Origin
from buffr.policy.mode import Mode
from buffr.stores.interactions import IndexedStore
from buffr.wiring.cassettes import Place, SharedCassette, place_of
from buffr.wiring.held_routes import Held, HeldRoutes, Name
from buffr.wiring.matchers import cache_matcher_for, matcher_for, repeat_of
from buffr.wiring.remembered import Remembered
from buffr.wiring.routes import RouteMaker
from buffr.wiring.servers import on_error_of

__all__ = ["ForwardRoutes"]

_MOST_READY = 4096
_MOST_REMEMBERED = 50_000
"""Playheads and limits of released hosts; about 1 KB each."""


@frozen(eq=False)
class _View:
    """The shared parts of the origins of one row with the same cassette."""

    cassette: SharedCassette
    store: IndexedStore
    matcher: Matcher
    playhead: Playhead


class ForwardRoutes:
    """Finds the route of an origin and a scope: created when first requested, released when idle.

    Hosts that share a cassette share its only writer. A cassette has one
    playhead for all its origins, since their keys differ. Playheads and limits
    outlive the routes, so a host that comes back continues where it was.
    """

    def __init__(self, settings: ForwardSettings, maker: RouteMaker) -> None:
        limits = maker.config.limits
        self.settings = settings
        self._maker = maker
        self.destinations = maker.config.destinations
        self._held = HeldRoutes(limits.hosts, limits.host_idle_s, self._let_go)
        self.ready: dict[tuple[Origin, str], Route] = {}
        self._views: dict[SharedCassette, dict[str, _View]] = {}
        self._leaving: list[Held] = []
        self._playheads: Remembered[Playhead] = Remembered(_MOST_REMEMBERED)
        self._paces: Remembered[Pace] = Remembered(_MOST_REMEMBERED)

    async def of(self, origin: Origin, scope: str) -> Route:
        self.destinations.check(origin.host, origin.port)
        if self.destinations.bypassed(origin.host, origin.port):
            route = self._held.find((origin, None)) or self._passing(origin)
        else:
            row = self.settings.of(origin.host)
            name = origin, self._place(row, scope)
            route = self._held.find(name) or await self._made(name, row)
        if len(self.ready) >= _MOST_READY:
            self.ready.clear()
        self.ready[origin, scope] = route
        return route

    def _place(self, row: ForwardHost, scope: str) -> Place | None:
        if not row.mode.uses_cassette:
            return None
        return place_of(row, scope if self.settings.scope_cassettes else "")

    async def _made(self, name: Name, row: ForwardHost) -> Route:
        """A new route, or that of another request if it was created meanwhile."""
        origin, place = name
        if place is None:
            route = await self._without_cassette(origin, row)
            route = self._maker.with_faults(route, row)
            return self._held.find(name) or self._hold(name, route, None)
        view = await self._view(place, row)
        try:
            known = self._held.find(name)
            if known is None:
                calls = row.mode is not Mode.REPLAY or row.check_live > 0
                upstream = self._upstream(origin, row) if calls else None
                route = self._maker.recorded(
                    row, view.matcher, view.store, upstream, origin, view.playhead
                )
                if row.mode is Mode.REPLAY:
                    route.explainer.begin()
                return self._hold(name, self._maker.with_faults(route, row), view.cassette)
        except BaseException:
            self._give_back(view.cassette)
            raise
        self._give_back(view.cassette)
        return known

    async def _without_cassette(self, origin: Origin, row: ForwardHost) -> Route:
        maker, upstream = self._maker, self._upstream(origin, row)
        if row.mode is not Mode.CACHE:
            return maker.passing(upstream, origin)
        matcher = cache_matcher_for(
            row.match, maker.rules, maker.types.of(row.grpc), with_origin=True
        )
        route = maker.cached(row.cache, matcher, upstream, origin, origin.url)
        await maker.caches.opened(row.cache)
        return route

    def _upstream(self, origin: Origin, row: ForwardHost) -> PacedUpstream:
        deny_private = self.destinations.denies_private(origin.host, origin.port)
        upstream = self._maker.upstreams.of(
            origin, row.upstream, keep_host=row.keep_host, deny_private=deny_private
        )
        return PacedUpstream(upstream, self._pace(origin.host, row))

    def _hold(self, name: Name, route: Route, cassette: SharedCassette | None) -> Route:
        self._held.add(name, Held(route, cassette, self._maker.reactor.seconds()))
        return route

    async def _view(self, place: Place, row: ForwardHost) -> _View:
        """What a row's origins share of a cassette, which is borrowed and opened once more."""
        cassettes = self._maker.cassettes
        cassette = await cassettes.borrow(place, row.mode)
        try:
            views = self._views.setdefault(cassette, {})
            # Created before the file is read, so its index is not built on the reactor's thread.
            view = views.get(row.host)
            if view is None:
                view = views[row.host] = self._new_view(cassette, row)
            await cassettes.opened(cassette)
            if row.mode.records:
                await cassettes.let_record(cassette)
        except BaseException:
            self._give_back(cassette)
            raise
        return view

    def _new_view(self, cassette: SharedCassette, row: ForwardHost) -> _View:
        matcher = matcher_for(
            row.match,
            self._maker.rules,
            cassette.cassette,
            row.websocket,
            self._maker.types.of_place(cassette.place, row.grpc),
            with_origin=True,
        )
        store = cassette.cassette.view(matcher.recorded_key, matcher.rough)
        store.on_error = on_error_of(row.cache, row.mode)
        repeat = repeat_of(row.repeat, row.match)
        playhead = self._playheads.of((str(cassette.real), row.host), lambda: Playhead(repeat))
        return _View(cassette, store, matcher, playhead)

    def _give_back(self, cassette: SharedCassette) -> None:
        if self._maker.cassettes.give_back(cassette):
            for host, view in self._views.pop(cassette, {}).items():
                if not view.playhead.is_new:
                    self._playheads.keep((str(cassette.real), host), view.playhead)

    def _pace(self, host: str, row: ForwardHost) -> Pace | None:
        """One for each host, regardless of port and scope: limits apply to the upstream."""
        limits = row.limits
        if limits is None:
            return None
        return self._paces.of(host, lambda: self._maker.pace(limits, row.cache, host))

    def _passing(self, origin: Origin) -> Route:
        """The route of a bypassed host's plain requests, which are relayed in any mode."""
        general, maker = self.settings, self._maker
        deny_private = self.destinations.denies_private(origin.host, origin.port)
        upstream = maker.upstreams.of(
            origin, general.upstream, keep_host=general.keep_host, deny_private=deny_private
        )
        route = maker.passing(PacedUpstream(upstream), origin, src="bypass")
        return self._hold((origin, None), route, None)

    def held(self) -> Iterable[Route]:
        """The routes that are there now."""
        return list(self._held.routes())

    def place_of(self, route: Route) -> Place | None:
        """Where the recordings of a route are."""
        return next((name[1] for name, held in self._held.items() if held.route is route), None)

    def replace(self, row: ForwardHost) -> ForwardSettings:
        """Serve later requests to the hosts of a row by this one; returns the new settings."""
        others = [one for one in self.settings.hosts if one.host != row.host]
        at = next((n for n, one in enumerate(self.settings.hosts) if one.host == row.host), None)
        others.insert(len(others) if at is None else at, row)
        self.settings = evolve(self.settings, hosts=tuple(others))
        config = evolve(self._maker.config, forward=self.settings)
        self.destinations = config.destinations
        self._maker = evolve(self._maker, config=config)
        for cassette, views in self._views.items():
            view = views.pop(row.host, None)
            if view is not None:
                self._playheads.keep((str(cassette.real), row.host), view.playhead)
        of = self.settings.of
        self._leaving += self._held.take(lambda name: of(name[0].host).host == row.host)
        self.ready.clear()
        self._let_idle_go()
        return self.settings

    def _let_idle_go(self) -> None:
        """Let go of replaced routes on which nothing is under way any more."""
        leaving, self._leaving = self._leaving, []
        for held in leaving:
            if held.route.uses.under_way:
                self._leaving.append(held)
            else:
                self._let_go(held)

    def sweep(self) -> None:
        """Release routes that were idle for too long; called periodically."""
        self._let_idle_go()
        self._held.sweep(self._maker.reactor.seconds())

    def let_all_go(self) -> bool:
        """Let go of all routes that are idle; whether none is left."""
        return self._held.let_all_go()

    def _let_go(self, held: Held) -> None:
        self.ready.clear()
        route = held.route
        upstream = route.upstream
        if upstream is not None:
            upstream.upstream.retire()
            pace = upstream.pace
            if pace is not None and not pace.quiet:
                self._paces.keep(upstream.upstream.origin.host, pace)
        if held.cassette is not None:
            self._give_back(held.cassette)

    async def dial(self, host: str, port: int, protocol: Protocol, *, hops: bytes = b"") -> None:
        origin = Origin("https", host, port)
        self.destinations.check(host, port)
        options = self.settings.upstream
        deny_private = self.destinations.denies_private(host, port)
        await self._maker.upstreams.dial(
            origin, options, protocol, deny_private=deny_private, hops=hops
        )
