"""The gateway's routes by their settings."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from buffr.assembly.caches import Caches
from buffr.assembly.cassettes import Cassettes
from buffr.assembly.matchers import cache_matcher_for, matcher_for
from buffr.assembly.paces import pace_for
from buffr.assembly.routes import ages_for, explainer_for, session_limits, shares
from buffr.assembly.upstreams import Upstreams
from buffr.config import Config
from buffr.config.gateway import GatewayRow, GatewaySettings
from buffr.listeners.gateway import GatewayRoute
from buffr.listeners.way_back import Outside
from buffr.playhead import Playhead, Repeat
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.rules import RedactionRules
from buffr.route import Route

__all__ = ["gateway_routes"]


def gateway_routes(
    settings: GatewaySettings,
    config: Config,
    rules: RedactionRules,
    upstreams: Upstreams,
    cassettes: Cassettes,
    caches: Caches,
    reactor: Any,
) -> dict[bytes, GatewayRoute]:
    """The routes by their names in paths. Raises ``ConfigError``."""

    def route(row: GatewayRow) -> Route:
        # Requests come with the upstream's whole path: a recording has it as its URL says.
        origin = evolve(row.target, base_path="")
        cassette = None
        if row.mode.uses_cassette:
            cassette = cassettes.of(row.cassette, row.mode)
        cache = None
        if row.mode is Mode.CACHE:
            matcher = cache_matcher_for(row.match, rules, with_origin=True)
            cache = caches.of(row.target, row.cache, matcher, row.name)
        else:
            matcher = matcher_for(row.match, rules, cassette, row.websocket, with_origin=True)
        store = None
        if cassette is not None:
            store = cassette.view(matcher.recorded_digest)
        upstream = None
        if row.mode is not Mode.REPLAY:
            upstream = upstreams.of(origin, row.upstream, keep_host=row.keep_host)
        delays = config.replay_delays if row.replay_delays is None else row.replay_delays
        return Route(
            mode=row.mode,
            upstream=upstream,
            store=store,
            matcher=matcher,
            playhead=Playhead(Repeat(row.repeat)),
            redaction=rules,
            share=shares(row.mode, row.share, row.repeat),
            record_statuses=row.record_statuses or recorded_by_default(row.mode),
            replay_delays=delays,
            spool_dir=config.data_dir,
            body_memory_bytes=config.limits.body_memory_bytes,
            linger_s=config.limits.linger_s,
            origin=origin,
            explainer=explainer_for(row.mode, reactor, store, matcher, rules),
            pace=pace_for(row.limits, reactor),
            session_limits=session_limits(config.limits),
            ages=ages_for(row.re_record_after_s),
            cache=cache,
        )

    made = {}
    for row in settings.routes:
        name = row.name.encode("ascii")
        made[name] = GatewayRoute(Outside(name, row.target), route(row))
    return made
