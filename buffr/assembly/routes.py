"""Routes by their settings."""

from __future__ import annotations

from buffr.assembly.cassettes import Cassettes
from buffr.assembly.upstreams import Upstreams
from buffr.config import Config, ReverseRoute
from buffr.config.matching import MatchSettings
from buffr.matching.matcher import Matcher
from buffr.matching.rules import IgnoreRule, MatchRules
from buffr.playhead import Playhead, Repeat
from buffr.policy.mode import Mode
from buffr.policy.statuses import recorded_by_default
from buffr.redaction.rules import RedactionRules
from buffr.route import Route

__all__ = ["matcher_for", "reverse_route"]


def matcher_for(settings: MatchSettings, rules: RedactionRules, *, with_origin: bool) -> Matcher:
    """What identifies requests, by a ``match`` section."""
    ignore = tuple(
        IgnoreRule(
            part=rule.part,
            pattern=rule.pattern,
            replace_with=rule.replace_with,
            sync_response=rule.sync_response,
        )
        for rule in settings.ignore
    )
    return Matcher(
        MatchRules(
            redaction=rules,
            ignore=ignore,
            json=settings.json,
            query=settings.query,
            form=settings.form,
            header=settings.header,
        ),
        with_origin=with_origin,
    )


def reverse_route(
    row: ReverseRoute,
    config: Config,
    rules: RedactionRules,
    upstreams: Upstreams,
    cassettes: Cassettes,
) -> Route:
    """The one route of a reverse port."""
    matcher = matcher_for(row.match, rules, with_origin=False)
    upstream = None
    if row.target is not None:
        upstream = upstreams.of(row.target, row.upstream, keep_host=row.keep_host)
    store = None
    if row.mode is not Mode.PASSTHROUGH:
        cassette = cassettes.of(row.cassette, row.mode)
        store = cassette.view(lambda request: matcher.recorded(request).digest)
    delays = config.replay_delays if row.replay_delays is None else row.replay_delays
    return Route(
        mode=row.mode,
        upstream=upstream,
        store=store,
        matcher=matcher,
        playhead=Playhead(Repeat(row.repeat)),
        redaction=rules,
        share=row.mode is Mode.AUTO if row.share is None else row.share,
        record_statuses=row.record_statuses or recorded_by_default(row.mode),
        replay_delays=delays,
        spool_dir=config.data_dir,
        body_memory_bytes=config.limits.body_memory_bytes,
        linger_s=config.limits.linger_s,
    )
