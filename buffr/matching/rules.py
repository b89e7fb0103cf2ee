"""What decides whether two requests are one."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from buffr.redaction.rules import RedactionRules

__all__ = ["MatchRules"]


@frozen
class MatchRules:
    """How requests are compared.

    ``redaction`` names the credentials. With ``credentials="constant"`` their
    values make no difference, so that a dummy key replays what a real one
    recorded. With ``"distinct"`` they do, as far as their pseudonyms tell them
    apart: those of passwords, ``Basic`` and secrets under 20 characters do not.
    """

    redaction: RedactionRules = field(factory=RedactionRules)
    credentials: Literal["constant", "distinct"] = "constant"
