"""``buffr cassette verify``: whether cassettes can be relied on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from buffr.commands.cassette.arguments import files, is_cassette
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, plain, times
from buffr.errors import CassetteError
from buffr.interaction import Body, Interaction, WebSocketInteraction
from buffr.stores.cassette.format import RECORDED_KINDS
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot

__all__ = ["declare", "faults", "run"]

_PIECE_BYTES = 1 << 20


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Reads cassettes whole, and checks the files of large bodies by their digests. Exits "
        "with 1 if something is wrong: an error in the JSON, a torn end, an interaction that "
        "cannot be read or sent, or whose answer broke off, chunk sizes that do not add up "
        "to the body, a body file that is missing or was changed.",
        "FILE|DIRECTORY ...",
        examples=(("buffr cassette verify tests/cassettes", "check all cassettes below it"),),
    )
    parser.argument("paths", metavar="FILE|DIRECTORY", nargs="+", help="cassettes")
    parser.flag("-q", "--quiet", action="store_true", help="print nothing about good cassettes")
    parser.flag(
        "--only-cassettes",
        action="store_true",
        help="skip files that are not cassettes, as hooks need it",
    )


def run(given: argparse.Namespace) -> int:
    """Check cassettes; returns the exit code."""
    code = 0
    for path in files(given.paths):
        if given.only_cassettes and not is_cassette(path):
            continue
        try:
            snapshot = read_snapshot(path, complain)
        except CassetteError as error:
            complain(str(error))
            code = 1
            continue
        found = False
        for fault in faults(snapshot):
            found = True
            sys.stdout.write(f"{plain(fault)}\n")
        if found:
            code = 1
        elif not given.quiet:
            count = times(len(snapshot), "interaction", "interactions")
            sys.stdout.write(f"{plain(str(path))}: {count}, all good\n")
    return code


def faults(snapshot: Snapshot) -> Iterator[str]:
    """The problems of a readable cassette, a line each."""
    if snapshot.is_torn:
        yield snapshot.torn_end.message
    digests: dict[Path, str] = {}
    for number in range(len(snapshot)):
        kind = snapshot.kind(number)
        if kind not in RECORDED_KINDS:
            continue  # kept, and passed over
        try:
            interaction = snapshot.interaction(number)
        except CassetteError as error:
            yield error.message
            continue
        for what in _faults(interaction, digests):
            yield f"{snapshot.path}: interaction {number}: {what}"
        for what in snapshot.stale_cuts(number):
            yield snapshot.named(number, f"{what}: it is replayed whole")


def _faults(interaction: Interaction, digests: dict[Path, str]) -> Iterator[str]:
    for body in interaction.bodies:
        if body.file is not None:
            fault = _body_fault(body, body.file, digests)
            if fault:
                yield f"body file {body.file}: {fault}"
    truncated = _truncated(interaction)
    if truncated is not None:
        yield f"truncated: {truncated}; it is never replayed"


def _truncated(interaction: Interaction) -> str | None:
    if isinstance(interaction, WebSocketInteraction):
        end = interaction.end
        return end.reason if end is not None and end.truncated else None
    return interaction.truncated


def _body_fault(body: Body, file: Path, digests: dict[Path, str]) -> str:
    """The problem of a body's file, or an empty string. Each file is read once."""
    try:
        size = file.stat().st_size
        if size != body.size_bytes:
            return f"it has {size} bytes, not {body.size_bytes}"
        if file not in digests:
            digests[file] = _digest(file)
    except OSError as error:
        return str(error.strerror)
    return "" if digests[file] == file.name else "its bytes are others than those recorded"


def _digest(file: Path) -> str:
    digest = sha256()
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
