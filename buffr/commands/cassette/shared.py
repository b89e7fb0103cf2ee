"""``buffr cassette push``, ``pull`` and ``sync``: between a file and a server."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from buffr.commands.cassette.arguments import declare_names, listed
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, plain
from buffr.redaction.rules import RedactionRules
from buffr.stores.redis.address import FORMS, RedisAddress

__all__ = ["declare", "run"]

_STORE = "redis://cache.internal"
_TEXTS = {
    "push": (
        "Adds what only a cassette has to a set on a Redis or Valkey server: all buffrs replay it.",
        (f"buffr cassette push api.json {_STORE}", "let a fleet replay what git holds"),
    ),
    "pull": (
        "Adds what only the set on the server has to the end of a cassette, or to a new one.",
        (f"buffr cassette pull api.json {_STORE}", "review what a fleet recorded: git diff"),
    ),
    "sync": (
        "Pulls, then pushes: both have all recordings of both.",
        (f"buffr cassette sync api.json {_STORE}", "both ways"),
    ),
}


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    text, example = _TEXTS[parser.words[-1]]
    parser.describe(
        f"{text} Nothing is removed on either side. Credentials are replaced by stand-ins.\n\n"
        f"STORE is {FORMS}.",
        "FILE [STORE]",
        examples=(example,),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.argument("store", metavar="STORE", nargs="?", help="the server [BUFFR_STORE]")
    parser.flag("--name", metavar="NAME", help="the set's name [the file's, without .json]")
    parser.flag("-n", "--dry-run", action="store_true", help="only say what would be added")
    declare_names(parser)


def run(given: argparse.Namespace) -> int:
    """Move recordings; returns the exit code."""
    text: str = given.store or os.environ.get("BUFFR_STORE", "")
    if not text:
        given.parser.error("STORE is missing: give an address, such as redis://localhost")
    try:
        address = RedisAddress.parse(text)
    except ValueError as error:
        given.parser.error(f"STORE: {error}")
    from buffr.interchange.shared_sets import SharedSet  # noqa: PLC0415  # help does without

    path = Path(given.file)
    rules = RedactionRules.with_extra(headers=listed(given.headers), fields=listed(given.fields))
    shared = SharedSet(address, given.name or path.stem, rules, complain)
    word = given.parser.words[-1]
    done = "would be added" if given.dry_run else "added"
    if word in ("pull", "sync"):
        moved = shared.pull(path, dry_run=given.dry_run)
        sys.stdout.write(f"{plain(str(path))}: {moved.added} {done}, {moved.there} interactions\n")
    if word in ("push", "sync"):
        moved = shared.push(path, dry_run=given.dry_run)
        where = f"{address}: {shared.name}"
        sys.stdout.write(f"{plain(where)}: {moved.added} {done}, {moved.there} interactions\n")
    return 0
