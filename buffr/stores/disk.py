"""The calls that change a disk, gathered so that tests can let each of them fail."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["Disk", "free_name"]


class Disk:
    """Every method raises ``OSError`` as the system does."""

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of the data at an offset."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        """Wait until the file's bytes and size are on the medium."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_directory(self, directory: Path) -> None:
        """Wait until the directory's names are on the medium, where the system can say so."""
        fd = os.open(directory, os.O_RDONLY)
        try:
            with suppress(OSError):
                os.fsync(fd)
        finally:
            os.close(fd)

    def create(self, path: Path, mode: int) -> int:
        """The descriptor of a new file with exactly this mode; ``FileExistsError`` if taken."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with suppress(OSError):  # some file systems have no modes
            os.fchmod(fd, mode)
        return fd

    def replace(self, source: Path, target: Path) -> None:
        source.replace(target)


def free_name(path: Path, suffix: str) -> Path:
    """An empty file of ours under the first free one of ``name.suffix``, ``name.suffix.1`` …

    Whoever renames onto it overwrites nothing of anyone else's.
    """
    number = 0
    while True:
        name = f"{path.name}.{suffix}" + (f".{number}" if number else "")
        candidate = path.with_name(name)
        try:
            os.close(os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
        else:
            return candidate
