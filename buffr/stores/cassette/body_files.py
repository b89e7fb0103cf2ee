"""Bodies that are too large for a cassette's text: separate files, named by their SHA-256."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from buffr.errors import CassetteError
from buffr.interaction import Body, Interaction
from buffr.stores.disk import Disk
from buffr.transport.spool import path_of

__all__ = ["INLINE_BYTES", "BodyFiles"]

INLINE_BYTES = 1 << 20
"""The largest body in the cassette itself."""

_PIECE_BYTES = 1 << 20
_ABANDONED_S = 3600


class BodyFiles:
    """The directory of a cassette's body files: ``api.d`` for ``api.json``.

    A file is complete as soon as it exists: it is written under another name.
    """

    def __init__(self, cassette: Path, *, file_mode: int, sync: bool, disk: Disk) -> None:
        self.directory = cassette.with_name(f"{cassette.stem}.d")
        self._file_mode = file_mode
        self._sync = sync
        self._disk = disk
        self._cleared = False

    def keep(self, interaction: Interaction) -> Interaction:
        """The interaction with large bodies in files here, and small ones in memory.

        Raises ``OSError`` if a body cannot be written.
        """
        return interaction.with_bodies(self._kept)

    def has(self, interaction: Interaction) -> bool:
        """Whether the files of a stored interaction's bodies still exist."""
        return all(
            body.file is None or self._has(body.file.name, body.size_bytes)
            for body in interaction.bodies
        )

    def check(self, body: Body) -> None:
        """Raises ``CassetteError`` if a body's file is missing or has another size."""
        if body.file is None:
            return
        try:
            size = body.file.stat().st_size
        except OSError as error:
            raise CassetteError(f"{body.file}: {error.strerror}") from error
        if size != body.size_bytes:
            raise CassetteError(f"{body.file} has {size} bytes, not {body.size_bytes}")

    def _kept(self, body: Body) -> Body:
        if body.size_bytes <= INLINE_BYTES:
            return body if body.file is None else _in_memory(body.file, body.size_bytes)
        if body.file is None:
            name = sha256(body.data).hexdigest()
            if not self._has(name, body.size_bytes):
                with self._new_file() as (fd, path):
                    self._disk.write(fd, [body.data], 0)
                    self._finish(fd, path, name)
        elif body.file.parent == self.directory and self._has(body.file.name, body.size_bytes):
            return body
        else:
            name = self._named(body, body.file) or self._copy(body.file, body.size_bytes)
        return Body(size_bytes=body.size_bytes, file=self.directory / name, key=body.key)

    def _has(self, name: str, size_bytes: int) -> bool:
        with suppress(OSError):
            return (self.directory / name).stat().st_size == size_bytes
        return False

    def _named(self, body: Body, source: Path) -> str:
        """Have a body where it is spooled, if its digest is known: it gets its name.

        Returns that name; empty if it must be copied, to another file system for example.
        """
        known = body.searched
        if known is None or known.size_bytes != body.size_bytes:
            return ""
        if not self._has(known.sha256, body.size_bytes):
            self._make_directory()
            try:
                if source.stat().st_size != body.size_bytes:
                    return ""
                if self._sync:
                    self._sync_file(source)
                self._name(source, known.sha256)
            except OSError:
                return ""
        return known.sha256

    def _sync_file(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._disk.sync(fd)
        finally:
            os.close(fd)

    def _new_path(self) -> Path:
        return self.directory / f".{uuid4().hex}.tmp"

    def _copy(self, source: Path, size_bytes: int) -> str:
        digest = sha256()
        offset = 0
        with source.open("rb", buffering=0) as file, self._new_file() as (fd, path):
            while piece := os.pread(file.fileno(), _PIECE_BYTES, offset):
                digest.update(piece)
                self._disk.write(fd, [piece], offset)
                offset += len(piece)
            if offset != size_bytes:
                raise _wrong_size(source, offset, size_bytes)
            name = digest.hexdigest()
            if not self._has(name, size_bytes):
                self._finish(fd, path, name)
        return name

    @contextmanager
    def _new_file(self) -> Iterator[tuple[int, Path | None]]:
        """A file without a name, of which a kill leaves nothing; with one where it needs one."""
        self._make_directory()
        path, fd = None, self._disk.create_nameless(self.directory, self._file_mode)
        if fd is None:
            path = self._new_path()
            fd = self._disk.create(path, self._file_mode)
        try:
            yield fd, path
        finally:
            os.close(fd)
            if path is not None:
                _remove(path)

    def _make_directory(self) -> None:
        """Also remove, once, what a kill while writing a body left there."""
        readable = self._file_mode & 0o444
        try:
            self.directory.mkdir(mode=self._file_mode | readable >> 2)
        except FileExistsError:
            if not self._cleared:
                self._clear_away()
        else:
            if self._sync:
                self._disk.sync_directory(self.directory.parent)
        self._cleared = True

    def _clear_away(self) -> None:
        for left in self.directory.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _ABANDONED_S:
                    left.unlink()

    def _finish(self, fd: int, path: Path | None, name: str) -> None:
        if self._sync:
            self._disk.sync(fd)
        if path is None:
            self._name(path_of(fd), name)
        else:
            self._put(path, name)

    def _name(self, nameless: Path, name: str) -> None:
        """Give an open file without a name its name."""
        try:
            self._disk.name(nameless, self.directory / name, self._file_mode)
        except FileExistsError:  # a damaged one, of another size
            path = self._new_path()
            try:
                self._disk.name(nameless, path, self._file_mode)
                self._put(path, name)
            finally:
                _remove(path)
        else:
            self._sync_directory()

    def _put(self, path: Path, name: str) -> None:
        self._disk.replace(path, self.directory / name)
        self._sync_directory()

    def _sync_directory(self) -> None:
        if self._sync:
            self._disk.sync_directory(self.directory)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _in_memory(file: Path, size_bytes: int) -> Body:
    data = file.read_bytes()
    if len(data) != size_bytes:
        raise _wrong_size(file, len(data), size_bytes)
    return Body.of(data)


def _wrong_size(file: Path, found: int, expected: int) -> OSError:
    return OSError(errno.EIO, f"it has {found} bytes, not {expected}", str(file))
