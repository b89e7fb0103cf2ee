"""Replaces interactions of a cassette; the others keep bytes, order and layout."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from buffr.interaction import Interaction
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL, Layout
from buffr.stores.cassette.removal import let_time_pass, named_by, remove_body_files
from buffr.stores.cassette.seals import sealed
from buffr.stores.cassette.snapshot import Snapshot, file_errors, read_opened
from buffr.stores.cassette.window import Disturbed
from buffr.stores.cassette.writing import head, laid_out
from buffr.stores.disk import BytesLike, Disk

__all__ = ["Choose", "Rewritten", "new_salt", "rewrite"]

Choose = Callable[[Snapshot, str], Mapping[int, Interaction]]
"""Chooses replacements for interactions, given the cassette and its future salt."""


@frozen
class Rewritten:
    """The number of replaced interactions, and the removed body files."""

    interactions: int
    body_files: tuple[Path, ...] = field(default=())


def new_salt() -> str:
    """A salt for a cassette without one."""
    return secrets.token_hex(16)


def rewrite(
    path: Path,
    choose: Choose,
    warn: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    *,
    salt: str = "",
    anew: bool = False,
) -> Rewritten:
    """Replace interactions by one rename, without keeping a copy.

    The lock is held from reading on, so that nothing that a running buffr
    records meanwhile is lost. Body files that are no longer referenced are
    removed with the old interactions. If there is nothing to replace, the file
    is not touched. A cassette without a salt gets this one, or a new one.
    Replacements count as edited where the old interaction was, unless they are
    recorded ``anew``. Raises ``CassetteError`` with the file unchanged.
    """
    disk = Disk()
    file = CassetteFile(path, 0o600, sync=True, disk=disk, warn=warn)
    with file_errors(path):
        mode = path.stat().st_mode & 0o777
        with file.writing(known=True, new=b"{}") as opened:
            if opened.created:  # it went away just now
                file.real_path.unlink(missing_ok=True)
                raise FileNotFoundError
            snapshot = read_opened(file, opened)
            if snapshot.is_torn:
                raise snapshot.torn_end
            salt = snapshot.layout.salt or salt or new_salt()
            instead = choose(snapshot, salt)
            if not instead:
                return Rewritten(0)
            let_time_pass(snapshot, instead, sleep)
            old_files = named_by(snapshot, instead)
            bodies = BodyFiles(file.real_path, file_mode=mode, sync=True, disk=disk)
            texts = {
                number: sealed(
                    encode(bodies.keep(one)), edited=not anew and snapshot.is_edited(number)
                )
                for number, one in instead.items()
            }
            if opened.stamp() != snapshot.stamp:
                raise Disturbed
            opened.replace(_with(snapshot, texts, salt))
            kept = {name for text in texts.values() for name in old_files if name.encode() in text}
            gone = remove_body_files(snapshot, old_files - kept, opened)
            return Rewritten(len(texts), gone)


def _with(snapshot: Snapshot, texts: Mapping[int, bytes], salt: str) -> Iterator[BytesLike]:
    """The text with some elements replaced; in a new layout if it has no salt."""
    layout = snapshot.layout
    if layout.salt is not None:
        yield from _in_place(layout, texts)
        return
    yield head(salt, layout.others)
    for number, old in enumerate(laid_out(layout)):
        new = texts.get(number)
        # Before its first brace is the separator from the previous one.
        yield old if new is None else old[: old.index(b"{")] + new
    yield TAIL


def _in_place(layout: Layout, texts: Mapping[int, bytes]) -> Iterator[BytesLike]:
    at = 0
    for number in sorted(texts):
        end = layout.spans.end_of(number + 1)[0]
        yield layout.piece(at, end - len(layout.element(number)))
        yield texts[number]
        at = end
    yield layout.piece(at, layout.size_bytes)
