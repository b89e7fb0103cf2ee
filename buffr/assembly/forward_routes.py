"""The forward proxy's routes: made when an origin is first asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from attrs import evolve
from twisted.internet.protocol import Protocol

from buffr.assembly.matchers import cache_matcher_for, matcher_for
from buffr.assembly.paces import pace_for
from buffr.assembly.routes import RouteMaker, ages_for
from buffr.config import scope_cassette
from buffr.config.forward import ForwardHost, ForwardSettings
from buffr.errors import AccessDenied
from buffr.interaction import IndexEntry
from buffr.matching.key import RecordedKey
from buffr.matching.matcher import Matcher
from buffr.pacing import Pace
from buffr.playhead import Playhead, Repeat
from buffr.policy.access import is_private
from buffr.policy.mode import Mode
from buffr.route import Route
from buffr.stores.cassette import CassetteStore
from buffr.tls.server_name import is_address
from buffr.upstream.origin import Origin

__all__ = ["ForwardRoutes"]

_MOST = 4096


def _key(matcher: Matcher, entry: IndexEntry) -> RecordedKey:
    return matcher.recorded_key(entry)


class ForwardRoutes:
    """Finds the route of an origin and a scope.

    Hosts that share a cassette share its one writer. A cassette's playhead is
    one for all origins in it, as their keys differ.
    """

    def __init__(self, settings: ForwardSettings, maker: RouteMaker) -> None:
        self._settings = settings
        self._maker = maker
        self._bypass = maker.config.bypass
        self._routes: dict[tuple[Origin, Path | None], Route] = {}
        self._known: dict[tuple[Origin, str], Route] = {}
        self._paces: dict[str, Pace | None] = {}
        self._stores: dict[tuple[Path, str], tuple[CassetteStore, Matcher, Playhead]] = {}

    def bypassed(self, host: str, port: int) -> bool:
        return self._bypass.matches(host, port)

    async def of(self, origin: Origin, scope: str) -> Route:
        known = self._known.get((origin, scope))
        if known is None:
            known = await self._found(origin, scope)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[origin, scope] = known
        return known

    async def _found(self, origin: Origin, scope: str) -> Route:
        self._check(origin)
        if self.bypassed(origin.host, origin.port):
            return self._passing(origin)
        row = self._settings.of(origin.host)
        path = self._cassette_path(row, scope)
        known = self._routes.get((origin, path))
        if known is not None:
            return known
        route = await self._made(origin, row, path)
        return self._routes.setdefault((origin, path), self._bounded(route))

    def _bounded(self, route: Route) -> Route:
        while len(self._routes) >= _MOST:
            oldest = self._routes.pop(next(iter(self._routes)))
            if oldest.upstream is not None:
                oldest.upstream.retire()
            self._known.clear()
        return route

    def _denies(self, origin: Origin) -> bool:
        return self._maker.config.denies_private_at(origin.host, origin.port)

    def _check(self, origin: Origin) -> None:
        """Refuse an address at once; where a name leads is seen when it is dialled."""
        if self._denies(origin) and is_address(origin.host) and is_private(origin.host):
            raise AccessDenied(
                "private addresses are not served", hint="forward.deny_private sets it"
            )

    def _cassette_path(self, row: ForwardHost, scope: str) -> Path | None:
        if not row.mode.uses_cassette:
            return None
        if self._settings.scope_cassettes and scope:
            return scope_cassette(row.cassette, scope)
        return row.cassette

    async def _made(self, origin: Origin, row: ForwardHost, path: Path | None) -> Route:
        settings, maker = self._settings, self._maker
        cassette = None if path is None else maker.cassettes.of(path, row.mode)
        matcher = matcher_for(row.match, maker.rules, cassette, row.websocket, with_origin=True)
        store, playhead = None, Playhead(Repeat(settings.repeat))
        if cassette is not None:
            await maker.cassettes.opened(cassette)
            name = (cassette.path, row.host)
            if name not in self._stores:
                view = cassette.view(partial(_key, matcher))
                self._stores[name] = (view, matcher, playhead)
            store, matcher, playhead = self._stores[name]
        upstream = None
        if row.mode is not Mode.REPLAY:
            upstream = maker.upstreams.of(
                origin, row.upstream, deny_private=self._denies(origin), keep_host=False
            )
        cache = None
        if row.mode is Mode.CACHE:
            matcher = cache_matcher_for(row.match, maker.rules, with_origin=True)
            cache = maker.caches.of(origin, row.cache, matcher)
            await maker.caches.opened(row.cache)
        return evolve(
            maker.general(row.mode, settings, matcher, store, upstream),
            playhead=playhead,
            origin=origin,
            pace=self._pace(origin.host, row),
            ages=ages_for(row.re_record_after_s),
            cache=cache,
        )

    def _pace(self, host: str, row: ForwardHost) -> Pace | None:
        """One for each host, whatever the port and the scope: limits are the upstream's."""
        if host not in self._paces:
            if len(self._paces) >= _MOST:
                del self._paces[next(iter(self._paces))]
            self._paces[host] = pace_for(row.limits, self._maker.reactor)
        return self._paces[host]

    def _passing(self, origin: Origin) -> Route:
        """A bypassed host's plain requests are relayed, whatever the mode."""
        known = self._routes.get((origin, None))
        if known is None:
            general, maker = self._settings, self._maker
            upstream = maker.upstreams.of(
                origin, general.upstream, deny_private=self._denies(origin)
            )
            matcher = matcher_for(
                general.match, maker.rules, None, general.websocket, with_origin=True
            )
            route = evolve(
                maker.general(Mode.PASSTHROUGH, general, matcher, None, upstream),
                share=False,
                origin=origin,
                src="bypass",
            )
            known = self._routes[origin, None] = self._bounded(route)
        return known

    async def dial(self, host: str, port: int, protocol: Protocol, *, hops: bytes = b"") -> None:
        origin = Origin("https", host, port)
        self._check(origin)
        options = self._settings.upstream
        await self._maker.upstreams.dial(
            origin, options, protocol, deny_private=self._denies(origin), hops=hops
        )
