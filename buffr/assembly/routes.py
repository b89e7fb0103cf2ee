"""Routes by their settings."""

from __future__ import annotations

from typing import Any

from buffr.assembly.caches import Caches
from buffr.assembly.cassettes import Cassettes
from buffr.assembly.matchers import cache_matcher_for, matcher_for
from buffr.assembly.paces import pace_for
from buffr.assembly.upstreams import Upstreams
from buffr.config import Config, ReverseRoute
from buffr.config.limits import Limits
from buffr.explainer import Explainer
from buffr.matching.matcher import Matcher
from buffr.playhead import Playhead, Repeat
from buffr.policy.age import Ages
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.rules import RedactionRules
from buffr.route import Route
from buffr.session_limits import SessionLimits
from buffr.stores.base import Store

__all__ = ["ages_for", "explainer_for", "reverse_route", "session_limits", "shares"]


def shares(mode: Mode, chosen: bool | None, repeat: str) -> bool:  # noqa: FBT001  # as set
    """Whether flights are shared; by default in auto, but for answers that count each."""
    return (mode is Mode.AUTO and repeat != "once") if chosen is None else chosen


def reverse_route(
    row: ReverseRoute,
    config: Config,
    rules: RedactionRules,
    upstreams: Upstreams,
    cassettes: Cassettes,
    caches: Caches,
    reactor: Any,
) -> Route:
    """The one route of a reverse port."""
    cassette = None
    if row.mode.uses_cassette:
        cassette = cassettes.of(row.cassette, row.mode)
    cache = None
    if row.mode is Mode.CACHE and row.target is not None:
        matcher = cache_matcher_for(row.match, rules, with_origin=False)
        cache = caches.of(row.target, row.cache, matcher)
    else:
        matcher = matcher_for(row.match, rules, cassette, row.websocket, with_origin=False)
    upstream = None
    if row.target is not None:
        upstream = upstreams.of(row.target, row.upstream, keep_host=row.keep_host)
    store = None
    if cassette is not None:
        store = cassette.view(matcher.recorded_digest)
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
        session_limits=session_limits(config.limits),
        explainer=explainer_for(row.mode, reactor, store, matcher, rules),
        pace=pace_for(row.limits, reactor),
        ages=ages_for(row.re_record_after_s),
        cache=cache,
    )


def session_limits(limits: Limits) -> SessionLimits:
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


def explainer_for(
    mode: Mode, reactor: Any, store: Store | None, matcher: Matcher, rules: RedactionRules
) -> Explainer | None:
    """What explains the misses of a route: only in replay nothing else answers them."""
    if store is None or mode is not Mode.REPLAY:
        return None
    return Explainer(reactor, store, matcher, rules)
