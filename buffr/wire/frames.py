"""WebSocket frames are written (RFC 6455 5.2)."""

from __future__ import annotations

from buffr.interaction import FrameKind

__all__ = ["close_payload", "encode_frame", "unmask"]

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
    first = (0x80 if final else 0) | (0x40 if compressed else 0)
    if kind is not None:
        first |= _OPCODES[kind]
    size = len(payload)
    masked = 0x80 if key else 0
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 65536:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    return head + key + unmask(payload, key) if key else head + payload


def close_payload(code: int, reason: str) -> bytes:
    """A close frame's payload; the reason is cut at 123 bytes, between characters (5.5.1)."""
    text = reason.encode()[:_MAX_REASON].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + text
