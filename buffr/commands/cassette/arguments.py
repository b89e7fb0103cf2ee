"""The arguments that the commands share: files, and numbers of interactions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from buffr.commands.parser import Parser
from buffr.commands.terminal import complain
from buffr.errors import CassetteError
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.stores.cassette.descriptor_file import DescriptorFile, declarations_in
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot

__all__ = [
    "declare_descriptors",
    "declare_names",
    "files",
    "is_cassette",
    "listed",
    "numbers",
    "snapshot_of",
    "types_of",
]

_NUMBERS = re.compile(r"([0-9]{1,12})(?:(-)([0-9]{1,12})?)?")
_BEGINNING_BYTES = 65536


def declare_names(parser: Parser) -> None:
    """Add the flags for names that carry credentials."""
    parser.flag(
        "--headers",
        metavar="NAMES",
        help="more header names that carry credentials, separated by commas",
    )
    parser.flag(
        "--fields", metavar="NAMES", help="more names of query and form fields that do, likewise"
    )


def declare_descriptors(parser: Parser) -> None:
    """Add the flag for descriptors."""
    parser.flag(
        "--descriptors",
        metavar="FILE",
        help="compiled .proto files that declare its messages [FILE.descriptors.pb beside it]",
    )


def types_of(path: str, descriptors: str | None) -> MessageTypes:
    """What is known of protobuf's messages in a cassette. Raises ``ConfigError``."""
    types = MessageTypes()
    DescriptorFile.beside(Path(path), types, complain)
    if descriptors is not None:
        types.add(declarations_in(Path(descriptors), "--descriptors"), first=True)
    return types


def listed(text: str | None) -> list[str]:
    """The words of a comma-separated list."""
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def snapshot_of(path: str) -> Snapshot:
    """The cassette at a path; warns if its end is torn. Raises ``CassetteError``."""
    snapshot = read_snapshot(Path(path), complain)
    if snapshot.is_torn:
        complain(snapshot.torn_end.message + "; those before it are used")
    return snapshot


def numbers(
    texts: Sequence[str], snapshot: Snapshot, misused: Callable[[str], object]
) -> list[int]:
    """The interactions that ``3``, ``5-9`` and ``12-`` name.

    ``misused`` raises an error for a text that is none of these. Raises ``CassetteError``.
    """
    chosen: list[int] = []
    last = len(snapshot) - 1
    for text in texts:
        matched = _NUMBERS.fullmatch(text)
        if matched is None:
            misused(f"{text!r} must be the number of an interaction, or a range like 3-5")
            continue
        first = int(matched[1])
        end = int(matched[3]) if matched[3] else last if matched[2] else first
        if first > last or end > last:
            count = f"they are 0 to {last}" if last >= 0 else "there are none"
            missing = max(first, end)
            raise CassetteError(f"{snapshot.path}: there is no interaction {missing}: {count}")
        if end < first:
            misused(f"{text!r} ends before it begins")
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
