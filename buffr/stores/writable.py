"""Checks whether a file could be written, without a trace; and says why not."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["check_beside", "check_directory", "check_file", "why_not"]

_PROBE_BYTES = 64 << 10
"""More than file systems store beside a file's name (3.5 KiB in f2fs), and a recording."""

_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_file(path: Path, *, replaces: bool = False) -> None:
    """Raise ``OSError`` if the file could not be appended to or created. Blocks.

    ``replaces`` says that another file will replace it. An error's
    ``filename`` is the obstacle: the file or its directory. Nothing is
    changed, not even a time of the file, so that programs that watch it are
    not notified.
    """
    path = Path(os.path.realpath(path))
    try:
        # Opened, not checked with access(2), which ignores AppArmor and "chattr +a".
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        check_directory(path.parent)
        return
    try:
        _check_room(fd, path, replaces=replaces)
    finally:
        os.close(fd)


def _check_room(fd: int, path: Path, *, replaces: bool) -> None:
    shares_disk = os.fstat(fd).st_dev == path.parent.stat().st_dev
    try:
        check_directory(path.parent)
    except OSError as error:
        # A file may be appendable in a read-only directory: a single mounted file, for example.
        if replaces or (shares_disk and error.errno not in _CLOSED):
            raise
    else:
        if shares_disk:
            return
    free = os.fstatvfs(fd)
    if (free.f_bfree if os.geteuid() == 0 else free.f_bavail) == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def check_beside(path: Path) -> None:
    """Like ``check_file``, for a file that must not be opened, and that needs others beside it.

    Such as an SQLite database: closing any descriptor of it would release this
    process's locks on it (POSIX fcntl).
    """
    path = Path(os.path.realpath(path))
    check_directory(path.parent)
    by_effective_ids = os.access in os.supports_effective_ids
    if path.exists() and not os.access(path, os.W_OK, effective_ids=by_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def check_directory(directory: Path) -> None:
    """Raise ``OSError`` if no file could be created and filled in the directory. Blocks.

    A file without a name is: only writing detects a full disk, a quota, a
    limit on file sizes, a read-only mount and an immutable directory alike.
    """
    try:
        fd = _nameless(directory)
        try:
            # Random, as some file systems compress, and do not allocate zeros.
            left = memoryview(os.urandom(_PROBE_BYTES))
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)  # here NFS reports a full disk
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(directory)) from error


def _nameless(directory: Path) -> int:
    """The descriptor of a new file that never appears in the directory.

    If the system cannot create one (not Linux, NFS, some of FUSE), it has a
    name for a moment.
    """
    with suppress(AttributeError, OSError):
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    path = directory / f".buffr-{uuid4().hex}.tmp"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    path.unlink()
    return fd


def why_not(error: OSError) -> str:
    """Why something could not be written: the system's error, the path, and its owner."""
    said = error.strerror or str(error)
    if not error.filename:
        return said
    at = _nearest(Path(os.fsdecode(error.filename)))
    match error.errno:
        case errno.EACCES:
            status = at.stat()
            mode = stat.S_IMODE(status.st_mode)
            return (
                f"{said} ({at} belongs to user {status.st_uid} and has mode {mode:04o}; "
                f"buffr runs as user {os.geteuid()})"
            )
        case errno.EPERM:
            return f"{said} ({at} may be immutable or append-only; `lsattr -d` shows it)"
        case _:
            return f"{said} ({at})"


def _nearest(path: Path) -> Path:
    """The path itself, or the nearest existing directory above it."""
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110  # raises nothing
        path = path.parent
    return path
