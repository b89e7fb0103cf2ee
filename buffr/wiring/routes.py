"""Routes by their settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from attrs import evolve, field, frozen

from buffr.config import Config, ReverseRoute
from buffr.config.gateway import GatewayRow
from buffr.config.kinds import StatusSet
from buffr.config.limits import Limits
from buffr.exchanges.ages import Ages
from buffr.exchanges.explain import Explainer
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.exchanges.route import Route
from buffr.exchanges.session_limits import SessionLimits
from buffr.matching.matcher import Matcher
from buffr.origin import Origin
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.policy.variants import Variants
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Store
from buffr.upstream.upstream import Upstream
from buffr.wiring.caches import Caches
from buffr.wiring.cassettes import Cassettes
from buffr.wiring.matchers import cache_matcher_for, matcher_for
from buffr.wiring.paces import pace_for
from buffr.wiring.upstreams import Upstreams

__all__ = ["RouteMaker", "ages_for", "reverse_route"]


def _shares(mode: Mode, chosen: bool | None, repeat: str) -> bool:  # noqa: FBT001  # as set
    """Whether flights are shared; by default in auto, but for answers that count each."""
    return (mode is Mode.AUTO and repeat != "once") if chosen is None else chosen


class Said(Protocol):
    """What settings say of any route: a port's, a gateway's or the forward proxy's."""

    @property
    def repeat(self) -> str: ...
    @property
    def share(self) -> bool | None: ...
    @property
    def record_statuses(self) -> StatusSet | None: ...
    @property
    def replay_delays(self) -> bool | None: ...
    @property
    def re_record_after_s(self) -> float | None: ...


@frozen(eq=False)
class RouteMaker:
    """Makes routes of what all of a service share."""

    config: Config
    rules: RedactionRules
    upstreams: Upstreams
    cassettes: Cassettes
    caches: Caches
    reactor: Any
    spool_dir: Path | None = None
    bodies: LongBodies = field()

    @bodies.default
    def _one_for_all_routes(self) -> LongBodies:
        return LongBodies(self.reactor)

    def of_row(
        self,
        row: ReverseRoute | GatewayRow,
        upstream: Upstream | None,
        origin: Origin | None = None,
        name: str = "",
    ) -> Route:
        """The route of a row; with an origin it is part of what identifies a request.

        ``name`` is that of its answers in a cache.
        """
        with_origin = origin is not None
        cassette = None
        if row.mode.uses_cassette:
            cassette = self.cassettes.of(row.cassette, row.mode)
        cache = None
        if row.mode is Mode.CACHE and row.target is not None:
            matcher = cache_matcher_for(row.match, self.rules, with_origin=with_origin)
            cache = self.caches.of(row.target, row.cache, matcher, name)
        else:
            matcher = matcher_for(
                row.match, self.rules, cassette, row.websocket, with_origin=with_origin
            )
        store = None if cassette is None else cassette.view(matcher.recorded_key)
        route = self.general(row.mode, row, matcher, store, upstream)
        return evolve(route, origin=origin, pace=pace_for(row.limits, self.reactor), cache=cache)

    def general(
        self,
        mode: Mode,
        said: Said,
        matcher: Matcher,
        store: Store | None,
        upstream: Upstream | None,
    ) -> Route:
        """What is made alike for all routes: one without an origin, limits and a cache."""
        config, delays = self.config, said.replay_delays
        return Route(
            mode=mode,
            upstream=upstream,
            store=store,
            matcher=matcher,
            playhead=Playhead(Repeat(said.repeat)),
            redaction=self.rules,
            share=_shares(mode, said.share, said.repeat),
            record_statuses=said.record_statuses or recorded_by_default(mode),
            replay_delays=config.replay_delays if delays is None else delays,
            spool_dir=self.spool_dir if mode.keeps else None,
            bodies=RouteBodies(self.bodies, matcher, store),
            body_memory_bytes=config.limits.body_memory_bytes,
            linger_s=config.limits.linger_s,
            session_limits=_session_limits(config.limits),
            explainer=_explainer_for(mode, self.reactor, store, matcher, self.rules),
            ages=ages_for(said.re_record_after_s),
            variants=Variants(strict=matcher.strict_variants),
        )


def reverse_route(row: ReverseRoute, maker: RouteMaker) -> Route:
    """The one route of a reverse port."""
    upstream = None
    if row.target is not None:
        upstream = maker.upstreams.of(row.target, row.upstream, keep_host=row.keep_host)
    return maker.of_row(row, upstream)


def _session_limits(limits: Limits) -> SessionLimits:
    """What bounds WebSocket sessions."""
    return SessionLimits(
        message_bytes=limits.websocket_message_bytes,
        recorded_bytes=limits.websocket_session_bytes,
        idle_s=limits.websocket_idle_s,
        close_s=limits.half_close_s,
    )


def ages_for(re_record_after_s: float | None) -> Ages | None:
    """What tells recordings that are too old, where the settings say when they are."""
    return None if re_record_after_s is None else Ages(re_record_after_s)


def _explainer_for(
    mode: Mode, reactor: Any, store: Store | None, matcher: Matcher, rules: RedactionRules
) -> Explainer | None:
    """What explains the misses of a route: only in replay nothing else answers them."""
    if store is None or mode is not Mode.REPLAY:
        return None
    return Explainer(reactor, store, matcher, rules)
