"""Writes to a cache file: entries in groups, uses, evictions, and removals in slices."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import define, frozen

from buffr.stores.cache import MOST_VARIANTS, CacheEntry
from buffr.stores.sqlite.rows import EntryRow, refreshed_columns, url_hash

__all__ = ["Bounds", "Change", "Criteria", "EntryWriter", "Refreshed", "Removed"]

_SLICE = 256
"""Rows that are removed at once, while the file is locked for other processes."""

_PAGES_FREED = 512
_PAGES_SPARED = 1024

_INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REFRESH = """
UPDATE entries SET variant = ?, route = ?, url = ?, url_hash = ?, born_at = ?,
  responded_at = ?, fresh_until = ?, keep_until = ?, size_bytes = length(body) + ?, head = ?
WHERE place = ?"""
_TOO_MANY_VARIANTS = """
SELECT place, route FROM entries WHERE key = ? ORDER BY place DESC LIMIT -1 OFFSET ?"""
_LEAST_USED = """
SELECT place, route, size_bytes FROM uses JOIN entries USING (place)
ORDER BY used_at, place LIMIT ?"""
_EXPIRED = """
DELETE FROM entries WHERE place IN
  (SELECT place FROM entries WHERE keep_until <= ? LIMIT ?)"""
_COUNT_EXPIRED = """
UPDATE totals SET expired = expired + :sign * stale.entries,
  fresh_ms = fresh_ms - :sign * stale.ms
FROM (SELECT route, count(*) AS entries, sum(CAST(min(fresh_until, 4e9) * 1000 AS INTEGER)) AS ms
      FROM entries WHERE fresh_until > :low AND fresh_until <= :high GROUP BY route) AS stale
