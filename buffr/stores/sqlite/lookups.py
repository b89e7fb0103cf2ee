"""Lookups in a cache file on the reactor's thread; frequent results stay in memory.

A remembered result is valid while the file has not changed since it was read:
another connection's commit changes ``PRAGMA data_version``, and the entry's
own times and place show whether that commit affected it.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zstandard
from attrs import define, field

from buffr.errors import StoreFailed
from buffr.stores.cache import CacheCounters, StoredEntry
from buffr.stores.sqlite.file import said
from buffr.stores.sqlite.rows import INLINE_BYTES, FoundRow, body_of, entry_of

__all__ = ["CacheReader", "StoredVariants"]

_OVERHEAD_BYTES = 2048
"""The approximate size of an entry's objects, without its bytes."""
_PART = 16
"""The share of the memory that one key may use, so that none displaces all others."""

_FIND = """
SELECT place, variant, route, url, born_at, responded_at, fresh_until, keep_until,
  head, body_bytes, coding, CASE WHEN body_bytes <= ? THEN body END
FROM entries WHERE key = ?"""
_UNCHANGED = "SELECT place, responded_at, fresh_until, keep_until FROM entries WHERE key = ?"


@define(eq=False)
class StoredVariants:
    """The variants of a key as stored in the file, with their entries; the last stored first.

    ``large`` are the rows, by place, whose bodies are left out. ``stamp``
    changes whenever one of them does. ``version`` is the file's when they were
    read.
    """

    variants: Sequence[tuple[bytes, StoredEntry]]
    cached: Sequence[StoredEntry]
    large: dict[int, FoundRow]
    stamp: frozenset[tuple[int, float, float, float]]
    size_bytes: int
    version: int


@define(eq=False)
class CacheReader:
    """A read-only connection.

    Up to ``most_bytes`` of entries are kept in memory. ``soon`` calls a
    function a moment later: until then the file is not checked for changes
    again. ``broken`` is called with an error.
    """

    path: Path
    counters: CacheCounters
    most_bytes: int
    soon: Callable[[Callable[[], None]], object]
    broken: Callable[[sqlite3.Error], None]
    _connection: sqlite3.Connection | None = field(init=False, default=None)
    _inflate: zstandard.ZstdDecompressor = field(init=False, factory=zstandard.ZstdDecompressor)
    _held: OrderedDict[bytes, StoredVariants] = field(init=False, factory=OrderedDict)
    _held_bytes: int = field(init=False, default=0)
    _version: int = field(init=False, default=-1)
    _asked: bool = field(init=False, default=False)

    def open(self, connection: sqlite3.Connection) -> None:
        """Read from another connection from now on."""
        self.close()
        self._connection = connection

    def close(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        self.ask_again()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def rows(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        """Raises ``StoreFailed``."""
        if self._connection is None:
            raise StoreFailed(f"cache {self.path} is closed")
        try:
            rows: list[Any] = self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self.broken(error)
            raise StoreFailed(f"cache {self.path}: {said(error)}") from error
        return rows

    def ask_again(self) -> None:
        """Check the file for changes at the next lookup."""
        self._asked = False

    def stored(self, key: bytes) -> StoredVariants:
        """The entries in the file for a key. Raises ``StoreFailed``."""
        if not self._asked:
            self._version = self.rows("PRAGMA data_version", ())[0][0]
            self._asked = True
            self.soon(self.ask_again)
        held = self._held.get(key)
        if held is not None:
            if held.version == self._version:
                self._held.move_to_end(key)
                return held
            if frozenset(self.rows(_UNCHANGED, (key,))) == held.stamp:
                held.version = self._version
                self._held.move_to_end(key)
                return held
            self.let_go(key)
        stored = self._read(key)
        self._hold(key, stored)
        return stored

    def holds(self, key: bytes, cached: Sequence[StoredEntry]) -> bool:
        """Whether these entries are in memory, and still all that the file has for the key."""
        held = self._held.get(key)
        if held is None or held.cached is not cached:
            return False
        try:
            return self.stored(key) is held
        except StoreFailed:
            return False

    def let_go(self, key: bytes) -> None:
        """Forget a key, if it is remembered."""
        held = self._held.pop(key, None)
        if held is not None:
            self._held_bytes -= held.size_bytes

    def _hold(self, key: bytes, stored: StoredVariants) -> None:
        if not stored.cached or stored.large or stored.size_bytes * _PART > self.most_bytes:
            return
        self._held[key] = stored
        self._held_bytes += stored.size_bytes
        while self._held_bytes > self.most_bytes:
            self.let_go(next(iter(self._held)))

    def _read(self, key: bytes) -> StoredVariants:
        rows: list[FoundRow] = self.rows(_FIND, (INLINE_BYTES, key))
        rows.sort(reverse=True, key=lambda row: row[0])
        variants = [(row[1], self._cached(key, row)) for row in rows]
        bodies = sum([cached.entry.body.size_bytes for _, cached in variants])
        return StoredVariants(
            variants,
            [cached for _, cached in variants],
            {row[0]: row for row in rows if row[11] is None},
            frozenset([(row[0], row[5], row[6], row[7]) for row in rows]),
            bodies + sum([_OVERHEAD_BYTES + len(row[3]) + 3 * len(row[8]) for row in rows]),
            self._version,
        )

    def _cached(self, key: bytes, row: FoundRow) -> StoredEntry:
        """A row as an entry; a large body is left out."""
        try:
            return StoredEntry(row[0], entry_of(key, row, self._body(row, row[11])))
        except ValueError as error:
            raise StoreFailed(f"cache {self.path}: {error}") from error

    def _body(self, row: FoundRow, kept: bytes | None) -> bytes:
        if kept is None:
            return b""
        self.counters.inflated += row[10]
        return body_of(kept, row[10], row[9], self._inflate)
