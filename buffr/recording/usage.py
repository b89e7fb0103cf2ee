"""The tokens that a recorded answer of a language model says it cost."""

from __future__ import annotations

from buffr.formats.llm_usage import MAY_HAVE_USAGE, Usage, usage_of
from buffr.interaction import HTTPInteraction, Interaction
from buffr.message import Headers, media_type
from buffr.recording.readable import beginning, content

__all__ = ["usage_in", "usage_of_answer"]

_LARGEST = 4 << 20
"""Longer answers are not read."""


def usage_in(interaction: Interaction) -> Usage | None:
    """The tokens of a recorded answer; ``None`` if it says nothing. Raises ``CassetteError``."""
    if not isinstance(interaction, HTTPInteraction):
        return None
    target = interaction.request.target
    if not MAY_HAVE_USAGE(target) or interaction.body.size_bytes > _LARGEST:
        return None
    body = content(interaction.body, _LARGEST)
    return usage_of_answer(target, body, interaction.response.headers)


def usage_of_answer(target: bytes, body: bytes, headers: Headers) -> Usage | None:
    """The tokens of an answer, whose ``body`` is coded as ``headers`` say."""
    undone = beginning(body, headers, _LARGEST)
    data = body if undone is None else undone[0]
    return usage_of(target, data, media_type(headers))
