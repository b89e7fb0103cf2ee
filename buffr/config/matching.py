"""What counts in matching, as settings say it."""

from __future__ import annotations

from typing import Literal, get_args

from attrs import field, frozen

from buffr.config import kinds, quantities
from buffr.config.schema import described, setting
from buffr.config.shapes import ListOf, Rules, Section

__all__ = ["Credentials", "IgnoreRule", "MatchSettings", "NormaliseSettings", "VariantsRule"]

Credentials = Literal["constant", "distinct"]
VariantsRule = Literal["lenient", "strict"]


@frozen(kw_only=True)
class IgnoreRule:
    """A stretch of a request that does not count in matching.

    ``part`` is ``request.body``, ``request.path``, ``request.query``,
    ``websocket.frame``, or ``request.header.`` and a lower-case name.
    ``pattern`` is not yet known to be valid RE2.
    """

    part: str = field(
        metadata=described(kinds.IGNORE_PART, "The part that the pattern is for.", key="in")
    )
    pattern: str = field(metadata=described(kinds.PATTERN, "What is replaced before matching."))
    replace_with: str = setting(kinds.LITERAL, "", "What takes its place, literally.")
    sync_response: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether what was recorded in its place becomes the live one in a replayed answer.",
    )


@frozen(kw_only=True)
class NormaliseSettings:
    """What is made alike before requests are compared, each with its switch."""

    json: bool = setting(
        kinds.BOOL, default=True, doc="Whether JSON bodies are compared as what they mean."
    )
    form: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether the spelling of urlencoded forms makes no difference.",
    )
    multipart: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether multipart forms are compared part by part, whatever their boundary is.",
    )
    content_coding: bool = setting(
        kinds.BOOL, default=True, doc="Whether compressed bodies are compared as what they hold."
    )
    signatures: bool = setting(
        kinds.BOOL, default=True, doc="Whether what signs a URL for a time does not count."
    )
    conditions: bool = setting(
        kinds.BOOL, default=True, doc="Whether `Range` and `If-` headers count when they are sent."
    )
    idempotency: bool = setting(
        kinds.BOOL,
        default=True,
        doc="Whether idempotency tokens that a program makes up for each call do not count.",
    )
    query_order: bool = setting(
        kinds.BOOL,
        default=False,
        doc="Whether query fields of different names may come in any order.",
    )


@frozen(kw_only=True)
class MatchSettings:
    """What counts in matching. ``header`` names are in lower case."""

    ignore: tuple[IgnoreRule, ...] = setting(
        Rules(IgnoreRule), (), "Rules for what does not count; an invalid one is skipped."
    )
    json: tuple[str, ...] = setting(
        ListOf(kinds.JSON_PATH, tuple), (), "Places in a JSON body that do not count."
    )
    query: tuple[str, ...] = setting(
        ListOf(kinds.NAME, tuple), (), "Query fields that do not count."
    )
    form: tuple[str, ...] = setting(ListOf(kinds.NAME, tuple), (), "Form fields that do not count.")
    header: tuple[str, ...] = setting(
        ListOf(kinds.HEADER_NAME, tuple), (), "Headers that count beside what always does."
    )
    credentials: Credentials = setting(
        kinds.one_of(get_args(Credentials)),
        "constant",
        "Whether all credentials count as one, or each as itself.",
    )
    variants: VariantsRule = setting(
        kinds.one_of(get_args(VariantsRule)),
        "lenient",
        "Whether, in mode replay, the only recording of a request also answers one that"
        " differs in version headers or in what the recorded `Vary` names.",
    )
    body_bytes: int = setting(
        quantities.size(2**20),
        2**26,
        "A body is compared by what it means up to this size, decoded; beyond it by its bytes, "
        "and no rules for bodies apply.",
    )
    normalise: NormaliseSettings = setting(
        Section(NormaliseSettings), NormaliseSettings(), "What is made alike before matching."
    )
