"""Messages become bytes."""

from __future__ import annotations

from collections.abc import Iterable

from buffr.message import Headers, Piece

__all__ = ["ChunkWriter", "chunked_whole", "fields", "request_head"]


def fields(headers: Headers) -> bytes:
    """Field lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """A whole request head, with its empty line."""
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, fields(headers))


def chunked_whole(data: bytes, sizes: Iterable[int], trailers: Headers = ()) -> bytes:
    """A body in the chunked coding, cut into these sizes, with its end and trailers."""
    parts: list[bytes] = []
    position = 0
    for size in sizes:
        if size:
            parts.append(b"%x\r\n%b\r\n" % (size, data[position : position + size]))
            position += size
    parts.append(b"0\r\n%b\r\n" % fields(trailers))
    return b"".join(parts)


class ChunkWriter:
    """Frames pieces as chunks, in the sizes that their sender chose.

    A chunk may be announced before its bytes are all there: the receiver gets
    them as they come, and still sees the sender's boundaries.
    """

    def __init__(self) -> None:
        self._left = 0

    def frame(self, piece: Piece) -> bytes:
        data = piece.data
        if self._left == 0:
            size = len(data) if piece.chunk is None else piece.chunk
            if size == 0:
                return b""
            self._left = size - len(data)
            head = b"%x\r\n%b" % (size, data)
        else:
            self._left -= len(data)
            head = data
        return head if self._left else head + b"\r\n"

    def end(self, trailers: Headers) -> bytes:
        return b"0\r\n%b\r\n" % fields(trailers)
