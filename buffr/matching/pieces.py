"""Texts in pieces, joined where they are short enough, and the members of long objects in order.

The canonical form of a body may be too long to join.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from heapq import merge
from operator import itemgetter

__all__ = [
    "Members",
    "Pause",
    "Piece",
    "PieceBuffer",
    "SameNames",
    "Text",
    "digest_of_pieces",
    "go_on",
    "joined",
    "size_of",
    "stretch",
]

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


_PUT_TOGETHER = 4096
_MOST_HELD = 64 * 1024
_FEW_PIECES = 3


class SameNames(Exception):
    """Several members of an object have the same name: nothing is left out of such an object."""


class PieceBuffer:
    """The pieces of a text; small ones are joined."""

    def __init__(self, start: bytes) -> None:
        self._pieces: list[Piece] = []
        self._held = bytearray(start)

    def add(self, piece: Piece) -> None:
        if len(piece) < _PUT_TOGETHER:
            self._held += piece
            if len(self._held) >= _MOST_HELD:
                self._flush()
        elif len(piece):
            self._flush()
            self._pieces.append(piece)

    def add_all(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            self.add(piece)

    def end(self) -> list[Piece]:
        self._flush()
        return self._pieces

    def _flush(self) -> None:
        if self._held:
            self._pieces.append(bytes(self._held))
            self._held.clear()


Member = tuple[str, list[Piece]]
"""A name, and the member in canonical form; an empty piece if it is left out."""


class Members:
    """The members of an object, sorted by name; those with the same name stay in order.

    They are sorted a few at a time, because sorting very many at once takes
    long.
    """

    _AT_ONCE = 2048

    def __init__(self) -> None:
        self._waiting: list[Member] = []
        self._sorted: list[_Run] = []

    def add(self, name: str, pieces: list[Piece]) -> None:
        self._waiting.append((name, pieces))
        if len(self._waiting) >= self._AT_ONCE:
            self._sorted.append(_Run(self._sort()))

    def _sort(self) -> list[Member]:
        waiting, self._waiting = self._waiting, []
        waiting.sort(key=itemgetter(0))
        return waiting

    def end(self, pause: Pause, *, may_repeat: bool) -> list[Piece]:
        """The object. Raises ``SameNames`` unless names may repeat."""
        out = PieceBuffer(b"{")
        before: str | None = None
        between = b""
        for name, pieces in merge(*self._sorted, self._sort(), key=itemgetter(0)):
            if name == before and not may_repeat:
                raise SameNames
            before = name
            pause()
            if pieces[0]:
                out.add(between)
                out.add_all(pieces)
                between = b","
        out.add(b"}")
        return out.end()


class _Run:
    """Members in order, packed: an object may have millions of them."""

    def __init__(self, members: list[Member]) -> None:
        names, spelled = bytearray(), bytearray()
        self._name_ends, self._ends = array("Q"), array("Q")
        self._long: dict[int, list[Piece]] = {}
        for at, (name, pieces) in enumerate(members):
            names += name.encode()
            self._name_ends.append(len(names))
            if len(pieces) > _FEW_PIECES or len(pieces[-1]) >= _PUT_TOGETHER:
                self._long[at] = pieces
            else:
                spelled += b"".join(pieces)
            self._ends.append(len(spelled))
        self._names, self._spelled = bytes(names), bytes(spelled)

    def __iter__(self) -> Iterator[Member]:
        name_start = start = 0
        for at, (name_end, end) in enumerate(zip(self._name_ends, self._ends, strict=True)):
            name = self._names[name_start:name_end].decode()
            yield name, self._long.get(at) or [self._spelled[start:end]]
            name_start, start = name_end, end
