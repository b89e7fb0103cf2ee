"""Writes a new cassette from interactions that arrive one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from buffr.errors import CassetteError
from buffr.interaction import Interaction
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL
from buffr.stores.cassette.relayout import head
from buffr.stores.cassette.snapshot import file_errors
from buffr.stores.disk import BytesLike, Disk

__all__ = ["write_new"]

_MODE = 0o600


def write_new(
    path: Path, salt: str, interactions: Iterable[Interaction], warn: Callable[[str], None]
) -> int:
    """Write a cassette by one rename. Returns the number of its interactions.

    Only one interaction is in memory at a time. If ``interactions`` raises,
    nothing remains but files of large bodies. Raises ``CassetteError`` if a
    cassette exists already, or cannot be written.
    """
    count = 0
    disk = Disk()
    file = CassetteFile(path, _MODE, sync=True, disk=disk, warn=warn)
    bodies = BodyFiles(file.real_path, file_mode=_MODE, sync=False, disk=disk)

    def parts() -> Iterator[BytesLike]:
        nonlocal count
        yield head(salt, ())
        separator = b"\n    "
        for interaction in interactions:
            yield separator + encode(bodies.keep(interaction))
            separator = b",\n    "
            count += 1
        yield TAIL

    with file_errors(path), file.writing(known=False, new=b"{}") as opened:
        if not opened.created:
            raise CassetteError(f"{path}: there is a cassette already, and it is not overwritten")
        try:
            opened.replace(parts())
        except BaseException:
            file.real_path.unlink(missing_ok=True)
            raise
    return count
