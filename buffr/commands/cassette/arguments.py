"""What the commands' arguments have in common: files, and numbers of interactions."""

from __future__ import annotations

import getopt
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from twisted.python import usage

from buffr import __version__
from buffr.commands.terminal import complain
from buffr.errors import CassetteError
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot

__all__ = ["CassetteOptions", "files", "is_cassette", "numbers", "snapshot_of"]

_NUMBERS = re.compile(r"([0-9]{1,12})(?:(-)([0-9]{1,12})?)?")
_BEGINNING_BYTES = 65536


class CassetteOptions(usage.Options):
    """Options, and ``arguments`` that are no options."""

    synopsis: str
    shortOpt: str
    longOpt: list[str]
    arguments: tuple[str, ...] = ()
    takes: tuple[int, int | None] = (1, 1)
    """How many arguments there must be: the least, and the most; ``None`` for any number."""

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the arguments; options may stand behind files."""
        try:
            named, others = getopt.gnu_getopt(list(options or ()), self.shortOpt, self.longOpt)
        except getopt.error as error:
            raise usage.UsageError(str(error)) from error
        parts: list[str] = []
        for name, value in named:
            takes_value = f"{name[1:]}:" in self.shortOpt or f"{name[2:]}=" in self.longOpt
            parts += [name, value] if takes_value else [name]
        super().parseOptions([*parts, "--", *others])

    def opt_version(self) -> None:
        """Print buffr's version and exit."""
        sys.stdout.write(f"buffr {__version__}\n")
        sys.exit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Take files and numbers."""
        least, most = self.takes
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise usage.UsageError(f"{self.synopsis.removeprefix('Usage: ')} is how it is called")
        self.arguments = arguments


def snapshot_of(path: str) -> Snapshot:
    """The cassette at a path; that its end is torn is said. Raises ``CassetteError``."""
    snapshot = read_snapshot(Path(path), complain)
    if snapshot.is_torn:
        complain(snapshot.torn_end.message + "; those before it are used")
    return snapshot


def numbers(texts: Sequence[str], snapshot: Snapshot) -> list[int]:
    """The interactions that ``3``, ``5-9`` and ``12-`` name. Raises ``CassetteError``."""
    chosen: list[int] = []
    last = len(snapshot) - 1
    for text in texts:
        matched = _NUMBERS.fullmatch(text)
        if matched is None:
            raise usage.UsageError(f"{text!r} is no number of an interaction, nor a range like 3-5")
        first = int(matched[1])
        end = int(matched[3]) if matched[3] else last if matched[2] else first
        if first > last or end > last:
            count = f"they are 0 to {last}" if last >= 0 else "there are none"
            missing = max(first, end)
            raise CassetteError(f"{snapshot.path}: there is no interaction {missing}: {count}")
        if end < first:
            raise usage.UsageError(f"{text!r} ends before it begins")
        chosen += range(first, end + 1)
    return chosen


def files(paths: Sequence[str]) -> Iterator[Path]:
    """These files, and of directories the cassettes in and below them, in the order of names.

    In a directory, a cassette is what ends in ``.json``, is named so before
    ``.bak``, and begins like one.
    """
    for path in map(Path, paths):
        if path.is_dir():
            yield from _cassettes_below(path)
        else:
            yield path


def _cassettes_below(directory: Path) -> Iterator[Path]:
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            named = name.endswith(".json") or ".json.bak" in name
            if named and path.is_file() and is_cassette(path):
                yield path


def is_cassette(path: Path) -> bool:
    """Whether a file has a list of interactions near its beginning, faulty or not."""
    try:
        with path.open("rb") as file:
            return b'"interactions"' in file.read(_BEGINNING_BYTES)
    except OSError:
        return True  # so that it is said what is wrong with it
