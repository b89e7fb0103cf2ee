"""``buffr cassette merge``: two cassettes become one, also for git."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from buffr.commands.cassette.arguments import snapshot_of
from buffr.commands.parser import Parser
from buffr.commands.terminal import complain, plain, times
from buffr.errors import CassetteError, ConfigError
from buffr.stores.cassette.merging import merge
from buffr.stores.cassette.snapshot import Snapshot

__all__ = ["declare", "run"]

_DRIVER = "buffr cassette merge %A %B --base %O --output %A"


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Writes the interactions of OURS, then those that only THEIRS has. With --base, the "
        "cassette that both come from, what THEIRS removed is removed. --install-git-driver "
        "lets git merge cassettes this way in the repository of the current directory.",
        "OURS THEIRS -o FILE",
        examples=(
            ("buffr cassette merge ours.json theirs.json -o both.json", "both, in one file"),
            (
                "buffr cassette merge --install-git-driver 'tests/cassettes/*.json'",
                "let git do it; commit .gitattributes",
            ),
        ),
    )
    parser.argument("files", metavar="OURS THEIRS", nargs="*", help="two cassettes")
    parser.flag("-o", "--output", metavar="FILE", help="the result; may be OURS")
    parser.flag("--base", metavar="FILE", help="the cassette that both come from")
    parser.flag(
        "--install-git-driver",
        metavar="PATTERN",
        help="add a merge driver to the git configuration, and PATTERN to .gitattributes",
    )


def run(given: argparse.Namespace) -> int:
    """Merge; returns the exit code."""
    if given.install_git_driver is not None:
        return _install(given.install_git_driver)
    if len(given.files) != 2 or given.output is None:
        given.parser.error("OURS, THEIRS and --output are needed")
    ours, theirs = (snapshot_of(name) for name in given.files)
    path = Path(given.output)
    if path.exists() and not any(path.samefile(name) for name in given.files):
        raise CassetteError(f"{path}: there is a file already, and it is not overwritten")
    base = None if given.base is None else _base(given.base)
    done = merge(ours, theirs, base, path, complain)
    sys.stderr.write(
        f"{plain(str(path))}: {times(done.interactions, 'interaction', 'interactions')}, "
        f"{done.added} added, {done.removed} removed\n"
    )
    return 0


def _base(name: str) -> Snapshot | None:
    """Git gives an empty file where both sides added the cassette."""
    return snapshot_of(name) if Path(name).stat().st_size else None


def _install(pattern: str) -> int:
    for key, value in (("name", "buffr cassettes"), ("driver", _DRIVER)):
        try:
            subprocess.run(  # noqa: S603  # nothing in it is given from outside
                ["git", "config", f"merge.buffr.{key}", value],  # noqa: S607
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigError(f"git config: {error}") from error
    attributes = Path(".gitattributes")
    line = f"{pattern} merge=buffr\n"
    text = attributes.read_text("utf-8") if attributes.exists() else ""
    if line not in text:
        attributes.write_text(text + ("" if text.endswith("\n") or not text else "\n") + line)
    sys.stderr.write(f"git merges {plain(pattern)} with buffr now; commit .gitattributes\n")
    return 0
