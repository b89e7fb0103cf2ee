"""Bytes in memory while they are few, and in an unnamed file when they are many."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

__all__ = ["Spool", "close_aside", "path_of"]

_MANY_BYTES = 4 << 20


def path_of(fd: int) -> Path:
    """Where an open file is found that has no name."""
    return Path(f"/dev/fd/{fd}")


class Spool:
    """Bytes written once, in order, and read at any offset.

    Up to ``memory_bytes`` are kept in memory. Beyond that, all are in a
    temporary file in ``directory`` that vanishes with the process. ``None``
    means the system's directory for temporary files, or memory if the process
    may write nowhere, as in a container with a read-only root.
    """

    def __init__(self, memory_bytes: int, directory: Path | None) -> None:
        self.size_bytes = 0
        self._memory_bytes = memory_bytes
        self._directory = directory
        self._memory: bytearray | None = bytearray()
        self._file: IO[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Add bytes. Raises ``OSError`` if the directory has no room for them."""
        if self._memory is not None:
            if self.size_bytes + len(data) <= self._memory_bytes:
                self._memory += data
                self.size_bytes += len(data)
                return
            self._file = self._moved(self._memory)
            self._memory = None
        assert self._file is not None
        _write_all(self._file, data, self.size_bytes)
        self.size_bytes += len(data)

    def _moved(self, memory: bytearray) -> IO[bytes]:
        """A file with what is in memory. On an error, memory keeps it."""
        file = _nameless(self._directory)
        try:
            _write_all(file, bytes(memory), 0)
        except OSError:
            file.close()
            raise
        return file

    def cut(self, size_bytes: int) -> None:
        """Forget what is beyond so many bytes."""
        self.size_bytes = min(self.size_bytes, size_bytes)
        if self._memory is not None:
            del self._memory[size_bytes:]
        elif self._file is not None:
            os.truncate(self._file.fileno(), self.size_bytes)

    def read(self, offset: int, size: int) -> bytes:
        if self._memory is not None:
            return bytes(memoryview(self._memory)[offset : offset + size])
        assert self._file is not None
        return os.pread(self._file.fileno(), size, offset)

    @property
    def path(self) -> Path | None:
        """A path to open the bytes while the spool is open; ``None`` while they are in memory."""
        return None if self._file is None else path_of(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            close_aside(self._file.close, self.size_bytes)
        self._memory = bytearray()
        self._file = None
        self.size_bytes = 0


def close_aside(close: Callable[[], None], size_bytes: int) -> None:
    """Close a file, on a thread if its end may free so many bytes that it takes milliseconds."""
    if size_bytes < _MANY_BYTES:
        close()
    else:
        Thread(target=close, daemon=True).start()


def _nameless(directory: Path | None) -> IO[bytes]:
    """A file without a name. One in a directory may get one, as ``tempfile``'s may not."""
    if directory is not None and hasattr(os, "O_TMPFILE"):
        with suppress(OSError):
            return os.fdopen(os.open(directory, os.O_RDWR | os.O_TMPFILE, 0o600), "w+b")
    try:
        return tempfile.TemporaryFile(dir=directory)
    except FileNotFoundError:
        if directory is not None or not hasattr(os, "memfd_create"):
            raise
        return os.fdopen(os.memfd_create("buffr"), "w+b")


def _write_all(file: IO[bytes], data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, offset)
        view = view[written:]
        offset += written
