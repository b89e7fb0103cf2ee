"""A decoder fed with bytes that are cut anywhere, and bytes that were fine once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from buffr.errors import BadFraming
from buffr.message import Headers, Piece
from buffr.wire.http1_body import decoder_for

__all__ = ["Decoded", "bytewise", "damaged", "places"]

_ODD = st.sampled_from(
    [
        *(
            b"\r",
            b"\n",
            b"\r\n",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b";",
            b"\x80",
            b"\xff",
            b"\x0b",
            b"0",
        ),
        *(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n", b"HTTP/1.1"),
    ]
)


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


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Bytes that were fine once: pieces of two messages, with odd bytes in between."""
    one, other = draw(st.sampled_from(originals)), draw(st.sampled_from(originals))
    cut, onward = draw(st.integers(0, len(one))), draw(st.integers(0, len(other)))
    odd = draw(st.lists(_ODD, max_size=3))
    return one[:cut] + b"".join(odd) + other[onward:]
