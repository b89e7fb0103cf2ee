"""Texts in pieces: the canonical form of a body may be too long to join."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

__all__ = ["Pause", "Piece", "Text", "digest_of_pieces", "go_on", "joined", "size_of", "stretch"]

Text = bytes | bytearray
"""A whole text."""

Piece = bytes | memoryview
"""A stretch of a text, or its replacement."""

Pause = Callable[[], None]
"""Called now and then by long work, so that other work gets a turn."""

_VIEWED = 4096
_AT_ONCE = 1 << 20


def go_on() -> None:
    """A ``Pause`` that does nothing."""


def stretch(text: Text, start: int, end: int) -> Piece:
    """The stretch; not copied if it is long."""
    if end - start < _VIEWED:
        return bytes(text[start:end])
    return memoryview(text)[start:end]


def size_of(pieces: Iterable[Piece]) -> int:
    return sum([len(piece) for piece in pieces])


def joined(pieces: list[Piece]) -> bytes:
    return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


def digest_of_pieces(pieces: Iterable[Piece], pause: Pause) -> str:
    """SHA-256, in hex."""
    hashed = sha256()
    for piece in pieces:
        for at in range(0, len(piece), _AT_ONCE):
            hashed.update(piece[at : at + _AT_ONCE])
            pause()
    return hashed.hexdigest()
