"""The entries of a cache and the recordings in an SQLite file, as far as a scan needs them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import zstandard
from attrs import evolve

from buffr.commands.cassette.entry import Entry, exchange
from buffr.errors import CassetteError
from buffr.recording.readable import LARGEST_BYTES
from buffr.stores.cache import CacheEntry
from buffr.stores.cassette.format import decode
from buffr.stores.sqlite.elements import body_files_of, stored_elements
from buffr.stores.sqlite.rows import FoundRow, body_of, entry_of

__all__ = ["cache_entries"]

_PATIENCE_S = 5.0
_ROWS = """
SELECT key, place, variant, route, url, born_at, responded_at, fresh_until, keep_until,
  head, body_bytes, coding, body
FROM entries ORDER BY place
"""


def cache_entries(path: Path) -> Iterator[Entry]:
    """The cache's entries, then the recordings, each in the order in which they came.

    Nothing is written; a buffr may have the file open. Raises ``CassetteError``.
    """
    number = 0
    try:
        with closing(_opened(path)) as connection:
            for key, *row in connection.execute(_ROWS):
                try:
                    yield _entry(number, _entry_of(key, tuple(row)))
                except (ValueError, TypeError) as error:
                    raise CassetteError(f"{path}: entry {number}: {error}") from error
                number += 1
            bodies = body_files_of(path).with_suffix(".d")
            for element in stored_elements(connection):
                yield _recorded(number, element, bodies)
                number += 1
    except (sqlite3.Error, zstandard.ZstdError) as error:
        raise CassetteError(f"{path}: {error}") from error


def _recorded(number: int, element: bytes, bodies: Path) -> Entry:
    try:
        return Entry(number, 1, decode(element, bodies))
    except CassetteError:  # of another type, or broken
        return Entry(number, 1, None, (("element", element),))


def _opened(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(name, uri=True, timeout=_PATIENCE_S)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _entry_of(key: bytes, row: FoundRow) -> CacheEntry:
    body_bytes, coding, body = row[9], row[10], row[11] or b""
    if not 0 <= body_bytes <= LARGEST_BYTES * 8:
        raise ValueError(f"its body is too large to be searched ({body_bytes} bytes)")
    return entry_of(key, row, body_of(body, coding, body_bytes, zstandard.ZstdDecompressor()))


def _entry(number: int, cached: CacheEntry) -> Entry:
    url = cached.url.encode("utf-8", "surrogateescape")
    made, texts = exchange(cached.method, url, cached.vary, b"", cached.head, cached.body.data)
    made = evolve(made, trailers=cached.trailers)
    tags = "\n".join(cached.tags).encode("utf-8", "surrogateescape")
    return Entry(number, 1, made, (*texts, *((("tags", tags),) if tags else ())))
