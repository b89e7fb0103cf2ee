"""Merges two cassettes: what either recorded, without what either removed."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from attrs import frozen

from buffr.errors import CassetteError
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile, OpenCassette
from buffr.stores.cassette.layout import TAIL
from buffr.stores.cassette.snapshot import Snapshot, file_errors
from buffr.stores.cassette.window import Disturbed
from buffr.stores.cassette.writing import head, laid_out
from buffr.stores.disk import BytesLike, Disk

__all__ = ["Merged", "merge"]

_MODE = 0o600
_BODY_FILE = re.compile(rb'"(?:body|data)_file"')


@frozen
class Merged:
    """The number of interactions in the result, and of those added to and removed from ours."""

    interactions: int
    added: int
    removed: int


def merge(
    ours: Snapshot,
    theirs: Snapshot,
    base: Snapshot | None,
    path: Path,
    warn: Callable[[str], None],
) -> Merged:
    """Write the two as one to ``path``, which may be that of ours.

    Ours come first, in their order, then those that only theirs has. With the
    ``base`` of both, interactions that theirs removed since then are removed.
    Interactions are equal if they are equal as JSON, whatever their layout.
    The salt is that of ours. Raises ``CassetteError`` with nothing changed, also
    if one of them is torn, or was written to since it was read.
    """
    for each in (ours, theirs):
        if each.is_torn:
            raise each.torn_end
    ours_texts, theirs_texts = _texts(ours), _texts(theirs)
    gone, new = _changes(ours_texts, theirs_texts, None if base is None else _texts(base))
    kept = [number for number in range(len(ours)) if number not in gone]
    elements = [(ours, number) for number in kept] + [(theirs, number) for number in new]
    _write(path, (ours, theirs), elements, warn)
    return Merged(len(elements), len(new), len(gone))


def _texts(snapshot: Snapshot) -> list[bytes]:
    """The elements as canonical JSON."""
    return [
        msgspec.json.encode(msgspec.json.decode(snapshot.element(number)), order="sorted")
        for number in range(len(snapshot))
    ]


def _changes(
    ours: Sequence[bytes], theirs: Sequence[bytes], base: Sequence[bytes] | None
) -> tuple[set[int], list[int]]:
    """The numbers of ours that theirs removed, and of theirs that are new to ours.

    Duplicates count as often as they occur.
    """
    known = Counter(ours if base is None else base)
    if base is not None:
        # An addition in both is there once.
        known |= Counter(ours)
    new = []
    for number, text in enumerate(theirs):
        if known[text]:
            known[text] -= 1
        else:
            new.append(number)
    if base is None:
        return set(), new
    taken_out = Counter(base) - Counter(theirs)
    gone = set()
    for number, text in enumerate(ours):
        if taken_out[text]:
            taken_out[text] -= 1
            gone.add(number)
    return gone, new


def _write(
    path: Path,
    read: tuple[Snapshot, Snapshot],
    elements: Sequence[tuple[Snapshot, int]],
    warn: Callable[[str], None],
) -> None:
    layout = read[0].layout

    def parts() -> Iterator[BytesLike]:
        yield head(layout.salt or secrets.token_hex(16), layout.others)
        laid = {id(each): list(laid_out(each.layout)) for each, _ in elements}
        separator = b"\n    "
        for each, number in elements:
            text = laid[id(each)][number]
            yield separator + text[text.index(b"{") :]
            separator = b",\n    "
        yield TAIL

    disk = Disk()
    file = CassetteFile(path, _MODE, sync=True, disk=disk, warn=warn)
    bodies = BodyFiles(file.real_path, file_mode=_MODE, sync=True, disk=disk)
    with file_errors(path), file.writing(known=False, new=b"{}") as opened:
        try:
            for each in read:
                if each.path.exists() and each.path.samefile(path):
                    _check(opened, each)
            # Before the cassette names them.
            _keep_bodies(bodies, elements)
            opened.replace(parts())
        except BaseException:
            if opened.created:
                file.real_path.unlink(missing_ok=True)
            raise


def _check(opened: OpenCassette, snapshot: Snapshot) -> None:
    """Raise ``Disturbed`` if something was recorded since the snapshot was taken."""
    if opened.stamp() != snapshot.stamp:
        raise Disturbed


def _keep_bodies(bodies: BodyFiles, elements: Sequence[tuple[Snapshot, int]]) -> None:
    """Have the files of large bodies beside the result.

    git hands cassettes over without them, and merges these files by itself.
    """
    for snapshot, number in elements:
        if snapshot.bodies == bodies.directory or not snapshot.bodies.is_dir():
            continue
        if not _BODY_FILE.search(snapshot.element(number)):
            continue
        # An element that cannot be read stays as it is.
        with suppress(CassetteError):
            bodies.keep(snapshot.interaction(number))
