"""``buffr cassette refresh``: records anew, in place, what the live API answers differently."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from buffr.commands.cassette.arguments import snapshot_of
from buffr.commands.cassette.check import say_unsafe
from buffr.commands.cassette.live_api import Chosen, chosen_from, declare_asking, run_walks
from buffr.commands.parser import Parser
from buffr.commands.progress import Progress
from buffr.commands.terminal import complain, paint_for, plain
from buffr.drift.renewal import Candidate, Kept, chosen
from buffr.drift.verdict import NOT_ASKED, Asked, Verdict
from buffr.errors import BuffrError, CassetteError
from buffr.interaction import HTTPInteraction, Interaction
from buffr.stores.cassette.rewriting import rewrite
from buffr.stores.cassette.snapshot import Snapshot

if TYPE_CHECKING:
    from buffr.refreshing.asking import Live

__all__ = ["declare", "run"]

_NOT_DONE = 1


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Asks the live API like `buffr cassette check`, shows what has changed, and records that "
        "anew: in place, in one step, in the recorded order, without secrets. An interaction that "
        "was edited by hand stays as it is. What hangs together by identifiers is recorded anew "
        "together, so that a replay still fits.\n\nAsks first on a terminal; elsewhere --yes is "
        "needed. Exits with 0 if everything is true now, with 1 if nothing was changed although "
        "something should be, and with 3 if something could not be asked.",
        "FILE ...",
        examples=(
            (
                "buffr cassette refresh api.json --credential authorization=API_KEY",
                "record anew what has changed, after asking",
            ),
            (
                "buffr cassette refresh api.json --all --only 'GET /v1/models*' --yes",
                "record some interactions anew, changed or not, without asking",
            ),
        ),
    )
    parser.argument("files", metavar="FILE", nargs="+", help="cassettes")
    declare_asking(parser)
    parser.flag("--all", action="store_true", help="record anew what has not changed, too")
    parser.flag("--edited", action="store_true", help="record anew what was edited by hand, too")
    parser.flag("-y", "--yes", action="store_true", help="do not ask before writing")
    parser.flag(
        "-n", "--dry-run", action="store_true", help="show what would change, and write nothing"
    )


def run(given: argparse.Namespace) -> int:
    """Record anew what has changed; returns the exit code."""
    try:
        asked = [chosen_from(given, snapshot_of(file)) for file in given.files]
        say_unsafe(given, asked)
        renewals = [_Renewal(given, one) for one in asked]
        try:
            _ask(given, renewals)
            return _write(given, renewals)
        finally:
            for renewal in renewals:
                renewal.close()
    except BuffrError as error:
        complain(str(error))
        return NOT_ASKED


@define(eq=False)
class _Renewal:
    """One cassette, and the live answers that may replace its recordings."""

    given: argparse.Namespace
    chosen: Chosen
    verdicts: list[Verdict] = field(init=False, factory=list)
    _live: dict[int, Live] = field(init=False, factory=dict)
    _candidates: dict[int, Candidate] = field(init=False, factory=dict)

    def take(self, live: Live) -> None:
        """Keep a live answer, if it may be needed."""
        verdict = live.verdict
        number = verdict.number
        if not (self.given.all or verdict.findings or live.sources or live.gives):
            live.close()
            return
        recorded = self.chosen.snapshot.interaction(number).response.status
        edited = number in self.chosen.edited
        self._live[number] = live
        self._candidates[number] = Candidate(
            evolve(verdict, edited=edited),
            live.sources,
            recorded,
            live.interaction.response.status,
        )

    def selected(self) -> tuple[frozenset[int], tuple[Kept, ...]]:
        """The interactions to replace, and those that are kept although they drifted."""
        given = self.given
        return chosen(self._candidates, everything=given.all, edited=given.edited)

    def write(self, numbers: frozenset[int]) -> None:
        """Replace interactions. Raises ``CassetteError`` with the file unchanged."""
        before = self.chosen.snapshot
        asked = {number: before.element(number) for number in numbers}

        def choose(snapshot: Snapshot, _: str) -> Mapping[int, Interaction]:
            for number, element in asked.items():
                if number >= len(snapshot) or snapshot.element(number) != element:
                    raise CassetteError(
                        f"{snapshot.path}: interaction {number} was changed meanwhile",
                        hint="nothing was written; call it again",
                    )
            return {number: self._stored(number) for number in numbers}

        rewrite(before.path, choose, complain, salt=self.chosen.salt, anew=True)

    def _stored(self, number: int) -> Interaction:
        """The live answer to the recorded request, with the values of other live answers."""
        live = self._live[number]
        old = self.chosen.snapshot.interaction(number)
        if isinstance(live.interaction, HTTPInteraction) and isinstance(old, HTTPInteraction):
            return evolve(
                live.interaction, request=live.request, captures=old.captures, note=old.note
            )
        return evolve(live.interaction, request=live.request)

    def close(self) -> None:
        for live in self._live.values():
            live.close()


def _ask(given: argparse.Namespace, renewals: Sequence[_Renewal]) -> None:
    """Walk through the cassettes, and show what has changed."""
    from buffr.commands.cassette.drift_report import lines_of, summary  # noqa: PLC0415

    paint = paint_for(sys.stdout, os.environ)
    by_cassette = {id(one.chosen): one for one in renewals}
    total = sum(len(one.chosen.steps) for one in renewals)
    with Progress("interactions", total) as progress:

        def tell(one: Chosen, verdict: Verdict) -> None:
            progress.step(verdict.number)
            by_cassette[id(one)].verdicts.append(verdict)
            if verdict.findings or verdict.asked is Asked.FAILED:
                width = len(str(max(len(one.snapshot) - 1, 0)))
                for line in lines_of(verdict, width, paint):
                    sys.stdout.write(f"{line}\n")

        run_walks(
            given,
            [one.chosen for one in renewals],
            tell,
            lambda one, live: by_cassette[id(one)].take(live),
        )
    verdicts = [verdict for one in renewals for verdict in one.verdicts]
    sys.stdout.write(f"{summary(verdicts, paint)}\n")
    sys.stdout.flush()


def _write(given: argparse.Namespace, renewals: Sequence[_Renewal]) -> int:
    """Replace what is to be replaced, once that is agreed; returns the exit code."""
    plans = [(one, *one.selected()) for one in renewals]
    count = sum(len(numbers) for _, numbers, _ in plans)
    for _, _, kept in plans:
        for one in kept:
            sys.stdout.write(f"{one.number} stays as it is: {plain(one.why)}\n")
            if "edited" in one.why:
                sys.stdout.write("--edited records it anew, too\n")
    failed = any(one.asked is Asked.FAILED for plan in plans for one in plan[0].verdicts)
    is_left = any(kept for _, _, kept in plans) or (given.dry_run and count > 0)
    if given.dry_run or not count:
        sys.stdout.write(f"{count} would be recorded anew\n" if count else "nothing to record\n")
        return NOT_ASKED if failed else _NOT_DONE if is_left else 0
    if not _agreed(given, count):
        return _NOT_DONE
    for renewal, numbers, _ in plans:
        if numbers:
            renewal.write(numbers)
            path = plain(str(renewal.chosen.snapshot.path))
            sys.stdout.write(f"{path}: {len(numbers)} recorded anew\n")
    return NOT_ASKED if failed else _NOT_DONE if is_left else 0


def _agreed(given: argparse.Namespace, count: int) -> bool:
    if given.yes:
        return True
    if not sys.stdin.isatty():
        complain(f"{count} would be recorded anew; nothing was written: --yes does it unasked")
        return False
    sys.stdout.write(f"Record {count} anew? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
