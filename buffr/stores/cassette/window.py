"""A text that is read from its file in stretches, sequentially."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Disturbed", "ReadAt", "Window", "in_memory", "patched"]

ReadAt = Callable[[int, int], bytes]
"""Reads up to a number of bytes from an offset on."""

_STRETCH_BYTES = 1 << 20


class Disturbed(Exception):
    """A program that takes no locks changed the file meanwhile: read it and try again."""


class Window:
    """The bytes of a text from ``start`` to ``end`` in memory, and the others on demand.

    The text has ``size_bytes``. Raises ``Disturbed`` if it turns out to be
    shorter.
    """

    def __init__(self, read_at: ReadAt, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.start = self.end = 0
        self.data = b""
        self.view = memoryview(b"")
        self._read_at = read_at

    def hold(self, start: int, size_bytes: int) -> None:
        """Have this many bytes from an offset on in memory, as far as they exist."""
        size = min(max(size_bytes, _STRETCH_BYTES), self.size_bytes - start)
        self.data = self._read(start, size)
        self.view = memoryview(self.data)
        self.start, self.end = start, start + size

    def starts(self, mark: bytes, at: int) -> bool:
        """Whether the text continues with these few bytes at an offset."""
        if not self.start <= at or (at + len(mark) > self.end < self.size_bytes):
            self.hold(at, len(mark))
        return self.data.startswith(mark, at - self.start)

    def piece(self, start: int, end: int) -> bytes | memoryview:
        """The bytes between two offsets, from memory if they are there."""
        end = min(end, self.size_bytes)
        if self.start <= start and end <= self.end:
            return self.view[start - self.start : end - self.start]
        return self._read(start, end - start)

    def _read(self, start: int, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self._read_at(start, size)
            if not part:
                raise Disturbed
            parts.append(part)
            start += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def in_memory(text: bytes | bytearray) -> ReadAt:
    """Reads a text that is in memory as a whole."""
    return lambda offset, size: bytes(text[offset : offset + size])


def patched(read_at: ReadAt, at: int, patch: bytes) -> ReadAt:
    """Reads a text as if it had other bytes at one place."""

    def read(offset: int, size: int) -> bytes:
        data = read_at(offset, size)
        first, last = max(at, offset), min(at + len(patch), offset + len(data))
        if first >= last:
            return data
        return data[: first - offset] + patch[first - at : last - at] + data[last - offset :]

    return read
