"""Routes by their settings."""

from __future__ import annotations

from typing import Any

from attrs import asdict
from twisted.logger import LogLevel

from buffr.assembly.cassettes import Cassettes
from buffr.assembly.paces import pace_for
from buffr.assembly.upstreams import Upstreams
from buffr.config import Config, ReverseRoute
from buffr.config.limits import Limits
from buffr.config.matching import MatchSettings
from buffr.config.websocket import WebSocketSettings
from buffr.explainer import Explainer
from buffr.log import say
from buffr.matching.matcher import Matcher
from buffr.matching.rules import IgnoreRule, MatchRules, Normalisation
from buffr.playhead import Playhead, Repeat
from buffr.policy.age import Ages
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.rules import RedactionRules
from buffr.route import Route
from buffr.session_limits import SessionLimits
from buffr.stores.base import Store
from buffr.stores.cassette import Cassette

__all__ = ["ages_for", "explainer_for", "matcher_for", "reverse_route", "session_limits", "shares"]


def shares(mode: Mode, chosen: bool | None, repeat: str) -> bool:  # noqa: FBT001  # as set
    """Whether flights are shared; by default in auto, but for answers that count each."""
    return (mode is Mode.AUTO and repeat != "once") if chosen is None else chosen


def matcher_for(
    settings: MatchSettings,
    rules: RedactionRules,
    cassette: Cassette | None,
    websocket: WebSocketSettings,
    *,
    with_origin: bool,
) -> Matcher:
    """What identifies requests, by a ``match`` section; nothing is looked up without a cassette."""
    ignore = tuple(
        IgnoreRule(
            part=rule.part,
            pattern=rule.pattern,
            replace_with=rule.replace_with,
            sync_response=rule.sync_response,
        )
        for rule in settings.ignore
    )
    matcher = Matcher(
        MatchRules(
            redaction=rules,
            ignore=ignore,
            json=settings.json,
            query=settings.query,
            form=settings.form,
            header=settings.header,
            normalise=Normalisation(**asdict(settings.normalise)),
            frame=websocket.match,
            frame_type=websocket.type_field,
            credentials="constant" if cassette is None else settings.credentials,
        ),
        with_origin=with_origin,
        salt=None if cassette is None else lambda: cassette.salt,
    )
    for warning in matcher.warnings:
        say(LogLevel.warn, warning)
    return matcher


def reverse_route(
    row: ReverseRoute,
    config: Config,
    rules: RedactionRules,
    upstreams: Upstreams,
    cassettes: Cassettes,
    reactor: Any,
) -> Route:
    """The one route of a reverse port."""
    cassette = None
    if row.mode is not Mode.PASSTHROUGH:
        cassette = cassettes.of(row.cassette, row.mode)
    matcher = matcher_for(row.match, rules, cassette, row.websocket, with_origin=False)
    upstream = None
    if row.target is not None:
        upstream = upstreams.of(row.target, row.upstream, keep_host=row.keep_host)
    store = None
    if cassette is not None:
        store = cassette.view(lambda request: matcher.recorded(request).digest)
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
