"""A cassette's file: opened under its lock, checked, appended to and replaced.

An append has two steps. Everything after the new element's first seven bytes
is written after the end of the file; then the tail, also seven bytes long, is
overwritten with those. Until the second step the file reads as before, with
something after its end; then it reads with the new element.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from attrs import define

from buffr.stores.cassette.elements import HeldFile
from buffr.stores.cassette.layout import TAIL
from buffr.stores.cassette.window import Disturbed
from buffr.stores.disk import BytesLike, Disk, blocks
from buffr.stores.file_lock import Lock, LocksMissing, LockTaken, lock

__all__ = ["CassetteFile", "OpenCassette", "Stamp", "Status"]

_TAIL_BYTES = 256
_READ_TRIES = 10
_NO_LINKS = frozenset((errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


class Status(NamedTuple):
    """What ``stat`` says about a file without opening it.

    ``ctime_ns`` is the time of the last change to anything about it, times
    included.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, result: os.stat_result) -> Status:
        return cls(
            result.st_dev,
            result.st_ino,
            result.st_size,
            result.st_mtime_ns,
            result.st_ctime_ns,
        )

    def is_file_of(self, other: Status) -> bool:
        """Whether both are of the same file."""
        return self.inode == other.inode and self.device == other.device


class Stamp(NamedTuple):
    """Identifies a file that was read: its status, and its last bytes.

    A file system's clock is coarse; two edits may have the same time.
    """

    status: Status
    tail: bytes


