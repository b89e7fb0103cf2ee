"""Locks between processes that share a file."""

from __future__ import annotations

import errno
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from typing import Protocol

__all__ = ["Lock", "LockTaken", "LocksMissing", "lock"]

_MISSING = frozenset((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL))


class Lock(Protocol):
    """The signature of ``lock``."""

    def __call__(self, fd: int, *, exclusive: bool, patience_s: float) -> None: ...


class LockTaken(OSError):
    """Another process has kept the lock for too long."""


class LocksMissing(OSError):
    """The file system does not support locks."""


def lock(fd: int, *, exclusive: bool, patience_s: float) -> None:
    """Wait for the lock of an open file; closing the descriptor releases it.

    Raises ``LockTaken`` after ``patience_s``, and ``LocksMissing``.
    """
    kind = (LOCK_EX if exclusive else LOCK_SH) | LOCK_NB
    deadline = time.monotonic() + patience_s
    pause_s = 0.0005
    while True:
        try:
            flock(fd, kind)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockTaken(
                    errno.EAGAIN, f"another process has held its lock for {patience_s:g} s"
                ) from None
        except OSError as error:
            if error.errno in _MISSING:
                raise LocksMissing(error.errno, "the file system does not support locks") from error
            raise
        else:
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.02)
