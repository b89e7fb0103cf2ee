"""A decoder fed with bytes that are cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from buffr.errors import BadFraming
from buffr.message import Headers, Piece
from buffr.wire.body import decoder_for

__all__ = ["Decoded", "bytewise", "places"]


class Decoded:
    """What came of a body of this framing, its bytes cut at these places."""

    def __init__(self, length: int, data: bytes, cuts: Iterable[int] = ()) -> None:
        decoder = decoder_for(length)
        self.pieces: list[Piece] = []
        self.refused = False
        self.rest = b""
        for start, end in pairwise([0, *sorted(cuts), len(data)]):
            try:
                self.pieces += decoder.feed(data[start:end])
            except BadFraming:
                self.refused = True
                break
            if decoder.done:
                self.rest = decoder.rest + data[end:]
                break
        self.done = decoder.done
        self.trailers: Headers = decoder.trailers

    @property
    def data(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    @property
    def sizes(self) -> list[int]:
        """The sizes of the chunks, as announced."""
        return [piece.chunk for piece in self.pieces if piece.chunk is not None]

    @property
    def outcome(self) -> tuple[object, ...]:
        """All that may not depend on the cuts."""
        if self.refused:
            return ("refused",)
        return (self.done, self.data, self.sizes, self.trailers, self.rest)


def bytewise(length: int, data: bytes) -> Decoded:
    return Decoded(length, data, range(1, len(data)))


def places(data: bytes) -> st.SearchStrategy[list[int]]:
    """Where to cut these bytes."""
    return st.lists(st.integers(0, len(data)), max_size=8)