@define
class CassetteFile:
    """The file at ``path``, which may be a symbolic link to it.

    ``file_mode`` is for a new file. ``sync`` waits for the medium in each step
    of an append. ``warn`` is called with lines for the log. ``quiet_s`` is how
    long a doubtful file must stay unchanged before it is accepted,
    ``patience_s`` the longest wait for a lock.
    """

    path: Path
    file_mode: int
    sync: bool
    disk: Disk
    warn: Callable[[str], None]
    quiet_s: float = 0.2
    patience_s: float = 10.0
    lock: Lock = lock
    _warned: bool = False

    def status(self) -> Status | None:
        """The status of the path now; ``None`` if nothing is there. Raises ``OSError``."""
        try:
            return Status.of(self.path.stat())
        except FileNotFoundError:
            return None

    @contextmanager
    def reading(self, *, known: bool) -> Iterator[OpenCassette]:
        """The file, while no other buffr writes it. Raises ``FileNotFoundError``, ``OSError``.

        ``known`` is as in ``writing``.
        """
        try:
            fd = self._open_existing(os.O_RDONLY)
        except FileNotFoundError:
            if not known:
                raise
            time.sleep(self.quiet_s)
            fd = self._open_existing(os.O_RDONLY)
        with self._closing(fd) as opened:
            # After the longest wait it is read anyway: unfinished writes are distinguished from
            # faults.
            with suppress(LockTaken):
                self._lock(fd, exclusive=False)
            yield opened

    @contextmanager
    def writing(self, *, known: bool, new: bytes) -> Iterator[OpenCassette]:
        """The file under its exclusive lock; created with the text ``new`` if it does not exist.

        If it was ``known`` to exist, it gets a moment to come back: a program
        that replaces a file may remove it first, as git does.
        """
        while True:
            fd, created = self._open(new, known=known)
            with self._closing(fd, created=created) as opened:
                opened.locked = self._lock(fd, exclusive=True)
                if opened.is_in_place():
                    yield opened
                    return

    def _open(self, new: bytes, *, known: bool) -> tuple[int, bool]:
        while True:
            with suppress(FileNotFoundError):
                return self._open_existing(os.O_RDWR), False
            if known:
                time.sleep(self.quiet_s)
                known = False
                continue
            with suppress(FileExistsError):
                return self._create(new), True

    def _create(self, text: bytes) -> int:
        """A new file that contains its text from the first moment on.

        Raises ``FileExistsError``.
        """
        target = self.real_path
        path = _beside(target)
        fd = self.disk.create(path, self.file_mode)
        try:
            self.disk.write(fd, [text], 0)
            if self.sync:
                self.disk.sync(fd)
            if self._linked(path, target):
                return fd
        except BaseException:
            os.close(fd)
            raise
        finally:
            with suppress(OSError):
                path.unlink()
        os.close(fd)
        fd = self.disk.create(target, self.file_mode)  # it is empty for a moment
        try:
            self.disk.write(fd, [text], 0)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _linked(self, path: Path, target: Path) -> bool:
        """Give a file its name; ``False`` if the file system does not support links."""
        try:
            self.disk.link(path, target)
        except FileNotFoundError:  # removed by a process that replaces the file
            raise FileExistsError from None
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        return True

    def _open_existing(self, access: int) -> int:
        # Without O_NONBLOCK, opening a pipe would wait for its other end.
        fd = os.open(self.path, access | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is not a regular file", str(self.path))
        return fd

    @property
    def real_path(self) -> Path:
        """The file's own path, if the path is a link to it."""
        return Path(os.path.realpath(self.path))

    @contextmanager
    def _closing(self, fd: int, *, created: bool = False) -> Iterator[OpenCassette]:
        opened = OpenCassette(self, fd, created=created)
        try:
            yield opened
        finally:
            os.close(opened.fd)

    def _lock(self, fd: int, *, exclusive: bool) -> bool:
        try:
            self.lock(fd, exclusive=exclusive, patience_s=self.patience_s)
            return True
        except LocksMissing:
            if not self._warned:
                self._warned = True
                self.warn(
                    f"{self.path}: its file system has no locks;"
                    " let only one process record into it"
                )
            return False


@define
class OpenCassette:
    """The file while it is open, and locked if its file system supports that."""

    _file: CassetteFile
    fd: int
    created: bool = False
    locked: bool = False

    @property
    def quiet_s(self) -> float:
        return self._file.quiet_s

    def status(self) -> Status:
        return Status.of(os.fstat(self.fd))

    def stamp(self) -> Stamp:
        status = self.status()
        start = max(0, status.size_bytes - _TAIL_BYTES)
        return Stamp(status, os.pread(self.fd, _TAIL_BYTES, start))

    def is_in_place(self) -> bool:
        """Whether the path still leads to this file."""
        now = self._file.status()
        return now is not None and now.is_file_of(self.status())

    def held(self, patch: tuple[int, bytes] | None = None) -> HeldFile:
        """The file for readers, open as long as they need it. Raises ``Disturbed``."""
        return HeldFile.opened(self._file.path, self.fd, patch)

    def read_at(self, offset: int, size_bytes: int) -> bytes:
        return os.pread(self.fd, size_bytes, offset)

    def read(self) -> tuple[bytes, Stamp]:
        """The whole text in private memory, and the stamp of exactly this text."""
        for _ in range(_READ_TRIES):
            before = self.stamp()
            text = self.read_at(0, before.status.size_bytes)
            if len(text) == before.status.size_bytes and self.stamp() == before:
                return text, before
        raise Disturbed

    def append(self, at: int, chunk: bytes, seen: Status) -> Stamp:
        """Insert ``chunk`` between the text before offset ``at`` and the tail, which starts there.

        The file must be as it was ``seen``. Raises ``OSError`` with the file
        unchanged, and ``Disturbed``.
        """
        disk, cut = self._file.disk, len(TAIL)
        if self.status() != seen:
            raise Disturbed
        try:
            # At the end, not at an offset: after whatever another program just wrote there.
            disk.add(self.fd, [memoryview(chunk)[cut:], TAIL])
            if self._file.sync:
                disk.sync(self.fd)
            written = at + cut + len(chunk)
            if self.status().size_bytes != written or self.read_at(at, cut) != TAIL:
                raise Disturbed
            disk.write(self.fd, [chunk[:cut]], at)
            if self._file.sync:
                disk.sync(self.fd)
        except OSError:
            self._take_back(at)
            raise
        stamp = self._marked()
        undisturbed = stamp.status.size_bytes == written and self.is_in_place()
        if not undisturbed or self.read_at(at, cut) != chunk[:cut]:
            raise Disturbed
        return stamp

    def _marked(self) -> Stamp:
        """The stamp, with a time that no other change will have.

        The system counts times in ticks of milliseconds: another change within
        the same tick, with the same size, would have the same time.
        """
        with suppress(OSError):  # only the file's owner may set it
            os.utime(self.fd, ns=(os.fstat(self.fd).st_atime_ns, time.time_ns()))
        return self.stamp()

    def _take_back(self, at: int) -> None:
        # A failure here leaves a torn tail, which the next append repairs.
        with suppress(OSError):
            self._file.disk.write(self.fd, [TAIL], at)
            self._file.disk.truncate(self.fd, at + len(TAIL))

    def replace(self, pieces: Iterable[BytesLike]) -> Stamp:
        """Put a new file in the place of this one by one rename, and continue with it.

        It has the old one's mode and, if permitted, owner. Raises ``OSError``
        with the file unchanged.
        """
        target = self._file.real_path
        # Under the lock no other process writes such a file: it was left by a kill. A new cassette
        # has none, and searching for one takes long in a directory of thousands.
        if self.locked and not self.created:
            for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
                left.unlink(missing_ok=True)
        path = _beside(target)
        old = os.fstat(self.fd)
        disk = self._file.disk
        fd = disk.create(path, old.st_mode & 0o7777)
        try:
            with suppress(OSError):
                os.fchown(fd, old.st_uid, old.st_gid)
            with suppress(LocksMissing):
                self._file.lock(fd, exclusive=True, patience_s=0)
            offset = 0
            for block in blocks(pieces):
                disk.write(fd, [block], offset)
                offset += len(block)
            disk.sync(fd)
            disk.replace(path, target)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        os.close(self.fd)
        self.fd = fd
        if self._file.sync:
            disk.sync_directory(target.parent)
        return self._marked()


def _beside(target: Path) -> Path:
    """A new name in the same directory, for a file that will become ``target``."""
    return target.with_name(f".{target.name}.{uuid4().hex}.tmp")
