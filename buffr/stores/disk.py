"""The calls that change a disk, in one class so that tests can make each of them fail."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fcntl import F_GETFL, F_SETFL, fcntl
from pathlib import Path

from buffr.transport.spool import path_of

__all__ = ["BytesLike", "Disk", "blocks"]

BytesLike = bytes | bytearray | memoryview

_BLOCK_BYTES = 1 << 20


class Disk:
    """Every method raises ``OSError`` as the system does."""

    def write(self, fd: int, parts: Sequence[BytesLike], offset: int) -> None:
        """Write all parts consecutively at an offset."""
        left = [memoryview(part) for part in parts]
        while left:
            written = os.pwritev(fd, left, offset)
            offset += written
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if left:
                left[0] = left[0][written:]

    def add(self, fd: int, parts: Sequence[BytesLike]) -> None:
        """Append all parts at the current end of the file."""
        flags = fcntl(fd, F_GETFL)
        fcntl(fd, F_SETFL, flags | os.O_APPEND)
        try:
            self.write(fd, parts, 0)  # O_APPEND writes at the end
        finally:
            fcntl(fd, F_SETFL, flags)

    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        """Wait until the file's bytes and size are on the medium."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_directory(self, directory: Path) -> None:
        """Wait until the directory's names are on the medium, if the system supports that."""
        fd = os.open(directory, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(fd)
        finally:
            os.close(fd)

    def create(self, path: Path, mode: int) -> int:
        """The descriptor of a new file with exactly this mode.

        Raises ``FileExistsError`` if the name is taken.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with suppress(OSError):  # some file systems have no modes
            os.fchmod(fd, mode)
        return fd

    def create_nameless(self, directory: Path, mode: int) -> int | None:
        """A new file to which ``name`` can give its first name; ``None`` where there are none."""
        if not hasattr(os, "O_TMPFILE"):
            return None
        try:
            fd = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, mode)
        except OSError:  # not by all file systems; what else is wrong, the next call will say
            return None
        if not path_of(fd).exists():  # without /proc it could get no name
            os.close(fd)
            return None
        with suppress(OSError):
            os.fchmod(fd, mode)
        return fd

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; ``FileExistsError`` if the name is taken."""
        os.link(source, target)

    def name(self, source: Path, target: Path, mode: int) -> None:
        """Give an open file that has no name (``/dev/fd/…``) one, with exactly this mode.

        Raises ``FileExistsError`` if the name is taken, ``OSError`` if the file cannot have one
        here, above all on another file system.
        """
        with suppress(OSError):  # some file systems have no modes
            source.chmod(mode)
        directory = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # A directory's descriptor makes it linkat(2), which follows the link to the open file.
            os.link(source, target.name, dst_dir_fd=directory)
        finally:
            os.close(directory)

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)


def blocks(parts: Iterable[BytesLike]) -> Iterator[bytes]:
    """The parts' bytes, in order, in blocks of a suitable size."""
    small: list[BytesLike] = []
    size = 0
    for part in parts:
        if len(part) >= _BLOCK_BYTES:
            yield b"".join(small)
            small, size = [], 0
            view = memoryview(part)
            for start in range(0, len(view), _BLOCK_BYTES):
                yield bytes(view[start : start + _BLOCK_BYTES])
            continue
        small.append(part)
        size += len(part)
        if size >= _BLOCK_BYTES:
            yield b"".join(small)
            small, size = [], 0
    yield b"".join(small)
