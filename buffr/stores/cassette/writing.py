"""Writes a new cassette from interactions that arrive one by one, in buffr's layout.

So it can be appended to in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from buffr.errors import CassetteError
from buffr.interaction import Interaction
from buffr.stores.cassette.body_files import BodyFiles
from buffr.stores.cassette.file import CassetteFile
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL, Layout
from buffr.stores.cassette.seals import sealed
from buffr.stores.cassette.snapshot import file_errors
from buffr.stores.disk import BytesLike, Disk

__all__ = ["head", "laid_out", "write_new"]

_INDENT = b"\n    "


def head(salt: str, others: Iterable[bytes]) -> bytes:
    """The text up to the bracket that opens the list; ``others`` are members that are kept."""
    members = [b'"version": 1', b'"salt": "%b"' % salt.encode(), *others, b'"interactions": [']
    return b"{\n  " + b",\n  ".join(members)


def laid_out(layout: Layout) -> Iterator[bytes]:
    """The elements, each with the text before it: the same JSON in another indentation.

    Raises ``Disturbed``.
    """
    separator = _INDENT
    for number in range(len(layout.spans)):
        yield separator + _indented(layout.element(number))
        separator = b"," + _INDENT


def _indented(element: bytes) -> bytes:
    """One element in our layout. JSON strings contain no line ends."""
    text = element.replace(b"\r\n", b"\n")
    if text.startswith(b'{\n      "') and text.find(b"\n    }") == len(text) - 6:
        return text
    return msgspec.json.format(text, indent=2).replace(b"\n", _INDENT)


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
            yield separator + sealed(encode(bodies.keep(interaction)))
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
