"""The directory of a run, and those that killed runs have left."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

__all__ = ["run_directory"]

_PREFIX = "buffr-run-"
_NEW_S = 60.0
"""Younger than this, a directory may be one whose run has not locked it yet."""


@contextmanager
def run_directory() -> Iterator[Path]:
    """A new directory, removed in the end. It is locked, so that others know that it is in use.

    A run that is killed outright removes nothing: the next one does.
    """
    _sweep(Path(gettempdir()))
    directory = Path(mkdtemp(prefix=_PREFIX))
    lock = _locked(directory)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(above: Path) -> None:
    for left in above.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _NEW_S:
                continue
            lock = _locked(left)
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _locked(directory: Path) -> int | None:
    """A descriptor that holds the directory's lock; ``None`` if somebody else has it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
