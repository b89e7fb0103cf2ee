"""Recordings that a server could not take yet, in files, up to a bound."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import Lock

import msgspec
from attrs import define, field

from buffr.stores.redis.elements import Kept

__all__ = ["AppendSpool"]

_SUFFIX = ".recording"
_COUNTED_EVERY_S = 1.0


class _File(msgspec.Struct, array_like=True, gc=False):
    set_name: str
    salt: bytes
    token: str
    field: bytes
    parts: tuple[bytes, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_File).decode


@define(eq=False)
class AppendSpool:
    """Keeps recordings of any sets of one server in a ``directory``. All methods block.

    They survive the end of the process: the next one that reaches the server
    stores them. Several processes may use one directory, since storing one
    twice is noticed by its token.
    """

    directory: Path
    most_bytes: int
    held: int = field(init=False, default=0)
    """The number of recordings, as last counted."""
    _size_bytes: int = field(init=False, default=0)
    _counted_at: float = field(init=False, default=-inf)
    _lock: Lock = field(init=False, factory=Lock)

    def put(self, set_name: str, kept: Kept, salt: bytes) -> bool:
        """Keep a recording, redacted by ``salt``. Returns false if there is no more space for it.

        Raises ``OSError`` if it cannot be written.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._counted_at > _COUNTED_EVERY_S:
                self._count()
                self._counted_at = now
            if self._size_bytes + kept.size_bytes > self.most_bytes:
                return False
            self._size_bytes += kept.size_bytes
            self.held += 1
        path = self.directory / f"{time.time_ns():020d}-{kept.token}{_SUFFIX}"
        hidden = path.with_suffix(".tmp")
        fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(_encode(_File(set_name, salt, kept.token, kept.field, kept.parts)))
        hidden.rename(path)
        return True

    def _count(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.held = self._size_bytes = 0
        for path in self._files():
            with suppress(FileNotFoundError):  # another process has stored it meanwhile
                self._size_bytes += path.stat().st_size
                self.held += 1

    def waiting(self) -> list[Path]:
        """The recordings in the order in which they were made."""
        found = sorted(self._files())
        self.held = len(found)
        return found

    def read(self, path: Path) -> tuple[str, Kept, bytes] | None:
        """The set's name, the recording and its salt; ``None`` if another process stored it.

        Raises ``ValueError`` for a damaged file.
        """
        try:
            read = _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        return read.set_name, Kept(read.token, read.field, read.parts), read.salt

    def done(self, path: Path) -> None:
        """Drop a recording that is stored."""
        with suppress(FileNotFoundError):
            path.unlink()
        self.held = max(0, self.held - 1)

    def set_aside(self, path: Path) -> None:
        """Keep a file out of the way that cannot be stored."""
        with suppress(FileNotFoundError):
            path.rename(path.with_suffix(".broken"))

    def _files(self) -> Iterator[Path]:
        return self.directory.glob(f"*{_SUFFIX}")
