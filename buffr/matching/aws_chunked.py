"""Bodies under ``Content-Encoding: aws-chunked``: payloads in signed or unsigned chunks.

AWS Signature Version 4 signs each chunk of an upload in its own head
(``x-amz-content-sha256: STREAMING-…``), and puts checksums behind the last
one. The signatures are new for each request, and how large the chunks are is
the client's affair.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["BadChunks", "Unframing", "is_aws_chunked", "unframed_by_signatures"]

# In a stored body a stand-in takes the signature's place.
_SIGNATURE = rb";chunk-signature=[^\r\n]{1,200}"
_HEAD = re.compile(rb"([0-9a-fA-F]{1,16})(?:%b)?\r\n" % _SIGNATURE)
_SIGNED_HEAD = re.compile(rb"(?:\A|\r\n)[0-9a-fA-F]{1,16}%b(?:\r\n|\Z)" % _SIGNATURE)
_LONGEST_HEAD = 256
_LONGEST_TRAILERS = 16 * 1024
_LINE_END = b"\r\n"
_SIGNATURE_OF_TRAILERS = b"x-amz-trailer-signature"


def is_aws_chunked(codings: bytes) -> bool:
    """Whether ``Content-Encoding`` says that a body comes in such chunks."""
    return b"aws-chunked" in codings.lower()


class BadChunks(ValueError):
    """A body is not in chunks although it says so."""


class Unframing:
    """Takes the payload out of its chunks.

    ``trailers`` are the fields behind it, a line each without their
    signature, once all is read.
    """

    def __init__(self) -> None:
        self.trailers = b""

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The payload of a body in pieces. Raises ``BadChunks``, after what could be read."""
        held = bytearray()
        left = 0  # of a chunk, with the end of line behind it
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
    """The payload and the trailers of signed chunks; ``None`` where there are none.

    Where a credential was replaced in a stored body the sizes of its chunks no
    longer fit; the signatures show where they begin.
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
