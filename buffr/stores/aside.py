"""Sets data aside under a free name next to the file: ``name.suffix``, ``name.suffix.1`` …"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from buffr.stores.disk import Disk

__all__ = ["move_aside", "set_aside"]


def move_aside(path: Path, suffix: str, disk: Disk) -> Path:
    """Rename a file to the first free name, and return that name. Raises ``OSError``."""
    with _free_name(path, suffix) as target:
        disk.replace(path, target)
    return target


def set_aside(path: Path, data: bytes, suffix: str, disk: Disk) -> Path:
    """Write bytes under the first free name, and return that name. Raises ``OSError``."""
    with _free_name(path, suffix) as target:
        fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        try:
            disk.write(fd, [data], 0)
            disk.sync(fd)
        finally:
            os.close(fd)
    return target


@contextmanager
def _free_name(path: Path, suffix: str) -> Iterator[Path]:
    """A name reserved by an empty file of ours, so that renaming to it overwrites nothing."""
    number = 0
    while True:
        name = f"{path.name}.{suffix}" + (f".{number}" if number else "")
        target = path.with_name(name)
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            number += 1
        else:
            break
    try:
        yield target
    except OSError:
        with suppress(OSError):
            target.unlink()
        raise
