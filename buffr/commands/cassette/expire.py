"""``buffr cassette expire``: remove old interactions."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from buffr.commands.cassette.ls import Summary, rows
from buffr.commands.cassette.rm import declare_dry_run, remove
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, times
from buffr.config.kinds import duration
from buffr.config.schema import Refused
from buffr.config.written import Scalar
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["declare", "run"]

_AGE = duration()


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Removes what was recorded longer ago than AGE: 12h, 30d. Interactions that do not "
        "say when they were recorded stay.",
        "--older-than AGE FILE",
        examples=(("buffr cassette expire --older-than 30d api.json", "keep the last month"),),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.flag("--older-than", metavar="AGE", help="an age: 90m, 12h, 30d")
    declare_dry_run(parser)


def _age(given: argparse.Namespace) -> timedelta:
    text = given.older_than
    if text is None:
        given.parser.error("--older-than is missing: give an age, such as 30d")
    if text.strip().isdigit():
        given.parser.error(f"--older-than: {text!r} must have a unit, such as {text.strip()}d")
    try:
        return timedelta(seconds=_AGE.parse(Scalar("--older-than", text)))
    except Refused:
        given.parser.error(f"--older-than: {text!r} must be {_AGE.allowed}")
        raise


def run(given: argparse.Namespace) -> int:
    """Remove old interactions; returns the exit code."""
    before = datetime.now(UTC) - _age(given)
    undated = 0

    def choose(snapshot: Snapshot) -> Collection[int]:
        nonlocal undated
        found = list(rows(snapshot))
        undated = sum(row.fault is None and _time(row) is None for row in found)
        return [row.index for row in found if (time := _time(row)) is not None and time < before]

    code = remove(given.file, choose, dry_run=given.dry_run)
    if undated:
        complain(f"{times(undated, 'interaction', 'interactions')} without a date: kept")
    return code


def _time(row: Summary) -> datetime | None:
    try:
        time = datetime.fromisoformat(row.recorded_at or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
