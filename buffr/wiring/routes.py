"""Builds routes from their settings, with their redaction rules and paces.

A pace makes the requests of a route wait for their turn.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, assert_never

from attrs import evolve, field, frozen
from twisted.logger import LogLevel

from buffr import __version__
from buffr.clock.names import TimeNames
from buffr.clock.session import GivenInstants, SessionClocks
from buffr.config import Config, ReverseRoute
from buffr.config.caching import CacheSettings
from buffr.config.gateway import GatewayRow
from buffr.config.limits import Limits, RateLimits
from buffr.config.route import RouteSettings
from buffr.errors import ConfigError
from buffr.exchanges.ages import Ages
from buffr.exchanges.explain import Explainer
from buffr.exchanges.fleet_pace import FleetPace
from buffr.exchanges.long_bodies import LongBodies, RouteBodies
from buffr.exchanges.pace import Pace, PacedUpstream
from buffr.exchanges.playhead import Playhead, Repeat
from buffr.exchanges.route import (
    Cached,
    Fitting,
    LiveChecks,
    Passing,
    Recorded,
    Route,
    SessionLimits,
    Variants,
)
from buffr.log import say
from buffr.matching.matcher import Matcher
from buffr.matching.rules import PRESETS
from buffr.origin import Origin
from buffr.policy.cache.keys import CacheKeys
from buffr.policy.mode import Mode, recorded_by_default
from buffr.policy.rate_limits import RateRules, Window
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.stores.base import Store
from buffr.upstream.upstream import Upstream
from buffr.wiring.caches import Caches
from buffr.wiring.cassettes import Cassettes, place_of
from buffr.wiring.faults import faults_of
from buffr.wiring.hooks import HookFiles
from buffr.wiring.known_types import KnownTypes
from buffr.wiring.matchers import cache_matcher_for, matcher_for, repeat_of
from buffr.wiring.servers import on_error_of
from buffr.wiring.upstreams import Upstreams

__all__ = ["RouteMaker", "rate_rules", "redaction_rules", "reverse_route"]


def rate_rules(limits: RateLimits) -> RateRules:
    """A ``limits`` section as rules."""
    windows = (
        (limits.per_second, 1, "second"),
        (limits.per_minute, 60, "minute"),
        (limits.per_hour, 3600, "hour"),
    )
    return RateRules(
        windows=tuple(
            Window(count, length_s, name) for count, length_s, name in windows if count is not None
        ),
        max_delay_s=limits.max_delay_s,
        max_waiting=limits.max_waiting,
    )


def _shares(mode: Mode, chosen: bool | None, repeat: Repeat) -> bool:  # noqa: FBT001  # as set
    """Whether flights are shared; by default in mode auto, unless each recording counts once."""
    return (mode is Mode.AUTO and repeat is not Repeat.ONCE) if chosen is None else chosen


def _recorder(config: Config, row: RouteSettings) -> str:
    """What recordings say about the program, its mode, and other settings than the defaults."""
    lenient = row.upstream.lenient
    changed = {
        "redact.enabled=false": not config.redact.enabled,
        "redact.unsafe=warn": config.redact.unsafe == "warn",
        "upstream.lenient=false": not (config.lenient if lenient is None else lenient),
        "keep_host=true": row.keep_host,
        "record_statuses": row.record_statuses is not None,
        "hooks": row.hooks is not None,
    }
    said = [words for words, is_so in changed.items() if is_so]
    return " ".join([f"buffr/{__version__}", f"mode={row.mode.value}", *said])


class _Common(TypedDict):
    """The arguments that all kinds of routes share."""

    redaction: RedactionRules
    spool_dir: Path | None
    body_memory_bytes: int
    linger_s: float
    origin: Origin | None
    session_limits: SessionLimits


@frozen(eq=False)
class RouteMaker:
    """Creates routes from the shared parts of a service."""

    config: Config
    rules: RedactionRules
    upstreams: Upstreams
    cassettes: Cassettes
    caches: Caches
    reactor: Any
    spool_dir: Path | None = None
    bodies: LongBodies = field()
    given: GivenInstants = field(factory=GivenInstants)

    hooks: HookFiles = field()

    @hooks.default
    def _one_thread_for_all_routes(self) -> HookFiles:
        return HookFiles(self.reactor, self.config.limits.hook_s)

    @bodies.default
    def _one_for_all_routes(self) -> LongBodies:
        return LongBodies(self.reactor)

    @property
    def types(self) -> KnownTypes:
        """What is known of protobuf's messages."""
        return self.cassettes.types

    def of_row(
        self,
        row: ReverseRoute | GatewayRow,
        upstream: Upstream | None,
        origin: Origin | None = None,
        name: str = "",
    ) -> Route:
        """The route of a row; an origin becomes part of the match key.

        There is no ``upstream`` in mode replay. ``name`` identifies the
        route's answers in a cache.
        """
        return self.with_faults(self._of_row(row, upstream, origin, name), row)

    def with_faults(self, route: Route, row: RouteSettings) -> Route:
        """The route with the faults of its row. Raises ``ConfigError``."""
        faults = faults_of(row)
        if faults is None:
            return route
        what = "" if route.origin is None else route.origin.url
        say(LogLevel.warn, "faults are on", route=what, seed=str(faults.seed))
        return evolve(route, faults=faults)

    def _of_row(
        self,
        row: ReverseRoute | GatewayRow,
        upstream: Upstream | None,
        origin: Origin | None,
        name: str,
    ) -> Route:
        if upstream is None:
            return self._recorded_row(row, None, origin)
        limits, url = row.limits, upstream.origin.url
        pace = None if limits is None else self.pace(limits, row.cache, url)
        paced = PacedUpstream(upstream, pace)
        match row.mode:
            case Mode.AUTO | Mode.RECORD | Mode.REPLAY:
                return self._recorded_row(row, paced, origin)
            case Mode.CACHE:
                with_origin = origin is not None
                matcher = cache_matcher_for(
                    row.match, self.rules, self.types.of(row.grpc), with_origin=with_origin
                )
                target = upstream.origin
                return self.cached(row.cache, matcher, paced, origin, name or target.url)
            case Mode.PASSTHROUGH:
                return self.passing(paced, origin)
            case other:
                assert_never(other)

    def pace(self, limits: RateLimits, cache: CacheSettings, name: str) -> Pace:
        """The pace of requests to the upstream of a name."""
        arguments = self.reactor, rate_rules(limits), limits.max_hold_s
        shared = self.cassettes.servers.limits(cache, name)
        if shared is None:
            return Pace(*arguments, seconds=time.monotonic, wall=time.time)
        return FleetPace(*arguments, shared, seconds=time.monotonic, wall=time.time)

    def _recorded_row(
        self,
        row: ReverseRoute | GatewayRow,
        upstream: PacedUpstream | None,
        origin: Origin | None,
    ) -> Recorded:
        cassette = self.cassettes.of(place_of(row), row.mode)
        matcher = matcher_for(
            row.match,
            self.rules,
            cassette,
            row.websocket,
            self.types.of_place(place_of(row), row.grpc),
            with_origin=origin is not None,
        )
        store = cassette.view(matcher.recorded_key, matcher.rough)
        store.on_error = on_error_of(row.cache, row.mode)
        return self.recorded(row, matcher, store, upstream, origin)

    def recorded(
        self,
        row: RouteSettings,
        matcher: Matcher,
        store: Store,
        upstream: PacedUpstream | None,
        origin: Origin | None,
        playhead: Playhead | None = None,
    ) -> Recorded:
        """A route that replays or records; in mode replay it calls no upstream."""
        mode, delays, re_record_after_s = row.mode, row.replay_delays, row.re_record_after_s
        playhead = playhead or Playhead(repeat_of(row.repeat, row.match))
        in_dialogue = PRESETS[row.match.preset].in_dialogue  # whose answers are for one client
        checks = None
        if row.check_live and upstream is not None:
            checks = self._checks(row.check_live, upstream)
        return Recorded(
            **self._common(origin, keeps=mode.records),
            mode=mode,
            upstream=None if mode is Mode.REPLAY else upstream,
            store=store,
            matcher=matcher,
            bodies=RouteBodies(self.bodies, matcher, store),
            playhead=playhead,
            explainer=Explainer(self.reactor, store, matcher, self.rules, playhead),
            share=not in_dialogue and _shares(mode, row.share, playhead.repeat),
            record_statuses=row.record_statuses or recorded_by_default(mode),
            replay_delays=self.config.replay_delays if delays is None else delays,
            ages=None if re_record_after_s is None else Ages(re_record_after_s),
            fleet=self.cassettes.servers.fleet_of(store),
            variants=Variants(strict=matcher.strict_variants),
            fitting=self._fitting(row),
            recorded_by=_recorder(self.config, row),
            in_dialogue=in_dialogue,
            hooks=self.hooks.of(row.hooks),
            checks=checks,
            reflection=self.types.reflection(self.reactor, row, matcher.types),
        )

    def _checks(self, share: float, upstream: PacedUpstream) -> LiveChecks:
        """What asks the live API on the side, at the pace of its upstream."""
        from buffr.wiring.live_api import checks_of  # noqa: PLC0415  # few routes have any

        return checks_of(share, self.config, self.rules, upstream, self.reactor)

    def _fitting(self, row: RouteSettings) -> Fitting:
        """How a route's recordings are fitted to the present; its clock starts with it."""
        clock, said = None, row.replay_clock
        if said.show != "recorded":
            names = TimeNames(also=said.json, never=said.keep)
            clock = SessionClocks(names, self.given, bodies=said.show == "shifted")
        return Fitting(row.replay_retry_after_s, row.end_of_stream == "client", clock)

    def cached(
        self,
        settings: CacheSettings,
        matcher: Matcher,
        upstream: PacedUpstream,
        origin: Origin | None,
        name: str,
    ) -> Cached:
        """A route that caches; its store is not yet opened if it is new.

        Routes of the same ``name`` share their answers.
        """
        store, rules = self.caches.of(settings), self.caches.rules(settings)
        return Cached(
            **self._common(origin, keeps=True),
            upstream=upstream,
            name=name,
            rules=rules,
            store=store,
            keys=CacheKeys(matcher, self.rules, rules, name, partial(getattr, store, "salt")),
            matcher=matcher,
            bodies=RouteBodies(self.bodies, matcher, None),
            flights=self.cassettes.servers.flights(settings),
        )

    def passing(
        self, upstream: PacedUpstream, origin: Origin | None, src: str = "upstream"
    ) -> Passing:
        """A route that relays, and stores nothing."""
        return Passing(**self._common(origin, keeps=False), upstream=upstream, src=src)

    def _common(self, origin: Origin | None, *, keeps: bool) -> _Common:
        limits = self.config.limits
        return {
            "redaction": self.rules,
            "spool_dir": self.spool_dir if keeps else None,
            "body_memory_bytes": limits.body_memory_bytes,
            "linger_s": limits.linger_s,
            "origin": origin,
            "session_limits": _session_limits(limits),
        }


