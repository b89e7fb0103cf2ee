"""Messages of gRPC in a body: a flag, four bytes of length, and so many bytes, again and again.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; gRPC-Web and
Connect's streams frame theirs alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["is_grpc_type", "without_compression"]

_PREFIX = 5
_COMPRESSED = 1
_ANY_WINDOW = 32 + zlib.MAX_WBITS
"""Both of zlib's formats, as their first bytes show: gRPC's ``gzip`` and ``deflate``."""


def is_grpc_type(media_type: bytes) -> bool:
    """Whether bodies of this lower-case media type are messages of gRPC."""
    return media_type == b"application/grpc" or media_type.startswith(b"application/grpc+")


def without_compression(body: bytes, most_bytes: int) -> bytes:
    """The body with its compressed messages inflated, and marked so.

    A body that is malformed, that has a compression other than zlib's, or that
    would be longer than ``most_bytes``, is returned as it is.
    """
    try:
        return b"".join(_inflated(body, most_bytes))
    except (ValueError, zlib.error):
        return body


def _inflated(body: bytes, left: int) -> Iterator[bytes]:
    """Raises ``ValueError``, ``zlib.error``."""
    at = 0
    while at < len(body):
        if at + _PREFIX > len(body):
            raise ValueError
        flags, size = body[at], int.from_bytes(body[at + 1 : at + _PREFIX], "big")
        message = body[at + _PREFIX : at + _PREFIX + size]
        if len(message) < size:
            raise ValueError
        at += _PREFIX + size
        if flags & _COMPRESSED:
            inflater = zlib.decompressobj(_ANY_WINDOW)
            message = inflater.decompress(message, left + 1)
            flags &= ~_COMPRESSED
            if not inflater.eof:
                raise ValueError
        left -= len(message)
        if left < 0:
            raise ValueError
        yield bytes((flags,)) + len(message).to_bytes(4, "big") + message
