"""Bodies under ``Content-Encoding: aws-chunked``: payloads in signed or unsigned chunks.

AWS Signature Version 4 signs each chunk of an upload in its own head
(``x-amz-content-sha256: STREAMING-…``), and puts checksums after the last one.
The signatures are new for each request, and the client chooses the chunk
sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["BadChunks", "ChunkDecoder", "is_aws_chunked", "unframed_by_signatures"]

# In a stored body a stand-in replaces the signature.
_SIGNATURE = rb";chunk-signature=[^\r\n]{1,200}"
_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:%b)?\r\n" % _SIGNATURE)
_SIGNED_HEAD = re.compile(rb"(?:\A|\r\n)[0-9a-fA-F]{1,16}%b(?:\r\n|\Z)" % _SIGNATURE)
_LONGEST_HEAD = 256
_LONGEST_TRAILERS = 16 * 1024
_LINE_END = b"\r\n"
_SIGNATURE_OF_TRAILERS = b"x-amz-trailer-signature"


def is_aws_chunked(codings: bytes) -> bool:
    """Whether ``Content-Encoding`` declares this coding."""
    return b"aws-chunked" in codings.lower()


class BadChunks(ValueError):
    """A body that is declared as aws-chunked is not."""


class ChunkDecoder:
    """Extracts the payload from its chunks.

    ``trailers`` are the fields after it, one a line and without their
    signature, once everything is read.
    """

    def __init__(self) -> None:
        self.trailers = b""

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The payload of a body in pieces.

        Raises ``BadChunks``, after yielding what could be read.
        """
        held = bytearray()
        left = 0  # of a chunk, including its line end
        ended = False
        for piece in pieces:
            held += piece
            while not ended:
                if left > len(_LINE_END):
                    taken = bytes(held[: left - len(_LINE_END)])
                    yield taken
                    del held[: len(taken)]
                    left -= len(taken)
                if left > len(held):
                    break
                if held[:left] != _LINE_END[:left]:
                    raise BadChunks
                del held[:left]
                left = 0
                head = _HEAD.match(held)
                if head is None:
                    if len(held) > _LONGEST_HEAD:
                        raise BadChunks
                    break
                size = int(head[1], 16)
                left, ended = size + len(_LINE_END), not size
                del held[: head.end()]
            if ended and len(held) > _LONGEST_TRAILERS:
                raise BadChunks
        if not ended:
            raise BadChunks
        self.trailers = _trailers(bytes(held))


def unframed_by_signatures(body: bytes) -> tuple[bytes, bytes] | None:
    """The payload and the trailers of signed chunks; ``None`` if there are none.

    If a credential was replaced in a stored body, the chunk sizes no longer
    fit: the signatures show where the chunks begin.
    """
    first, *parts = _SIGNED_HEAD.split(body)
    if first or not parts or len(parts[-1]) > _LONGEST_TRAILERS:
        return None
    try:
        return b"".join(parts[:-1]), _trailers(parts[-1])
    except BadChunks:
        return None


def _trailers(text: bytes) -> bytes:
    """The fields in one spelling."""
    kept: list[bytes] = []
    for line in text.split(_LINE_END):
        name, colon, value = line.partition(b":")
        if line and not colon:
            raise BadChunks
        if line and name.strip().lower() != _SIGNATURE_OF_TRAILERS:
            kept.append(name.strip().lower() + b":" + value.strip())
    return b"\n".join(kept)