def reverse_route(row: ReverseRoute, maker: RouteMaker) -> Route:
    """The one route of a reverse port."""
    upstream = None
    if row.target is not None:
        upstream = maker.upstreams.of(row.target, row.upstream, keep_host=row.keep_host)
    return maker.of_row(row, upstream)


def _session_limits(limits: Limits) -> SessionLimits:
    """The limits of WebSocket sessions."""
    return SessionLimits(
        message_bytes=limits.websocket_message_bytes,
        recorded_bytes=limits.websocket_session_bytes,
        idle_s=limits.websocket_idle_s,
        close_s=limits.half_close_s,
    )


def redaction_rules(config: Config) -> RedactionRules:
    """The rules of the ``redact`` section. Raises ``ConfigError``.

    An invalid rule is an error, not a warning: without it, secrets would be
    written.
    """
    settings = config.redact
    rules = RedactionRules.with_extra(
        headers=settings.headers,
        fields=settings.query,
        json=settings.json,
        patterns=settings.patterns,
        unsafe=settings.unsafe,
        enabled=settings.enabled,
        compared=_compared(config),
    )
    try:
        scanner_of(rules)
    except ValueError as error:
        raise ConfigError(f"redact.{error}", hint="fix or remove it") from error
    return rules


def _compared(config: Config) -> set[str]:
    """The header fields in any route's ``match.header``; cassettes may be shared."""
    matches = [row.match for row in config.reverse]
    if config.gateway is not None:
        matches += [row.match for row in config.gateway.routes]
    if config.forward is not None:
        hosts = [row.match for row in config.forward.hosts if row.match is not None]
        matches += [config.forward.match, *hosts]
    return {name for match in matches for name in match.header}
