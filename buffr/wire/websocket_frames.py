"""WebSocket frames (RFC 6455 5): read and validated in one direction, and encoded.

A reader passes valid bytes on unchanged, masked or not. Frames up to 64 KiB
are validated whole; larger ones pass piece by piece.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import NamedTuple

from buffr.errors import WebSocketFault
from buffr.interaction import FrameKind
from buffr.wire.websocket_deflate import Inflater

__all__ = [
    "CLOSE_CODES",
    "MAX_CONTROL_BYTES",
    "WHOLE_BINARY",
    "WHOLE_TEXT",
    "Control",
    "Data",
    "FrameReader",
    "Passed",
    "close_payload",
    "encode_frame",
    "frame_head",
    "unmask",
]

_WHOLE_BYTES = 65536
"""Larger frames pass before they are complete."""
MAX_CONTROL_BYTES = 125
"""The largest payload of a control frame (RFC 6455 5.5)."""
_IN_TWO_BYTES = 126
_MAX_LENGTH = 1 << 63
_PROTOCOL_ERROR = 1002
_INVALID_DATA = 1007
_TOO_BIG = 1009

_CONTINUATION, _CLOSE = 0x0, 0x8
WHOLE_TEXT, WHOLE_BINARY = 0x81, 0x82
"""The first byte of a message in one frame that is not compressed (RFC 6455 5.2)."""
_WHOLE = (WHOLE_TEXT, WHOLE_BINARY)
_KINDS = {0x1: FrameKind.TEXT, 0x2: FrameKind.BINARY}
_CONTROLS = {0x8: FrameKind.CLOSE, 0x9: FrameKind.PING, 0xA: FrameKind.PONG}
CLOSE_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
"""Codes allowed in a close frame: RFC 6455 7.4, and the IANA registry."""
_MAX_REASON = 123
_OPCODES = {
    FrameKind.TEXT: 0x1,
    FrameKind.BINARY: 0x2,
    FrameKind.CLOSE: 0x8,
    FrameKind.PING: 0x9,
    FrameKind.PONG: 0xA,
}


class Data(NamedTuple):
    """A piece of a text or binary message, unmasked and inflated.

    ``ends_frame`` and ``ends_message`` say what ends with it.
    """

    kind: FrameKind
    payload: bytes
    ends_frame: bool
    ends_message: bool
    compressed: bool


class Control(NamedTuple):
    """A ping, a pong or a close frame with its payload."""

    kind: FrameKind
    payload: bytes


class Passed(NamedTuple):
    """Bytes to pass on unchanged, and the event that they complete."""

    raw: bytes
    event: Data | Control


class FrameReader:
    """Reads the frames of one direction.

    ``masked`` says whether its frames must be masked, as a client's must, or
    must not be. ``inflater`` is given if permessage-deflate was negotiated.
    ``message_bytes`` bounds an inflated message; zero means no bound.
    """

    def __init__(
        self, *, masked: bool, inflater: Inflater | None = None, message_bytes: int = 0
    ) -> None:
        self.closed = False
        """Whether a close frame has come. Nothing passes after it."""
        self.inside = False
        """Whether the bytes passed so far end within a frame."""
        self._masked = masked
        self._inflater = inflater
        self._message_bytes = message_bytes
        self._buffer = b""
        self._kind: FrameKind | None = None
        self._compressed = False
        self._size_bytes = 0
        self._utf8 = getincrementaldecoder("utf-8")()
        self._utf8_open = False
        self._head = b""
        self._key = b""
        self._final = True
        self._left = 0

    def message(self, data: bytes) -> bytes | None:
        """The payload, if the next bytes are just one whole message in one plain frame.

        Most are. Otherwise nothing has happened, and ``feed`` takes the bytes.
        """
        size = len(data)
        if self._kind is not None or self._buffer or self._left or self.closed or size < 2:
            return None
        first, second = data[0], data[1]
        if first not in _WHOLE or (second >= 0x80) is not self._masked:
            return None
        start, length = 2, second & 0x7F
        if length > MAX_CONTROL_BYTES:
            start, length = 4, int.from_bytes(data[2:4])
            if second & 0x7F != _IN_TWO_BYTES or length <= MAX_CONTROL_BYTES:
                return None
        if self._masked:
            start += 4
        if start + length != size or (self._message_bytes and length > self._message_bytes):
            return None
        payload = data[start:]
        if self._masked and length:
            payload = unmask(payload, data[start - 4 : start])
        if first == WHOLE_TEXT and not (payload.isascii() or _is_utf8(payload)):
            return None
        return payload

    def feed(self, data: bytes) -> Iterator[Passed]:
        """Validate the next bytes, lazily, and yield what passes.

        Raises ``WebSocketFault`` at the first byte that must not pass. Exhaust
        each iterator before feeding more.
        """
        buffer = self._buffer + data if self._buffer else data
        self._buffer = b""
        at, size = 0, len(buffer)
        while at < size and not self.closed:
            if self._left:
                piece = buffer[at : at + self._left]
                at += len(piece)
                yield from self._large(piece)
                continue
            start, length = self._next_head(buffer, at)
            if not start:
                break
            first = buffer[at]
            if length > _WHOLE_BYTES:
                self._begin_large(first, buffer[at:start], length)
                at = start
                continue
            end = start + length
            if size < end:
                break
            raw = buffer if end - at == size else buffer[at:end]
            payload = buffer[start:end]
            if self._masked and payload:
                payload = unmask(payload, buffer[start - 4 : start])
            at = end
            if first & 0x08:
                yield Passed(raw, self._control(first, payload))
                continue
            final = first >= 0x80
            if first & 0x0F:
                self._begin_message(first)
            if self._compressed:
                yield from self._inflated(raw, payload, ends_frame=True, final=final)
            else:
                yield Passed(raw, self._data(payload, ends_frame=True, final=final))
        if not self.closed:
            self._buffer = buffer[at:]

    def _next_head(self, buffer: bytes, at: int) -> tuple[int, int]:
        """Where the payload of the next frame starts, and its length; (0, 0) if not yet known."""
        size = len(buffer)
        if size - at < 2:
            return 0, 0
        first, second = buffer[at], buffer[at + 1]
        self._judge(first, second)
        start, length = at + 2, second & 0x7F
        if length > MAX_CONTROL_BYTES:
            extra = 2 if length == _IN_TWO_BYTES else 8
            if size - start < extra:
                return 0, 0
            length = self._long_length(buffer[start : start + extra])
            start += extra
        if self._masked:
            start += 4
        if first & 0x08 == 0:
            self._bound(length)
        return (start, length) if start <= size else (0, 0)

    def _judge(self, first: int, second: int) -> None:
        """Raise for faults that the first two bytes show."""
        opcode = first & 0x0F
        if (second >= 0x80) is not self._masked:
            raise _broken("an unmasked frame" if self._masked else "a masked frame")
        if opcode in _CONTROLS:
            if first & 0x70:
                raise _broken("reserved bits in a control frame")
            if first < 0x80:
                raise _broken("a fragmented control frame")
            if second & 0x7F > MAX_CONTROL_BYTES:
                raise _broken("a control frame of over 125 bytes")
            return
        if opcode not in _KINDS and opcode != _CONTINUATION:
            raise _broken(f"reserved opcode {opcode}")
        if opcode == _CONTINUATION and self._kind is None:
            raise _broken("a continuation frame without a message")
        if opcode != _CONTINUATION and self._kind is not None:
            raise _broken("a new message within a fragmented one")
        allowed = 0x40 if opcode and self._inflater is not None else 0
        if first & 0x70 & ~allowed:
            raise _broken("reserved bits that were not negotiated")

    @staticmethod
    def _long_length(encoded: bytes) -> int:
        length = int.from_bytes(encoded, "big")
        if length < (126 if len(encoded) == 2 else 65536) or length >= _MAX_LENGTH:
            raise _broken("a length that is not in its shortest form")
        return length

    def _bound(self, length: int) -> None:
        if self._message_bytes and self._size_bytes + length > self._message_bytes:
            raise self._too_big()

    def _too_big(self) -> WebSocketFault:
        return WebSocketFault(
            f"a message of over {self._message_bytes} bytes",
            close_code=_TOO_BIG,
            hint="limits.websocket_message_bytes sets the bound",
        )

    def _begin_message(self, first: int) -> None:
        self._kind = _KINDS[first & 0x0F]
        self._compressed = bool(first & 0x40)
        self._size_bytes = 0

    def _control(self, first: int, payload: bytes) -> Control:
        opcode = first & 0x0F
        if opcode == _CLOSE:
            _judge_close(payload)
            self.closed = True
        return Control(_CONTROLS[opcode], payload)

    def _begin_large(self, first: int, head: bytes, length: int) -> None:
        if first & 0x0F:
            self._begin_message(first)
        self._head = head
        self._key = head[-4:] if self._masked else b""
        self._final = first >= 0x80
        self._left = length

    def _large(self, piece: bytes) -> Iterator[Passed]:
        payload = piece
        if self._masked:
            payload = unmask(piece, self._key)
            turn = len(piece) & 3
            self._key = self._key[turn:] + self._key[:turn]
        self._left -= len(piece)
        raw, self._head = self._head + piece, b""
        ends_frame = self._left == 0
        final = self._final and ends_frame
        if self._compressed:
            passing = self._inflated(raw, payload, ends_frame=ends_frame, final=final)
        else:
            passing = iter((Passed(raw, self._data(payload, ends_frame=ends_frame, final=final)),))
        for passed in passing:
            self.inside = self.inside or bool(passed.raw)
            if ends_frame and passed.raw:
                self.inside = False
            yield passed

    def _inflated(
        self, raw: bytes, payload: bytes, *, ends_frame: bool, final: bool
    ) -> Iterator[Passed]:
        """The pieces that a payload inflates to; the raw bytes pass once all are validated."""
        assert self._inflater is not None
        before = b""
        for piece in self._inflater.inflate(payload, final=final):
            if before:
                yield Passed(b"", self._data(before, ends_frame=False, final=False))
            before = piece
        yield Passed(raw, self._data(before, ends_frame=ends_frame, final=final))

    def _data(self, payload: bytes, *, ends_frame: bool, final: bool) -> Data:
        """Validate a piece of a message. ``final`` says that the message ends with it."""
        kind = self._kind
        assert kind is not None
        self._size_bytes += len(payload)
        if self._message_bytes and self._size_bytes > self._message_bytes:
            raise self._too_big()
        if kind is FrameKind.TEXT and (self._utf8_open or not payload.isascii()):
            self._judge_text(payload, final=final)
        if final:
            self._kind = None
            self._size_bytes = 0
        return Data(kind, payload, ends_frame, final, self._compressed)

    def _judge_text(self, payload: bytes, *, final: bool) -> None:
        try:
            self._utf8.decode(payload, final)
        except UnicodeDecodeError:
            raise WebSocketFault(
                "a text message that is not UTF-8", close_code=_INVALID_DATA
            ) from None
        self._utf8_open = bool(self._utf8.getstate()[0])


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _judge_close(payload: bytes) -> None:
    if not payload:
        return
    if len(payload) == 1 or int.from_bytes(payload[:2], "big") not in CLOSE_CODES:
        raise _broken("a close code that must not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketFault("a close reason that is not UTF-8", close_code=_INVALID_DATA) from None


def _broken(what: str) -> WebSocketFault:
    return WebSocketFault(what, close_code=_PROTOCOL_ERROR)


def unmask(data: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455 5.3)."""
    size = len(data)
    keys = (key * ((size >> 2) + 1))[:size]
    mixed = int.from_bytes(data, "little") ^ int.from_bytes(keys, "little")
    return mixed.to_bytes(size, "little")


def encode_frame(
    kind: FrameKind | None,
    payload: bytes,
    *,
    final: bool = True,
    compressed: bool = False,
    key: bytes = b"",
) -> bytes:
    """One frame; ``kind`` is ``None`` for a continuation. A client's frames have a ``key``."""
    head = frame_head(kind, len(payload), final=final, compressed=compressed, masked=bool(key))
    return head + key + unmask(payload, key) if key else head + payload


def frame_head(
    kind: FrameKind | None,
    size_bytes: int,
    *,
    final: bool = True,
    compressed: bool = False,
    masked: bool = False,
) -> bytes:
    """The bytes before a frame's key and payload."""
    first = (0x80 if final else 0) | (0x40 if compressed else 0)
    if kind is not None:
        first |= _OPCODES[kind]
    mask = 0x80 if masked else 0
    if size_bytes < 126:
        return bytes((first, mask | size_bytes))
    if size_bytes < 65536:
        return bytes((first, mask | 126)) + size_bytes.to_bytes(2, "big")
    return bytes((first, mask | 127)) + size_bytes.to_bytes(8, "big")


def close_payload(code: int, reason: str) -> bytes:
    """A close frame's payload. The reason is cut to 123 bytes, between characters (5.5.1)."""
    text = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + text
