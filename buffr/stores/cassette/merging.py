"""Merges two cassettes: what either recorded, without what either removed."""

from __future__ import annotations

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from attrs import frozen

from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.layout import TAIL
from buffr.stores.cassette.relayout import head, laid_out
from buffr.stores.cassette.snapshot import Snapshot, file_errors
from buffr.stores.disk import BytesLike, Disk

__all__ = ["Merged", "merge"]

_MODE = 0o600


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
    The salt is that of ours. Raises ``CassetteError`` with nothing changed.
    """
    ours_texts, theirs_texts = _texts(ours), _texts(theirs)
    gone, new = _changes(ours_texts, theirs_texts, None if base is None else _texts(base))
    kept = [number for number in range(len(ours)) if number not in gone]
    elements = [(ours, number) for number in kept] + [(theirs, number) for number in new]
    _write(path, ours, elements, warn)
    _copy_bodies(elements, path)
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
    ours: Snapshot,
    elements: Sequence[tuple[Snapshot, int]],
    warn: Callable[[str], None],
) -> None:
    def parts() -> Iterator[BytesLike]:
        yield head(ours.layout.salt or secrets.token_hex(16), ours.layout.others)
        laid = {id(each): list(laid_out(each.layout)) for each, _ in elements}
        separator = b"\n    "
        for each, number in elements:
            text = laid[id(each)][number]
            yield separator + text[text.index(b"{") :]
            separator = b",\n    "
        yield TAIL

    file = CassetteFile(path, _MODE, sync=True, disk=Disk(), warn=warn)
    with file_errors(path), file.writing(known=False, new=b"{}") as opened:
        opened.replace(parts())


def _copy_bodies(elements: Sequence[tuple[Snapshot, int]], path: Path) -> None:
    """Copy the large bodies' files that the result names and that are not beside it yet."""
    target = path.resolve().with_name(f"{path.stem}.d")
    for directory in {each.bodies for each, _ in elements}:
        if directory == target or not directory.is_dir():
            continue
        named = b"".join(each.element(n) for each, n in elements if each.bodies == directory)
        for file in directory.iterdir():
            if file.name.encode() in named and not (target / file.name).exists():
                with file_errors(target):
                    target.mkdir(exist_ok=True)
                    shutil.copyfile(file, target / file.name)
