"""Which recordings are replaced by live answers: those that drifted, and what hangs together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from buffr.drift.verdict import Verdict

__all__ = ["Candidate", "Kept", "chosen"]

_NO_ANSWER = frozenset((401, 403, 407, 408, 425, 429))
"""Statuses that say more about the request than about the API, like all from 500 on."""


@frozen
class Candidate:
    """A live answer that may replace a recording.

    ``sources`` are the numbers of the interactions whose values its request
    has. ``was`` and ``status`` are the recorded and the live status.
    """

    verdict: Verdict
    sources: frozenset[int]
    was: int
    status: int

    @property
    def is_no_answer(self) -> bool:
        """Whether it is a failure that was none in the recording."""
        failed = self.status in _NO_ANSWER or self.status >= 500
        return failed and self.was != self.status


@frozen
class Kept:
    """A recording that is not replaced although it drifted, and why."""

    number: int
    why: str


def chosen(
    candidates: Mapping[int, Candidate], *, everything: bool, edited: bool
) -> tuple[frozenset[int], tuple[Kept, ...]]:
    """The interactions to replace, and those that are kept although they drifted.

    Without ``everything``, those that drifted. A request with a value of
    another answer and that answer are replaced together, or not at all:
    otherwise a replay would give one identifier and expect another. Unless
    ``edited``, a recording that was edited by hand is kept.
    """
    wanted: set[int] = set()
    kept: list[Kept] = []
    for group in _groups(candidates):
        members = [candidates[number] for number in sorted(group)]
        drifted = [one for one in members if everything or one.verdict.findings]
        if not drifted:
            continue
        why = _why_kept(members, edited=edited)
        if why:
            kept += [Kept(one.verdict.number, why) for one in drifted]
        else:
            wanted |= group
    return frozenset(wanted), tuple(sorted(kept, key=lambda one: one.number))


def _why_kept(members: Iterable[Candidate], *, edited: bool) -> str:
    for one in members:
        number = one.verdict.number
        if one.verdict.edited and not edited:
            return f"{number} was edited by hand"
        if one.is_no_answer:
            return f"the API answered {one.status} to {number}"
    return ""


def _groups(candidates: Mapping[int, Candidate]) -> list[frozenset[int]]:
    """The candidates that hang together by their values, in the order of their first."""
    group_of: dict[int, set[int]] = {number: {number} for number in candidates}
    for number, candidate in candidates.items():
        for source in candidate.sources & candidates.keys():
            one, other = group_of[number], group_of[source]
            if one is not other:
                one |= other
                for member in other:
                    group_of[member] = one
    found: dict[int, frozenset[int]] = {}
    for group in group_of.values():
        found.setdefault(id(group), frozenset(group))
    return sorted(found.values(), key=min)
