"""Cassette elements in the rows of an SQLite file: their tables, coding and body files."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

__all__ = ["TABLES", "StoredRow", "body_files_of", "coded", "plain", "stored_elements"]

# Without a version of their own: a buffr that does not know these tables still uses the cache.
TABLES = """
CREATE TABLE IF NOT EXISTS recordings (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  salt BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS interactions (
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  recording INTEGER NOT NULL,
  element BLOB NOT NULL,
  coding INTEGER NOT NULL,
  element_bytes INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS interactions_recording ON interactions (recording, place);
"""
_ALL = "SELECT element, coding, element_bytes FROM interactions ORDER BY place"
_EXISTS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'interactions'"
_COMPRESS_OVER = 512
_AS_IT_IS, _ZSTD = 0, 1

StoredRow = Sequence[Any]
"""An element as stored in its row: the bytes, their coding, and the decoded size."""


def body_files_of(file: Path) -> Path:
    """The cassette beside whose name the files of large bodies would be."""
    real = Path(os.path.realpath(file))
    # In name.db.d: name.d belongs to a cassette, which removes files that it does not name.
    return real.with_name(f"{real.name}.json")


def coded(element: bytes) -> tuple[int, bytes]:
    """The coding of an element, and its bytes under it."""
    if len(element) <= _COMPRESS_OVER:
        return _AS_IT_IS, element
    return _ZSTD, zstandard.ZstdCompressor().compress(element)


def plain(kept: StoredRow) -> bytes:
    """The original element. Raises ``ZstdError``."""
    element: bytes
    element, coding, element_bytes = kept
    if coding == _AS_IT_IS:
        return element
    return zstandard.ZstdDecompressor().decompress(element, max_output_size=element_bytes)


def stored_elements(connection: sqlite3.Connection) -> Iterator[bytes]:
    """The elements of all sets of a file, in recorded order; none without the tables.

    Raises ``sqlite3.Error`` and ``ZstdError``.
    """
    if connection.execute(_EXISTS).fetchone() is not None:
        for row in connection.execute(_ALL):
            yield plain(row)
