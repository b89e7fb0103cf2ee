"""The interactions of a cassette, which stay in its file until they are requested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from buffr.stores.cassette.spans import Spans
from buffr.stores.cassette.window import Disturbed, patched
from buffr.transport.spool import close_aside

__all__ = ["Elements", "HeldFile", "StoredElement"]


class HeldFile:
    """A file that stays readable if another one takes its name.

    ``patch`` is the correct text at an offset, if an append was cut off.
    Closed when nothing refers to it any more, since a thread may still be
    reading. After ``close`` it is opened for each read, if it still exists.
    """

    def __init__(self, path: Path, fd: int, patch: tuple[int, bytes] | None = None) -> None:
        self._path = path
        self._fd: int | None = fd
        status = os.fstat(fd)
        self._identity = status.st_dev, status.st_ino
        self._patch = patch

    @classmethod
    def opened(cls, path: Path, like: int, patch: tuple[int, bytes] | None = None) -> Self:
        """The file at a path, which must be the one with the descriptor ``like``.

        Raises ``OSError``, ``Disturbed``.
        """
        held = cls(path, _open(path), patch)
        status = os.fstat(like)
        if held._identity != (status.st_dev, status.st_ino):
            raise Disturbed
        return held

    def close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            status = os.fstat(fd)
            # The last descriptor of a file without a name frees its blocks.
            close_aside(partial(os.close, fd), 0 if status.st_nlink else status.st_size)

    @property
    def size_bytes(self) -> int:
        with self._descriptor() as fd:
            return os.fstat(fd).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to this many bytes from an offset on."""
        if self._patch is None:
            return self._read(offset, size)
        return patched(self._read, *self._patch)(offset, size)

    def _read(self, offset: int, size: int) -> bytes:
        if self._fd is not None:
            return os.pread(self._fd, size, offset)
        with self._descriptor() as fd:
            return os.pread(fd, size, offset)

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        if self._fd is not None:
            yield self._fd
            return
        again = HeldFile(self._path, _open(self._path))
        if again._identity != self._identity:
            raise Disturbed
        with again._descriptor() as fd:
            yield fd

    def __del__(self) -> None:
        self.close()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


@frozen(eq=False)
class StoredElement:
    """One element in its file, which had ``file_bytes`` when it was read. For any thread."""

    number: int
    _file: HeldFile
    _spans: Spans
    _file_bytes: int

    @property
    def size_bytes(self) -> int:
        """Its approximate size."""
        return self._spans.end_of(self.number + 1)[0] - self._spans.end_of(self.number)[0]

    def read(self) -> bytes:
        """Its JSON. Raises ``OSError``, and ``Disturbed`` if it is no longer there.

        An edit elsewhere in the same file moves what follows it by as much as
        the file grew or shrank.
        """
        read_at = self._file.read_at
        try:
            return self._spans.element(self.number, read_at)
        except Disturbed:
            shift = self._file.size_bytes - self._file_bytes
            if not shift:
                raise
        return self._spans.element(self.number, lambda at, size: read_at(max(0, at + shift), size))


@define(eq=False)
class Elements:
    """Elements by place. Places are consecutive from ``first_place`` on.

    ``file`` contains them, with ``file_bytes``; ``None`` without elements.
    """

    first_place: int
    _spans: Spans = field(factory=Spans)
    _file: HeldFile | None = None
    _file_bytes: int = 0

    @property
    def next_place(self) -> int:
        return self.first_place + len(self._spans)

    def at(self, place: int) -> StoredElement | None:
        """The element at a place; ``None`` if it is from an earlier read."""
        number = place - self.first_place
        if self._file is None or not 0 <= number < len(self._spans):
            return None
        return StoredElement(number, self._file, self._spans, self._file_bytes)

    def close(self) -> None:
        """Close the file; elements can still be read, as long as it exists."""
        if self._file is not None:
            self._file.close()

    def add(self, spans: Spans, file_bytes: int) -> None:
        """Add elements that the file now has after the others."""
        self._spans.extend(spans)
        self._file_bytes = file_bytes

    def move(self, file: HeldFile, spans: Spans, file_bytes: int) -> None:
        """Use the same elements in another file."""
        self._file, self._spans, self._file_bytes = file, spans, file_bytes