WHERE totals.route = stale.route"""


@frozen
class Bounds:
    """The limits of a cache file; ``body_bytes`` limits one body as received."""

    bytes: int
    entries: int
    body_bytes: int


@frozen(eq=False)
class Refreshed:
    """Everything of an entry except its body is replaced."""

    place: int
    entry: CacheEntry


@frozen(eq=False)
class Removed:
    """An entry is removed."""

    place: int


@frozen(eq=False)
class Criteria:
    """The entries to clear: those at places below ``before`` that match all criteria."""

    before: int
    route: str | None = None
    url: str | None = None
    tag: str | None = None
    stored_before: float | None = None

    def where(self) -> tuple[str, tuple[object, ...]]:
        """As SQL."""
        terms: list[tuple[str, tuple[object, ...]]] = [("place < ?", (self.before,))]
        if self.route is not None:
            terms.append(("route = ?", (self.route,)))
        if self.url is not None:
            terms.append(("url_hash = ? AND url = ?", (url_hash(self.url), self.url)))
        if self.tag is not None:
            terms.append(("place IN (SELECT place FROM tags WHERE tag = ?)", (self.tag,)))
        if self.stored_before is not None:
            terms.append(("responded_at < ?", (self.stored_before,)))
        return (
            " AND ".join(sql for sql, _ in terms),
            tuple(value for _, values in terms for value in values),
        )


Change = EntryRow | Refreshed | Removed


@define(eq=False)
class EntryWriter:
    """Writes through one connection. Every method raises ``sqlite3.Error``."""

    connection: sqlite3.Connection
    bounds: Bounds

    def write(self, changes: Sequence[tuple[Change, float]], uses: Mapping[int, float]) -> None:
        """Record uses and apply changes, each with its time, all or none.

        Then the limits are enforced.
        """
        with self._transaction():
            self._note(uses)
            for change, now in changes:
                self._apply(change, now)
            self._evict()

    def _note(self, uses: Mapping[int, float]) -> None:
        self.connection.executemany(
            "UPDATE uses SET used_at = ? WHERE place = ? AND used_at < ?",
            [(used_at, place, used_at) for place, used_at in uses.items()],
        )

    def _apply(self, change: Change, now: float) -> None:
        execute = self.connection.execute
        match change:
            case EntryRow():
                place = change.values[0]
                execute(
                    "DELETE FROM entries WHERE key = ? AND variant = ?",
                    (change.key, change.variant),
                )
                execute(_INSERT, change.values)
                execute("INSERT INTO uses VALUES (?, ?)", (place, now))
                self._tag(place, change.tags)
                surplus = execute(_TOO_MANY_VARIANTS, (change.key, MOST_VARIANTS)).fetchall()
                for too_many, route in surplus:
                    self._evict_one(too_many, route)
            case Refreshed(place, entry):
                columns = refreshed_columns(entry)
                execute(
                    "DELETE FROM entries WHERE key = ? AND variant = ? AND place != ?",
                    (entry.key, columns[0], place),
                )
                if execute(_REFRESH, (*columns, place)).rowcount:
                    execute("UPDATE uses SET used_at = ? WHERE place = ?", (now, place))
                    execute("DELETE FROM tags WHERE place = ?", (place,))
                    self._tag(place, entry.tags)
            case Removed(place):
                execute("DELETE FROM entries WHERE place = ?", (place,))

    def _tag(self, place: int, tags: Sequence[str]) -> None:
        if tags:
            self.connection.executemany(
                "INSERT INTO tags VALUES (?, ?) ON CONFLICT DO NOTHING",
                [(tag, place) for tag in tags],
            )

    def _evict(self) -> None:
        entries, size_bytes = self.connection.execute(
            "SELECT total(entries), total(bytes) FROM totals"
        ).fetchone()
        while entries > self.bounds.entries or size_bytes > self.bounds.bytes:
            oldest = self.connection.execute(_LEAST_USED, (_SLICE,)).fetchall()
            if not oldest:
                return
            for place, route, kept_bytes in oldest:
                if entries <= self.bounds.entries and size_bytes <= self.bounds.bytes:
                    return
                self._evict_one(place, route)
                entries -= 1
                size_bytes -= kept_bytes

    def _evict_one(self, place: int, route: str) -> None:
        self.connection.execute("DELETE FROM entries WHERE place = ?", (place,))
        self.connection.execute("UPDATE totals SET evicted = evicted + 1 WHERE route = ?", (route,))

    def clear(self, criteria: Criteria) -> Iterator[int]:
        """Remove entries slice by slice. Yields the number in each slice."""
        where, values = criteria.where()
        # SQL of fixed terms; the values are bound.
        statement = (
            "DELETE FROM entries WHERE place IN "  # noqa: S608
            f"(SELECT place FROM entries WHERE {where} LIMIT {_SLICE})"
        )
        removed = _SLICE
        while removed == _SLICE:
            with self._transaction():
                removed = self.connection.execute(statement, values).rowcount
            yield removed

    def sweep(self, now: float) -> Iterator[int]:
        """Remove useless entries slice by slice, and release free pages."""
        self.count_expired(now)
        removed = _SLICE
        while removed == _SLICE:
            with self._transaction():
                removed = self.connection.execute(_EXPIRED, (now, _SLICE)).rowcount
            yield removed
        execute = self.connection.execute
        while True:
            pages = execute("PRAGMA page_count").fetchone()[0]
            free = execute("PRAGMA freelist_count").fetchone()[0]
            if free < _PAGES_SPARED or free * 4 < pages:
                return
            execute(f"PRAGMA incremental_vacuum({_PAGES_FREED})").fetchall()
            yield 0

    def count_expired(self, now: float) -> None:
        """Update the totals to the number of entries that are stale at this time."""
        with self._transaction():
            upto = self.connection.execute("SELECT expired_upto FROM state").fetchone()[0]
            low, high, sign = (upto, now, 1) if now >= upto else (now, upto, -1)
            self.connection.execute(_COUNT_EXPIRED, {"low": low, "high": high, "sign": sign})
            self.connection.execute("UPDATE state SET expired_upto = ?", (now,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
