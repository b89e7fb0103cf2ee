"""``buffr cassette verify``: whether cassettes can be relied on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from buffr.commands.cassette.arguments import files, is_cassette
from buffr.commands.cassette.entries import Kind, entries, kind_of_file
from buffr.commands.parser import Parser
from buffr.commands.progress import followed
from buffr.commands.terminal import complain, plain, times
from buffr.errors import CassetteError
from buffr.stores.cassette.format import RECORDED_KINDS
from buffr.stores.cassette.snapshot import Snapshot, file_errors, read_snapshot
from buffr.stores.cassette.verifying import interaction_faults

__all__ = ["checked", "declare", "faults", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Reads cassettes and SQLite files of recordings whole, and checks "
        "the files of large bodies by their digests. Exits "
        "with 1 if something is wrong: an error in the JSON, a torn end, an interaction that "
        "cannot be read or sent, or whose answer broke off, chunk sizes that do not add up "
        "to the body, a body file that is missing or was changed.",
        "FILE|DIRECTORY ...",
        examples=(("buffr cassette verify tests/cassettes", "check all cassettes below it"),),
    )
    parser.argument("paths", metavar="FILE|DIRECTORY", nargs="+", help="cassettes")
    parser.flag("-q", "--quiet", action="store_true", help="print nothing about good cassettes")
    parser.flag(
        "--json", action="store_true", help="print a JSON object for each cassette, one a line"
    )
    parser.flag(
        "--only-cassettes",
        action="store_true",
        help="skip files that are not cassettes, as hooks need it",
    )


def run(given: argparse.Namespace) -> int:
    """Check cassettes; returns the exit code."""
    code = 0
    tell = _tell_program if given.json else _tell_person
    for path in files(given.paths):
        if given.only_cassettes and not is_cassette(path):
            continue
        try:
            total, found = checked(path)
        except CassetteError as error:
            tell(path, None, [str(error)])
            code = 1
            continue
        if found or not given.quiet:
            tell(path, total, found)
        code = code or int(bool(found))
    return code


def _tell_person(path: Path, total: int | None, problems: Sequence[str]) -> None:
    if total is None:
        for problem in problems:
            complain(problem)
    elif problems:
        sys.stdout.write("".join(f"{plain(problem)}\n" for problem in problems))
    else:
        count = times(total, "interaction", "interactions")
        sys.stdout.write(f"{plain(str(path))}: {count}, all good\n")


def _tell_program(path: Path, total: int | None, problems: Sequence[str]) -> None:
    told = {"path": str(path), "interactions": total, "problems": problems}
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


def checked(path: Path) -> tuple[int, Sequence[str]]:
    """How many interactions a file has, and its problems. Raises ``CassetteError``."""
    with file_errors(path):
        kind = kind_of_file(path)
    if kind is Kind.CACHE:
        return _stored_faults(path)
    snapshot = read_snapshot(path, complain)
    return len(snapshot), list(faults(snapshot))


def _stored_faults(path: Path) -> tuple[int, Sequence[str]]:
    """The same of what an SQLite file has recorded and cached. Raises ``CassetteError``."""
    total, found = 0, list[str]()
    digests: dict[Path, str] = {}
    for entry in entries(path):
        total += 1
        if entry.interaction is None:
            found.append(f"{path}: interaction {entry.number}: it cannot be read")
            continue
        named = f"{path}: interaction {entry.number}"
        found += [f"{named}: {what}" for what in interaction_faults(entry.interaction, digests)]
    return total, found


def faults(snapshot: Snapshot) -> Iterator[str]:
    """The problems of a readable cassette, a line each."""
    if snapshot.is_torn:
        yield snapshot.torn_end.message
    digests: dict[Path, str] = {}
    for number in followed(range(len(snapshot)), "interactions", len(snapshot)):
        kind = snapshot.kind(number)
        if kind not in RECORDED_KINDS:
            continue  # kept, and passed over
        try:
            interaction = snapshot.interaction(number)
        except CassetteError as error:
            yield error.message
            continue
        for what in interaction_faults(interaction, digests):
            yield f"{snapshot.path}: interaction {number}: {what}"
        for what in snapshot.stale_cuts(number):
            yield snapshot.named(number, f"{what}: it is replayed whole")
