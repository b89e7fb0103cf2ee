"""Whether a file could be written, found out without a trace; and why not, in words."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["check_beside", "check_directory", "check_file", "why_not"]

_PROBE_BYTES = 64 << 10
"""More than file systems keep beside a file's name (3.5 KiB in f2fs), and room for a recording."""

_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_file(path: Path, *, replaces: bool = False) -> None:
    """Raise ``OSError`` when nothing could be added to the file, or no such file be made. Blocks.

    ``replaces`` says that another file is to take its name. An error's
    ``filename`` is what stands in the way: the file or its directory. Nothing
    is changed, not even a time of the file, so that nobody who watches it
    takes notice.
    """
    path = Path(os.path.realpath(path))
    try:
        # Opened, not asked for with access(2): that knows nothing of AppArmor, nor of "chattr +a".
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
        # A file may be appended to in a directory that is closed: a single file mounted, say.
        if replaces or (shares_disk and error.errno not in _CLOSED):
            raise
    else:
        if shares_disk:
            return
    free = os.fstatvfs(fd)
    if (free.f_bfree if os.geteuid() == 0 else free.f_bavail) == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def check_beside(path: Path) -> None:
    """As ``check_file``, for a file that must not be opened, and gets others beside it.

    That is an SQLite database: to close any descriptor of it would take
    locks of this process away from it (POSIX fcntl).
    """
    path = Path(os.path.realpath(path))
    check_directory(path.parent)
    by_effective_ids = os.access in os.supports_effective_ids
    if path.exists() and not os.access(path, os.W_OK, effective_ids=by_effective_ids):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def check_directory(directory: Path) -> None:
    """Raise ``OSError`` when no file could be made and filled in the directory. Blocks.

    One is, without a name: only writing tells of a full disk, a quota, a
    limit on the size of files, a mount that is read-only and an immutable
    directory alike.
    """
    try:
        fd = _nameless(directory)
        try:
            # Random, as some file systems compress, and keep zeros for nothing.
            left = memoryview(os.urandom(_PROBE_BYTES))
            while left:
                left = left[os.write(fd, left) :]
        finally:
            os.close(fd)  # which is where NFS tells of a full disk
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(directory)) from error


def _nameless(directory: Path) -> int:
    """The descriptor of a new file that the directory never shows.

    Where the system cannot make one (not Linux, NFS, some of FUSE), it has a
    name for a moment.
    """
    with suppress(AttributeError, OSError):
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    path = directory / f".buffr-{uuid4().hex}.tmp"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    path.unlink()
    return fd


def why_not(error: OSError) -> str:
    """Why something could not be written: what the system said, of what, and whose that is."""
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
    """The path itself, or the nearest directory above it that is there."""
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110  # raises nothing
        path = path.parent
    return path
