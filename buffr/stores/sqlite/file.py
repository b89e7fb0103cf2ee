"""Opens a cache file: checks its owner and version, and replaces a damaged one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from attrs import define

from buffr.errors import StoreFailed
from buffr.stores.aside import move_aside
from buffr.stores.disk import Disk
from buffr.stores.file_lock import LocksMissing, lock
from buffr.stores.sqlite.schema import APPLICATION_ID, MIGRATIONS

__all__ = ["CacheFile", "is_broken", "is_busy", "said"]

_BROKEN = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_WRITER_PATIENCE_S = 5.0
_READER_PATIENCE_S = 0.05
_OPENING_PATIENCE_S = 60.0
_LEAST_BYTES = 512
_WAL_KEPT_BYTES = 64 << 20


@define(eq=False)
class CacheFile:
    """The database file of a cache, and its connections.

    ``warn`` is called with lines for the log, from any thread. Each of the
    ``migrations`` creates a version from the one before.
    """

    path: Path
    warn: Callable[[str], None]
    disk: Disk
    migrations: Sequence[str] = MIGRATIONS
    sync: bool = False
    """Whether each commit waits for the medium."""
    sets_aside: bool = True
    """Whether a file that cannot be used is set aside. Otherwise it is left as it is."""
    inode: int = 0

    def prepare(self) -> None:
        """Make sure that a file of the current version is at the path.

        A damaged file, or one that is not buffr's, is set aside if
        ``sets_aside``. Raises ``StoreFailed`` if the file has a newer version,
        or cannot be used.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._prepare()
                self.inode = self.path.stat().st_ino
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"cache {self.path}: {said(error)}") from error

    def replaced(self) -> bool:
        """Whether the open file was replaced at its path, or removed."""
        try:
            return self.path.stat().st_ino != self.inode
        except OSError:
            return True

    def begin_anew(self, why: str) -> None:
        """Set a damaged file aside; another process may have done so already."""
        if not self.sets_aside:
            return
        with suppress(OSError), self._alone():
            if not self.replaced():
                self._set_aside(why)

    def reader(self) -> sqlite3.Connection:
        """A connection that never writes, and never waits long. Raises ``sqlite3.Error``."""
        connection = self._connect(_READER_PATIENCE_S)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def writer(self) -> sqlite3.Connection:
        """Raises ``sqlite3.Error``."""
        connection = self._connect(_WRITER_PATIENCE_S)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self.sync else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
        return connection

    def _connect(self, patience_s: float, mode: str = "rw") -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(os.fspath(self.path.absolute()))}?mode={mode}",
            timeout=patience_s,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Take the directory's lock: one process at a time creates, moves or migrates."""
        fd = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with suppress(LocksMissing):
                lock(fd, exclusive=True, patience_s=_OPENING_PATIENCE_S)
            yield
        finally:
            os.close(fd)

    def _prepare(self) -> None:
        # Only SQLite opens the file itself: closing another descriptor would release this process's
        # locks on it.
        if not self.path.exists():
            os.close(self.disk.create(self.path, 0o600))
        try:
            version = self._version()
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            version = None
            self._set_aside(said(error))
        if version is None:
            os.close(self.disk.create(self.path, 0o600))
            version = 0
        if version > len(self.migrations):
            raise StoreFailed(
                f"cache {self.path}: its version is {version}, and this buffr knows versions up "
                f"to {len(self.migrations)}; the file is left as it is",
                hint="use a newer buffr, or another file",
            )
        if version < len(self.migrations):
            self._migrate(version)

    def _version(self) -> int | None:
        """The file's version, 0 for an empty one; ``None`` after setting a foreign file aside."""
        size_bytes = self.path.stat().st_size
        if size_bytes == 0:
            return 0
        if size_bytes < _LEAST_BYTES:  # SQLite would treat it as empty
            self._set_aside("it is not a database")
            return None
        with closing(self._connect(_WRITER_PATIENCE_S, "ro")) as connection:
            owner = _pragma(connection, "application_id")
            version = _pragma(connection, "user_version")
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner == APPLICATION_ID:
            return version
        if tables == 0 and version == 0:
            return 0
        self._set_aside("it is not a cache of buffr")
        return None

    def _set_aside(self, why: str) -> None:
        """Give the file and its write-ahead log another name.

        Raises ``StoreFailed`` unless ``sets_aside``.
        """
        if not self.sets_aside:
            raise StoreFailed(
                f"store sqlite:{self.path}: {why}; the file is left as it is",
                hint="name another file, or move this one",
            )
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        aside = move_aside(self.path, f"corrupt-{stamp}", self.disk)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self.disk.replace(_beside(self.path, suffix), _beside(aside, suffix))
        self.warn(f"cache {self.path}: {why}; it is kept as {aside.name}, and a new one begun")

    def _migrate(self, version: int) -> None:
        with closing(self._connect(_WRITER_PATIENCE_S)) as connection:
            if version == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            while version < len(self.migrations):
                if version > 0:
                    self._back_up(connection, version)
                connection.executescript(
                    f"BEGIN IMMEDIATE; {self.migrations[version]};"
                    f"PRAGMA application_id = {APPLICATION_ID};"
                    f"PRAGMA user_version = {version + 1}; COMMIT;"
                )
                version += 1

    def _back_up(self, connection: sqlite3.Connection, version: int) -> None:
        """A full copy as ``name.bak-vN``; an existing one is kept."""
        backup = _beside(self.path, f".bak-v{version}")
        if backup.exists():
            return
        partial = _beside(backup, ".part")
        partial.unlink(missing_ok=True)
        os.close(self.disk.create(partial, 0o600))
        with closing(sqlite3.connect(partial)) as copy:
            connection.backup(copy)
        self.disk.replace(partial, backup)


def is_broken(error: sqlite3.Error) -> bool:
    """Whether an error means that the database file is damaged."""
    return _kind(error) in _BROKEN


def is_busy(error: sqlite3.Error) -> bool:
    """Whether an error means that another connection has the file locked."""
    return _kind(error) in _BUSY


def _kind(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def said(error: Exception) -> str:
    """A short error message, with a remedy if one is known."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
