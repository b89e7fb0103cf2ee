"""Secrets in an interaction, with the JSON pointers of those in JSON."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import evolve

from buffr.cassette_commands.content import content, uncoded
from buffr.cassette_commands.pointers import pointers
from buffr.errors import CassetteError
from buffr.interaction import (
    Body,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.redaction.findings import Finding, find_secrets
from buffr.redaction.rules import RedactionRules

__all__ = ["secrets_in", "secrets_in_text"]

Allowed = frozenset[bytes]


def secrets_in(
    interaction: Interaction, rules: RedactionRules, allowed: Allowed
) -> Iterator[Finding]:
    """The secrets of an interaction, in order; ``where`` has the JSON pointer behind it.

    Raises ``CassetteError`` for a body file that is gone.
    """
    try:
        found = find_secrets(interaction, rules, allowed)
    except OSError as error:
        raise CassetteError(f"{error.filename}: {error.strerror}") from error
    bodies = _bodies(interaction) if found else {}
    for one in found:
        place = bodies.get(one.where)
        if one.offset is None or place is None:
            yield one
            continue
        data, _ = uncoded(content(place[0]), place[1])
        (pointer,) = pointers(data, [one.offset])
        yield evolve(one, where=f"{one.where} {pointer}".rstrip())


def _bodies(interaction: Interaction) -> dict[str, tuple[Body, Headers]]:
    """The bodies by the names that findings have for them."""
    request = interaction.request
    found: dict[str, tuple[Body, Headers]] = {"request body": (request.body, request.headers)}
    if isinstance(interaction, WebSocketInteraction):
        for number, frame in enumerate(interaction.frames):
            found[f"frame {number}"] = (frame.data, ())
    else:
        found["response body"] = (interaction.body, interaction.response.headers)
    return found


def secrets_in_text(
    text: bytes, where: str, rules: RedactionRules, allowed: Allowed
) -> Iterator[Finding]:
    """The secrets of a text that belongs to no interaction."""
    nowhere = WebSocketInteraction(
        RecordedRequest(b"GET", b"/", body=Body.of(text)), ResponseHead(101, b"", ())
    )
    for one in find_secrets(nowhere, rules, allowed):
        yield evolve(one, where=where)
