"""Recorded frames become bytes for a client."""

from __future__ import annotations

from collections.abc import Iterator

from buffr.interaction import Frame, FrameKind
from buffr.recording.player import reader
from buffr.wire.websocket_deflate import Deflater
from buffr.wire.websocket_frames import close_payload, encode_frame, frame_head

__all__ = ["FrameWriter"]

_BLOCK_BYTES = 65536
_AT_ONCE_BYTES = 1 << 20
"""Larger messages go out in blocks, as fast as the client takes them."""
_NO_STATUS = b""


class FrameWriter:
    """Writes a server's frames: in the recorded fragments, compressed where they were.

    ``deflater`` is given where the client has agreed to permessage-deflate.
    """

    def __init__(self, deflater: Deflater | None) -> None:
        self._deflater = deflater

    def encoded(self, frame: Frame) -> bytes | Iterator[bytes]:
        """A frame's bytes, or the blocks of a large one. Raises ``CassetteError``."""
        if frame.kind is FrameKind.CLOSE:
            code = frame.close_code
            payload = _NO_STATUS if code is None else close_payload(code, frame.reason)
            return encode_frame(frame.kind, payload)
        body = frame.data
        if body.file is not None or body.size_bytes > _AT_ONCE_BYTES:
            return _blocks(frame)
        data = body.data
        compressed = frame.compressed and self._deflater is not None
        if not (compressed or frame.fragments):
            return encode_frame(frame.kind, data)
        return b"".join(self._fragments(frame, data, compressed=compressed))

    def _fragments(self, frame: Frame, data: bytes, *, compressed: bool) -> Iterator[bytes]:
        kind: FrameKind | None = frame.kind
        sizes = _sizes(frame)
        at = 0
        for number, size in enumerate(sizes, 1):
            piece, final = data[at : at + size], number == len(sizes)
            at += size
            if compressed:
                assert self._deflater is not None
                piece = self._deflater.deflate(piece, final=final)
            first = compressed and number == 1
            yield encode_frame(kind, piece, final=final, compressed=first)
            kind = None


def _sizes(frame: Frame) -> tuple[int, ...]:
    """The fragments, or one of all where they no longer fit the message."""
    size_bytes = frame.data.size_bytes
    return frame.fragments if sum(frame.fragments) == size_bytes else (size_bytes,)


def _blocks(frame: Frame) -> Iterator[bytes]:
    """A large message, never compressed: how large it would get is known too late."""
    read = reader(frame.data)
    at = 0
    kind: FrameKind | None = frame.kind
    sizes = _sizes(frame)
    for number, size in enumerate(sizes, 1):
        yield frame_head(kind, size, final=number == len(sizes))
        kind = None
        end = at + size
        while at < end:
            block = read(at, min(_BLOCK_BYTES, end - at))
            at += len(block)
            yield block
