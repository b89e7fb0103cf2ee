"""What a check says of one interaction, and of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import frozen

from buffr.drift.finding import Finding, Severity, worst
from buffr.drift.noise import VolatileRule

__all__ = ["NOT_ASKED", "Asked", "Verdict", "exit_status"]

NOT_ASKED = 3
"""The exit status if something could not be asked."""


class Asked(Enum):
    """Whether the live API was asked: yes, not on purpose, or in vain."""

    YES = "asked"
    SKIPPED = "skipped"
    FAILED = "not asked"


@frozen
class Verdict:
    """One interaction. ``number`` is its place in the cassette, ``request`` its method and URL.

    ``why`` says why it was not asked, and ``hint`` what to do about that; ``note``
    helps to understand the findings. ``noise`` counts differences that say nothing;
    ``learnt`` is the rule for those that two live answers have shown. ``edited`` says
    that somebody has changed the recording by hand.
    """

    number: int
    request: str
    asked: Asked = Asked.YES
    findings: tuple[Finding, ...] = ()
    why: str = ""
    hint: str = ""
    note: str = ""
    noise: int = 0
    learnt: VolatileRule | None = None
    dur_s: float = 0.0
    edited: bool = False

    @property
    def severity(self) -> Severity | None:
        """The highest of its findings."""
        return worst(self.findings)

    @property
    def word(self) -> str:
        """``same``, ``value``, ``addition``, ``breaking``, ``skipped`` or ``not asked``."""
        if self.asked is not Asked.YES:
            return str(self.asked.value)
        return "same" if self.severity is None else self.severity.word


def exit_status(verdicts: Iterable[Verdict]) -> int:
    """0: nothing; 1: additions or values; 2: breaking; 3: something could not be asked."""
    status = 0
    for verdict in verdicts:
        if verdict.asked is Asked.FAILED:
            return NOT_ASKED
        if verdict.severity is not None:
            status = max(status, 2 if verdict.severity is Severity.BREAKING else 1)
    return status
