"""WebSocket frames are written (RFC 6455 5.2)."""

from __future__ import annotations

from buffr.interaction import FrameKind

__all__ = ["close_payload", "encode_frame", "frame_head", "unmask"]

_MAX_REASON = 123
_OPCODES = {
    FrameKind.TEXT: 0x1,
    FrameKind.BINARY: 0x2,
    FrameKind.CLOSE: 0x8,
    FrameKind.PING: 0x9,
    FrameKind.PONG: 0xA,
}


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
    """What comes before a frame's key and payload."""
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
    """A close frame's payload; the reason is cut at 123 bytes, between characters (5.5.1)."""
    text = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + text
