"""permessage-deflate: messages are inflated and deflated (RFC 7692 7.2)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from buffr.errors import WebSocketFault

__all__ = ["Deflater", "Inflater"]

_TAIL = b"\x00\x00\xff\xff"
"""The end of an empty block, which senders leave out (RFC 7692 7.2.1)."""
_PIECE_BYTES = 65536
_LARGEST_WINDOW = -15
_SMALLEST_FOR_ZLIB = 9
_INVALID_DATA = 1007


class Inflater:
    """Inflates the messages of one direction, in pieces that stay small.

    It always has the largest window, which suits every sender's.
    ``takeover`` says that a message may refer to those before it.
    """

    def __init__(self, *, takeover: bool = True) -> None:
        self._takeover = takeover
        self._stream = zlib.decompressobj(_LARGEST_WINDOW)

    def inflate(self, data: bytes, *, final: bool) -> Iterator[bytes]:
        """The pieces of a part of a message, made as they are asked for.

        ``final`` says that the message ends with it. Raises ``WebSocketFault``.
        """
        left = data + _TAIL if final else data
        while left:
            try:
                piece = self._stream.decompress(left, _PIECE_BYTES)
            except zlib.error:
                raise WebSocketFault(
                    "a message that does not inflate", close_code=_INVALID_DATA
                ) from None
            left = self._stream.unconsumed_tail
            if self._stream.eof:
                # A final block ends the stream, not the message (RFC 7692 7.2.3.4).
                left = self._stream.unused_data
                self._stream = zlib.decompressobj(_LARGEST_WINDOW)
            if piece:
                yield piece
        if final and not self._takeover:
            self._stream = zlib.decompressobj(_LARGEST_WINDOW)


class Deflater:
    """Deflates the messages of one direction."""

    def __init__(self, *, takeover: bool = True, window_bits: int = 15) -> None:
        self._takeover = takeover
        self._window_bits = max(window_bits, _SMALLEST_FOR_ZLIB)
        self._stream = self._new()

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._window_bits)

    def deflate(self, data: bytes, *, final: bool) -> bytes:
        """A part of a message; ``final`` says that the message ends with it."""
        deflated = self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if not final:
            return deflated
        if not self._takeover:
            self._stream = self._new()
        return deflated.removesuffix(_TAIL)
