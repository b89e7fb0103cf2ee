"""The forward proxy's routes: made when an origin is first asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Protocol

from buffr.assembly.caches import Caches
from buffr.assembly.cassettes import Cassettes
from buffr.assembly.matchers import cache_matcher_for, matcher_for
from buffr.assembly.paces import pace_for
from buffr.assembly.routes import ages_for, explainer_for, session_limits, shares
from buffr.assembly.upstreams import Upstreams
from buffr.config import Config, scope_cassette
from buffr.config.forward import ForwardHost, ForwardSettings
from buffr.errors import AccessDenied
from buffr.interaction import RecordedRequest
from buffr.matching.matcher import Matcher
from buffr.pacing import Pace
from buffr.playhead import Playhead, Repeat
from buffr.policy.access import is_private
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.rules import RedactionRules
from buffr.route import Route
from buffr.stores.cassette import CassetteStore
from buffr.tls.server_name import is_address
from buffr.upstream.origin import Origin

__all__ = ["ForwardRoutes"]

_MOST = 4096


def _digest(matcher: Matcher, request: RecordedRequest) -> bytes:
    return matcher.recorded_digest(request)


class ForwardRoutes:
    """Finds the route of an origin and a scope.

    Hosts that share a cassette share its one writer. A cassette's playhead is
    one for all origins in it, as their keys differ.
    """

    def __init__(
        self,
        settings: ForwardSettings,
        config: Config,
        rules: RedactionRules,
        upstreams: Upstreams,
        cassettes: Cassettes,
        caches: Caches,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._config = config
        self._rules = rules
        self._upstreams = upstreams
        self._cassettes = cassettes
        self._caches = caches
        self._reactor = reactor
        self._bypass = config.bypass
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
        return self._config.denies_private_at(origin.host, origin.port)

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
        settings, config = self._settings, self._config
        cassette = None if path is None else self._cassettes.of(path, row.mode)
        matcher = matcher_for(row.match, self._rules, cassette, row.websocket, with_origin=True)
        store, playhead = None, Playhead(Repeat(settings.repeat))
        if cassette is not None:
            await self._cassettes.opened(cassette)
            name = (cassette.path, row.host)
            if name not in self._stores:
                view = cassette.view(partial(_digest, matcher))
                self._stores[name] = (view, matcher, playhead)
            store, matcher, playhead = self._stores[name]
        upstream = None
        if row.mode is not Mode.REPLAY:
            upstream = self._upstreams.of(
                origin, row.upstream, deny_private=self._denies(origin), keep_host=False
            )
        cache = None
        if row.mode is Mode.CACHE:
            matcher = cache_matcher_for(row.match, self._rules, with_origin=True)
            cache = self._caches.of(origin, row.cache, matcher)
            await self._caches.opened(row.cache)
        delays = settings.replay_delays
        return Route(
            mode=row.mode,
            upstream=upstream,
            store=store,
            matcher=matcher,
            playhead=playhead,
            redaction=self._rules,
            share=shares(row.mode, settings.share, settings.repeat),
            record_statuses=settings.record_statuses or recorded_by_default(row.mode),
            replay_delays=config.replay_delays if delays is None else delays,
            spool_dir=config.data_dir,
            body_memory_bytes=config.limits.body_memory_bytes,
            linger_s=config.limits.linger_s,
            session_limits=session_limits(config.limits),
            origin=origin,
            explainer=explainer_for(row.mode, self._reactor, store, matcher, self._rules),
            pace=self._pace(origin.host, row),
            ages=ages_for(row.re_record_after_s),
            cache=cache,
        )

    def _pace(self, host: str, row: ForwardHost) -> Pace | None:
        """One for each host, whatever the port and the scope: limits are the upstream's."""
        if host not in self._paces:
            if len(self._paces) >= _MOST:
                del self._paces[next(iter(self._paces))]
            self._paces[host] = pace_for(row.limits, self._reactor)
        return self._paces[host]

    def _passing(self, origin: Origin) -> Route:
        """A bypassed host's plain requests are relayed, whatever the mode."""
        known = self._routes.get((origin, None))
        if known is None:
            general = self._settings
            route = Route(
                mode=Mode.PASSTHROUGH,
                upstream=self._upstreams.of(
                    origin, self._settings.upstream, deny_private=self._denies(origin)
                ),
                store=None,
                matcher=matcher_for(
                    general.match, self._rules, None, general.websocket, with_origin=True
                ),
                playhead=Playhead(Repeat.CYCLE),
                redaction=self._rules,
                share=False,
                record_statuses=(),
                replay_delays=False,
                spool_dir=self._config.data_dir,
                origin=origin,
                src="bypass",
                session_limits=session_limits(self._config.limits),
            )
            known = self._routes[origin, None] = self._bounded(route)
        return known

    async def dial(self, host: str, port: int, protocol: Protocol) -> None:
        origin = Origin("https", host, port)
        self._check(origin)
        options = self._settings.upstream
        await self._upstreams.dial(origin, options, protocol, deny_private=self._denies(origin))
