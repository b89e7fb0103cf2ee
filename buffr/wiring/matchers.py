"""Builds matchers from ``match`` sections."""

from __future__ import annotations

from attrs import asdict, evolve
from twisted.logger import LogLevel

from buffr.config.route import MatchSettings, WebSocketSettings
from buffr.exchanges.playhead import Repeat
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.log import say
from buffr.matching.matcher import Matcher
from buffr.matching.rules import PRESETS, IgnoreRule, MatchRules, Normalisation
from buffr.redaction.rules import RedactionRules
from buffr.stores.interactions import InteractionSet

__all__ = ["cache_matcher_for", "matcher_for", "repeat_of"]


def repeat_of(repeat: str | None, match: MatchSettings) -> Repeat:
    """What follows the last recording of a request: from the setting, or the preset."""
    return Repeat(repeat or PRESETS[match.preset].repeat)


def matcher_for(
    settings: MatchSettings,
    rules: RedactionRules,
    cassette: InteractionSet,
    websocket: WebSocketSettings,
    types: MessageTypes,
    *,
    with_origin: bool,
) -> Matcher:
    """The matcher of a route's requests and recordings."""
    preset, own = PRESETS[settings.preset], _rules(settings, rules)
    compared = evolve(
        own,
        json=(*preset.json, *own.json),
        ignore=(*preset.ignore, *own.ignore),
        ignore_header=(*preset.ignore_header, *own.ignore_header),
        frame=websocket.match,
        frame_type=websocket.type_field,
        credentials=settings.credentials,
        on=preset.on if settings.on is None else frozenset(settings.on),
        query_pairs=preset.query_pairs,
        bodiless=preset.bodiless,
    )
    return _said(
        Matcher(compared, with_origin=with_origin, salt=lambda: cassette.salt, types=types)
    )


def cache_matcher_for(
    settings: MatchSettings, rules: RedactionRules, types: MessageTypes, *, with_origin: bool
) -> Matcher:
    """The matcher of requests to a cache, whose keys are only stored as digests.

    A cache evaluates conditions itself, and a signed URL may give access to
    content that others must not see.
    """
    compared = _rules(settings, rules)
    exact = evolve(compared.normalise, signatures=False, conditions=False, idempotency=False)
    compared = evolve(compared, credentials="exact", normalise=exact)
    return _said(Matcher(compared, with_origin=with_origin, types=types))


def _rules(settings: MatchSettings, rules: RedactionRules) -> MatchRules:
    ignore = tuple(
        IgnoreRule(
            part=rule.part,
            pattern=rule.pattern,
            replace_with=rule.replace_with,
            sync_response=rule.sync_response,
        )
        for rule in settings.ignore
    )
    return MatchRules(
        redaction=rules,
        ignore=ignore,
        json=settings.json,
        query=settings.query,
        form=settings.form,
        header=settings.header,
        ignore_header=settings.ignore_header,
        variants=settings.variants,
        body_bytes=settings.body_bytes,
        normalise=Normalisation(**asdict(settings.normalise)),
    )


def _said(matcher: Matcher) -> Matcher:
    for warning in matcher.warnings:
        say(LogLevel.warn, warning)
    return matcher
