"""Messages of gRPC in a body: a flag, four bytes of length, and so many bytes, again and again.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; gRPC-Web and
Connect's streams frame theirs alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from attrs import frozen

__all__ = [
    "COMPRESSED",
    "END_OF_STREAM",
    "TRAILERS",
    "Framed",
    "framed",
    "frames",
    "is_grpc_type",
    "may_be_compressed",
    "without_compression",
]

_PREFIX = 5
COMPRESSED = 1
END_OF_STREAM = 2
"""Connect's last message of a stream, which is JSON."""
TRAILERS = 128
"""gRPC-Web's last message, which is trailer fields."""

_ANY_WINDOW = 32 + zlib.MAX_WBITS
"""Both of zlib's formats, as their first bytes show: gRPC's ``gzip`` and ``deflate``."""


def is_grpc_type(media_type: bytes) -> bool:
    """Whether bodies of this lower-case media type are messages of gRPC."""
    return media_type == b"application/grpc" or media_type.startswith(b"application/grpc+")


@frozen
class Framed:
    """A message with its flags, at ``body[start:end]`` with its prefix; ``content`` is inflated.

    It is not ``whole`` if the body ends within it.
    """

    flags: int
    start: int
    end: int
    content: bytes
    whole: bool = True

    @property
    def compressed(self) -> bool:
        return bool(self.flags & COMPRESSED)


def without_compression(body: bytes, most_bytes: int) -> bytes:
    """The body with its compressed messages inflated, and marked so.

    A body that is malformed, that has a compression other than zlib's, or that
    would be longer than ``most_bytes``, is returned as it is.
    """
    try:
        return b"".join(
            [framed(one.flags & ~COMPRESSED, one.content) for one in frames(body, most_bytes)]
        )
    except ValueError:
        return body


def may_be_compressed(body: bytes) -> bool:
    """Whether messages in a body, which may be anything, say that they are compressed."""
    at = 0
    while at < len(body):
        if body[at] & COMPRESSED:
            return True
        at += _PREFIX + int.from_bytes(body[at + 1 : at + _PREFIX], "big")
    return False


def framed(flags: int, message: bytes) -> bytes:
    """A message with its prefix."""
    return bytes((flags,)) + len(message).to_bytes(4, "big") + message


def frames(body: bytes, most_bytes: int, *, cut: bool = False) -> Iterator[Framed]:
    """The messages of a body. Raises ``ValueError`` if it is malformed, has a compression other
    than zlib's, or would be longer than ``most_bytes``.

    With ``cut``, a body may end within a message.
    """
    at, left = 0, most_bytes
    while at < len(body):
        if at + _PREFIX > len(body):
            if cut:
                return
            raise ValueError("a prefix is cut off")
        flags, size = body[at], int.from_bytes(body[at + 1 : at + _PREFIX], "big")
        start, at = at, at + _PREFIX + size
        message = body[start + _PREFIX : at]
        whole = len(message) == size
        if not (whole or cut):
            raise ValueError("a message is cut off")
        if flags & COMPRESSED:
            message = _inflated(message, left, whole=whole)
        left -= len(message)
        if left < 0:
            raise ValueError("the messages are too long")
        yield Framed(flags, start, min(at, len(body)), message, whole)


def _inflated(message: bytes, most_bytes: int, *, whole: bool) -> bytes:
    """Raises ``ValueError``."""
    inflater = zlib.decompressobj(_ANY_WINDOW)
    try:
        message = inflater.decompress(message, most_bytes + 1)
    except zlib.error as error:
        raise ValueError("a message's compression is not zlib's") from error
    if whole and not inflater.eof:
        raise ValueError("a message is cut off, or too long")
    return message
