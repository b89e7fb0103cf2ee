"""``buffr cassette rm``: remove interactions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from pathlib import Path

from buffr.commands.cassette.arguments import numbers, snapshot_of
from buffr.commands.cassette.ls import Summary, rows
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, plain
from buffr.stores.cassette.removal import RemovalResult, take_out
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["declare", "declare_dry_run", "fits", "remove", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Removes interactions, counted from 0: 3, 5-9, or 12- for all from 12 on. Numbers and "
        "--match are alternatives: what either names is removed. The others keep their bytes and "
        "their order.",
        "FILE [N|N-M ...]",
        examples=(
            ("buffr cassette rm api.json 3 5-9", "remove six interactions"),
            ("buffr cassette rm api.json --match '/v1/models*' -n", "say what would be removed"),
        ),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.argument("numbers", metavar="N|N-M", nargs="*", help="interactions")
    parser.flag(
        "-m",
        "--match",
        metavar="PATTERN",
        help="those whose path, or whole URL, matches: '/v1/models*', '*.png'",
    )
    declare_dry_run(parser)


def declare_dry_run(parser: Parser) -> None:
    """Add the flag that removes nothing."""
    parser.flag(
        "-n",
        "--dry-run",
        action="store_true",
        help="say what would be removed, and leave the file as it is",
    )


def run(given: argparse.Namespace) -> int:
    """Remove interactions; returns the exit code."""
    pattern = given.match
    if not given.numbers and pattern is None:
        given.parser.error("name the interactions: numbers, ranges like 3-5, or --match")

    def choose(snapshot: Snapshot) -> Collection[int]:
        chosen = set(numbers(given.numbers, snapshot, given.parser.error))
        if pattern is not None:
            chosen |= {row.index for row in rows(snapshot) if fits(row, pattern)}
        return chosen

    return remove(given.file, choose, dry_run=given.dry_run)


def fits(row: Summary, pattern: str) -> bool:
    """Whether the path, or the whole URL, matches a pattern."""
    url = row.url or ""
    path = url.split("://", 1)[-1]
    path = path[path.find("/") :].partition("?")[0]
    return any(fnmatchcase(text, pattern) for text in (path, url))


def remove(path: str, choose: Callable[[Snapshot], Collection[int]], *, dry_run: bool) -> int:
    """Remove what is chosen, or say what would be; returns the exit code."""
    if dry_run:
        snapshot = snapshot_of(path)
        chosen = frozenset(choose(snapshot))
        for row in rows(snapshot):
            if row.index in chosen:
                what = row.fault or f"{row.method or row.type} {row.url or ''}"
                sys.stdout.write(f"would remove {row.index}  {plain(what)}\n")
        removed, would = RemovalResult(len(chosen), len(snapshot) - len(chosen)), "would be "
    else:
        removed, would = take_out(Path(path), choose, complain), ""
    files = len(removed.body_files)
    line = f"{removed.interactions} {would}removed, {removed.left} {would}left"
    sys.stdout.write(line + (f", {files} body files removed" if files else "") + "\n")
    return 0
