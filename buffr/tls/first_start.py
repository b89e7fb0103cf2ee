"""A new pair of files, made exactly once however many processes start together.

The directory itself is the lock, so that nothing but the pair is left in it.
The key is there before its certificate, and each under its name only when it
is complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from attrs import frozen

__all__ = ["PemFile", "directories_for", "locked", "write_new"]

_PAUSE_S = 0.005


@frozen
class PemFile:
    """A file to be written: where, what, and with which permissions."""

    path: Path
    data: bytes
    mode: int


def directories_for(path: Path) -> None:
    """Make the directories of a file, closed to others; those that exist are left as they are."""
    missing = []
    directory = path.parent
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(directory: Path, patience_s: float = 10.0) -> Iterator[None]:
    """Be alone in a directory, among the processes that ask for the same.

    A file system without locks (some network ones) locks nobody out. Raises
    ``TimeoutError`` when another process holds the lock for longer than that.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for_lock(descriptor, patience_s)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(error.errno, "another process holds its lock") from error
            time.sleep(_PAUSE_S)
        except OSError:
            return
        else:
            return


def write_new(files: Sequence[PemFile]) -> None:
    """Write the files under other names, and give them theirs in this order.

    All are complete before the first has its name, and on the disk before
    this returns. What is there under these names is replaced.
    """
    with ExitStack() as leftovers:
        waiting = []
        for one in files:
            temporary = one.path.with_name(f".{one.path.name}.{os.getpid()}.new")
            leftovers.callback(temporary.unlink, missing_ok=True)
            _write(temporary, one)
            waiting.append((temporary, one.path))
        for temporary, path in waiting:
            temporary.replace(path)
            _sync_directory(path.parent)


def _write(temporary: Path, one: PemFile) -> None:
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, one.mode)
        file.write(one.data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    """Some file systems cannot; then the names are on the disk a little later."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
