"""HTTP/1.1 bodies: decoded by the framing that a head declares, and encoded as chunks.

A decoder is fed bytes and returns pieces. Once it is ``done``, ``rest`` holds
the bytes after the body, and ``trailers`` the fields after its last chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

from buffr.errors import BadFraming, BodyCutShort
from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, Piece

__all__ = [
    "NOT_IN_TRAILERS",
    "BodyDecoder",
    "ChunkWriter",
    "chunked_whole",
    "decoder_for",
    "fields",
    "request_head",
]

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*((?:;[\t\x20-\x7e\x80-\xff]*)?)")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_MAX_LINE = 4096
_MAX_EXCESS = 16384
_MAX_TRAILERS = 16384

NOT_IN_TRAILERS = frozenset(
    (
        b"authorization",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Fields about framing, routing or content, which are dropped in trailers (RFC 9110 6.5.1)."""


class BodyDecoder(Protocol):
    """Reads one body. There is one class for each framing."""

    done: bool
    rest: bytes
    trailers: Headers

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces in the next bytes. Raises ``BadFraming``."""

    def finish(self) -> None:
        """The connection has ended. Raises ``BodyCutShort`` unless that is how the body ends."""


class LengthDecoder:
    """A body of a known number of bytes."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.rest = b""
        self.trailers: Headers = ()

    def feed(self, data: bytes) -> list[Piece]:
        taken = data[: self._left]
        self._left -= len(taken)
        if self._left == 0:
            self.done = True
            self.rest = data[len(taken) :]
        return [Piece(taken)] if taken else []

    def finish(self) -> None:
        if not self.done:
            raise BodyCutShort(f"the connection ended {self._left} bytes before the body's end")


class UntilCloseDecoder:
    """A body that ends with the connection."""

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: Headers = ()

    def feed(self, data: bytes) -> list[Piece]:
        return [Piece(data)] if data else []

    def finish(self) -> None:
        self.done = True


class ChunkedDecoder:
    """The chunked transfer coding (RFC 9112 7.1), keeping the sender's chunk sizes.

    Strict: only CRLF ends a line, sizes are plain hexadecimal digits, and
    extensions, which are dropped, may not outweigh the data.
    """

    def __init__(self) -> None:
        self.done = False
        self.rest = b""
        self.trailers: Headers = ()
        self._pending = b""
        self._size = 0
        self._left = 0
        self._at_data_end = False
        self._in_trailers = False
        self._trailers_read = 0
        self._excess = 0

    def feed(self, data: bytes) -> list[Piece]:
        buffer = self._pending + data if self._pending else data
        pieces: list[Piece] = []
        position = 0
        while True:
            if self._left:
                taken = buffer[position : position + self._left]
                if not taken:
                    break
                pieces.append(Piece(taken, self._size if self._left == self._size else None))
                position += len(taken)
                self._left -= len(taken)
                self._at_data_end = self._left == 0
                continue
            after = self._line(buffer, position)
            if after is None or self.done:
                position = position if after is None else after
                break
            position = after
        self._pending = b"" if self.done else buffer[position:]
        if self.done:
            self.rest = buffer[position:]
        return pieces

    def _line(self, buffer: bytes, position: int) -> int | None:
        """Take the framing between data: where it ends, or ``None`` if it is incomplete."""
        if self._at_data_end:
            ending = buffer[position : position + 2]
            if not b"\r\n".startswith(ending):
                raise BadFraming("a chunk is longer than its size says")
            if len(ending) < 2:
                return None
            self._at_data_end = False
            return position + 2
        if self._in_trailers:
            return self._trailer_section(buffer, position)
        return self._size_line(buffer, position)

    def _size_line(self, buffer: bytes, position: int) -> int | None:
        end = buffer.find(b"\r\n", position, position + _MAX_LINE)
        if end < 0:
            partial = buffer[position : position + _MAX_LINE]
            if len(partial) == _MAX_LINE or b"\n" in partial or b"\r" in partial[:-1]:
                raise BadFraming("malformed chunk size")
            if partial and not _SIZE_LINE.fullmatch(partial.rstrip(b"\r")):
                raise BadFraming("malformed chunk size")
            return None
        line = _SIZE_LINE.fullmatch(buffer, position, end)
        if line is None:
            raise BadFraming("malformed chunk size")
        self._size = self._left = int(line[1], 16)
        self._excess = max(0, self._excess + len(line[2]) - self._size)
        if self._excess > _MAX_EXCESS:
            raise BadFraming("chunk extensions outweigh the data")
        self._in_trailers = self._size == 0
        return end + 2

    def _trailer_section(self, buffer: bytes, position: int) -> int | None:
        if buffer.startswith(b"\r\n", position):
            self.done = True
            return position + 2
        end = buffer.find(b"\r\n\r\n", position, position + _MAX_TRAILERS)
        if end < 0:
            if len(buffer) - position >= _MAX_TRAILERS:
                raise BadFraming("the trailer section is too long")
            self._check_partial_trailers(buffer[position:])
            return None
        self.trailers = tuple(
            field
            for field in map(_trailer, buffer[position:end].split(b"\r\n"))
            if field[0].lower() not in NOT_IN_TRAILERS
        )
        self.done = True
        return end + 4

    def _check_partial_trailers(self, partial: bytes) -> None:
        """Refuse a malformed section before it is complete. Each line is checked once."""
        *lines, last = partial[self._trailers_read :].split(b"\r\n")
        for line in lines:
            _trailer(line)
        self._trailers_read = len(partial) - len(last)
        if b"\n" in last or b"\r" in last[:-1]:
            raise BadFraming("malformed trailer section")

    def finish(self) -> None:
        if not self.done:
            raise BodyCutShort("the connection ended before the last chunk")


def _trailer(line: bytes) -> tuple[bytes, bytes]:
    matched = _TRAILER.fullmatch(line)
    if matched is None:
        raise BadFraming("malformed trailer section")
    return matched[1], matched[2].strip(b" \t")


def decoder_for(length: int) -> BodyDecoder:
    """The decoder for a body length as in ``Request.body_length`` or ``response_length``."""
    if length == CHUNKED:
        return ChunkedDecoder()
    if length == UNTIL_CLOSE:
        return UntilCloseDecoder()
    return LengthDecoder(length)


def fields(headers: Headers) -> bytes:
    """Field lines, each with its line end."""
    return b"".join([b"%b: %b\r\n" % field for field in headers])


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """A whole request head, with its empty line."""
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, fields(headers))


def chunked_whole(data: bytes, sizes: Iterable[int], trailers: Headers = ()) -> bytes:
    """A whole body in the chunked coding, in chunks of these sizes, with its trailers."""
    parts: list[bytes] = []
    position = 0
    for size in sizes:
        if size:
            parts.append(b"%x\r\n%b\r\n" % (size, data[position : position + size]))
            position += size
    parts.append(b"0\r\n%b\r\n" % fields(trailers))
    return b"".join(parts)


class ChunkWriter:
    """Frames pieces as chunks with their sender's sizes.

    A chunk's size may go out before all of its bytes have come: the receiver
    gets them as they come, and still sees the sender's boundaries.
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
