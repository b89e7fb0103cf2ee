"""Removes interactions from a cassette; the others keep bytes, order and layout."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from buffr.errors import CassetteError
from buffr.stores.cassette.file import CassetteFile, OpenCassette
from buffr.stores.cassette.recent import WINDOW_NS
from buffr.stores.cassette.snapshot import Snapshot, file_errors, read_opened
from buffr.stores.cassette.window import Disturbed
from buffr.stores.disk import BytesLike, Disk

__all__ = [
    "RemovalResult",
    "body_files_named",
    "let_time_pass",
    "named_by",
    "remove_body_files",
    "take_out",
]

_PIECE_BYTES = 1 << 20
_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST_BYTES = 64
# File systems count time in ticks of up to ten milliseconds.
_TICK_NS = 20_000_000


@frozen
class RemovalResult:
    """The number of removed and of remaining interactions, and the removed body files."""

    interactions: int
    left: int
    body_files: tuple[Path, ...] = ()


def take_out(
    path: Path,
    choose: Callable[[Snapshot], Collection[int]],
    warn: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> RemovalResult:
    """Remove the interactions that ``choose`` selects from the file, by one rename.

    The lock is held from reading on, so that nothing that a running buffr
    records meanwhile is lost. Body files that are no longer referenced are
    removed with the interactions. If there is nothing to remove, the file is
    not touched. Raises ``CassetteError`` with the file unchanged.
    """
    file = CassetteFile(path, 0o600, sync=True, disk=Disk(), warn=warn)
    with file_errors(path):
        path.stat()
        with file.writing(known=True, new=b"{}") as opened:
            if opened.created:  # it went away just now
                file.real_path.unlink(missing_ok=True)
                raise FileNotFoundError
            snapshot = read_opened(file, opened)
            if snapshot.is_torn:
                raise snapshot.torn_end
            chosen = frozenset(choose(snapshot))
            if not chosen:
                return RemovalResult(0, len(snapshot))
            let_time_pass(snapshot, chosen, sleep)
            named = named_by(snapshot, chosen)
            if opened.stamp() != snapshot.stamp:
                raise Disturbed
            opened.replace(_without(snapshot, chosen))
            gone = remove_body_files(snapshot, named, opened)
            return RemovalResult(len(chosen), len(snapshot) - len(chosen), gone)


def let_time_pass(
    snapshot: Snapshot, chosen: Collection[int], sleep: Callable[[float], None]
) -> None:
    """A running buffr restores what disappears from the end within moments (``Recent``)."""
    if len(snapshot) - 1 in chosen:
        age_ns = time.time_ns() - snapshot.stamp.status.mtime_ns
        if 0 <= age_ns <= WINDOW_NS + _TICK_NS:
            sleep((WINDOW_NS + _TICK_NS - age_ns) / 1e9)


def _without(snapshot: Snapshot, chosen: Collection[int]) -> Iterator[BytesLike]:
    """The text without some elements; the others keep the text around them."""
    layout, spans = snapshot.layout, snapshot.layout.spans
    yield layout.piece(0, spans.start)
    first = layout.piece(spans.start, spans.end_of(1)[0])
    before = first[: len(first) - len(snapshot.element(0))]
    is_first = True
    for number in range(len(snapshot)):
        if number in chosen:
            continue
        if is_first:
            yield before + snapshot.element(number)
        else:
            yield layout.piece(spans.end_of(number)[0], spans.end_of(number + 1)[0])
        is_first = False
    yield layout.piece(spans.end, layout.size_bytes)


def body_files_named(text: BytesLike) -> set[str]:
    """The names of body files that occur in a text."""
    return {found[0].decode() for found in _DIGEST.finditer(text)}


def named_by(snapshot: Snapshot, chosen: Collection[int]) -> set[str]:
    """The names of the body files of some interactions."""
    if not snapshot.bodies.is_dir():
        return set()
    named: set[str] = set()
    for number in chosen:
        named |= body_files_named(snapshot.element(number))
    return {name for name in named if (snapshot.bodies / name).is_file()}


def remove_body_files(
    snapshot: Snapshot, names: set[str], opened: OpenCassette
) -> tuple[Path, ...]:
    """Remove the files with these names that neither the cassette nor a file beside it names.

    Files beside it may be older states of it, or torn ends.
    """
    if not names or not opened.locked:
        return ()
    stem = snapshot.bodies.name.removesuffix(".d")
    for other in snapshot.bodies.parent.iterdir():
        if names and other.name.startswith(f"{stem}.") and other.is_file():
            names -= _digests_in(other)
    gone = []
    for name in sorted(names):
        with suppress(OSError):
            (snapshot.bodies / name).unlink()
            gone.append(snapshot.bodies / name)
    with suppress(OSError):
        snapshot.bodies.rmdir()  # when nothing is left in it
    return tuple(gone)


def _digests_in(path: Path) -> set[str]:
    found: set[str] = set()
    rest = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                rest += piece
                found |= body_files_named(rest)
                rest = rest[-_DIGEST_BYTES - 1 :]
    except OSError as error:
        # It may name any of them.
        raise CassetteError(
            f"{path}: {error.strerror}; the interactions are out, their body files are still there"
        ) from error
    return found
