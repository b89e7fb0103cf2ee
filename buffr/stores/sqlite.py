"""A cache in an SQLite file: looked up on the reactor's thread, written to by one of its own.

Many processes may share a file. What is put is found at once, and is safe
from the end of this process when ``put`` returns.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zstandard
from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buffr.errors import StoreFailed
from buffr.interaction import Body
from buffr.stores.cache import CacheCounters, Cached, CacheEntry, CacheStats
from buffr.stores.disk import Disk
from buffr.stores.sqlite_file import CacheFile, is_broken, said
from buffr.stores.sqlite_ledger import Bounds, Criteria, Ledger, Refreshed, Removed
from buffr.stores.sqlite_pending import Pending, Variants
from buffr.stores.sqlite_rows import INLINE_BYTES, FoundRow, body_of, entry_of
from buffr.stores.sqlite_thread import (
    Broken,
    Clear,
    Load,
    Outcome,
    Put,
    Stop,
    Sweep,
    Uses,
    Write,
    WriterThread,
)

__all__ = ["SQLiteStore"]

_WAITING = 4096
_WAITING_BYTES = 256 << 20
_HOT = 1024
_HOT_BYTES = 16 << 20
_USES = 1024
_USES_EVERY_S = 1.0
_PROCESS_BITS = 21

_FIND = """
SELECT place, variant, route, url, born_at, responded_at, fresh_until, keep_until,
  head, body_bytes, coding, CASE WHEN body_bytes <= ? THEN body END
FROM entries WHERE key = ?"""
_TOTALS = """
SELECT total(entries), total(bytes), total(expired), total(evicted), total(fresh_ms) FROM totals"""
_STALE_BETWEEN = """
SELECT count(*), total(CAST(min(fresh_until, 4e9) * 1000 AS INTEGER)) FROM entries
WHERE fresh_until > ? AND fresh_until <= ?"""
_AGES = (
    "SELECT (SELECT min(responded_at) FROM entries{0}), (SELECT max(responded_at) FROM entries{0})"
)


@define(eq=False)
class SQLiteStore:
    """A ``CacheStore`` over a file. Call ``open`` first.

    ``call_from_thread`` runs a function on the reactor's thread, ``wall`` is
    the clock in seconds since the epoch, ``warn`` takes lines for the log
    from any thread. What is of no use any more is removed every
    ``sweep_every_s``.
    """

    path: Path
    bounds: Bounds
    call_from_thread: Callable[..., object] = field(kw_only=True)
    wall: Callable[[], float] = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    sweep_every_s: float = field(default=5.0, kw_only=True)
    disk: Disk = field(factory=Disk, kw_only=True)
    counters: CacheCounters = field(init=False, factory=CacheCounters)
    _file: CacheFile = field(init=False)
    _thread: WriterThread = field(init=False)
    _reader: sqlite3.Connection | None = field(init=False, default=None)
    _salt: bytes = field(init=False, default=b"")
    _inflate: zstandard.ZstdDecompressor = field(init=False, factory=zstandard.ZstdDecompressor)
    _hot: dict[bytes, Sequence[Cached]] = field(init=False, factory=dict)
    _hot_bytes: int = field(init=False, default=0)
    _version: int = field(init=False, default=-1)
    _pending: Pending = field(init=False, factory=Pending)
    _waiting: int = field(init=False, default=0)
    _waiting_bytes: int = field(init=False, default=0)
    _landing: dict[Write, list[Deferred[None]]] = field(init=False, factory=dict)
    _used: dict[int, float] = field(init=False, factory=dict)
    _next_uses_at: float = field(init=False, default=0.0)
    _tick: int = field(init=False, default=0)
    _process: int = field(init=False, factory=lambda: secrets.randbits(_PROCESS_BITS))
    _closed: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._file = CacheFile(self.path, self.warn, self.disk)
        self._thread = WriterThread(
            self._file, self.bounds, self.wall, self._land_from_thread, self.sweep_every_s
        )

    def open(self) -> None:
        """Make the file, or bring it to today's version. Blocks.

        Raises ``StoreFailed`` when it cannot be used, or is of a newer version.
        """
        self._file.prepare()
        try:
            self._connect()
            writer = self._file.writer()
            try:
                Ledger(writer, self.bounds).count_expired(self.wall())
            except sqlite3.OperationalError as error:
                self.warn(f"cache {self.path}: {said(error)}; nothing will be kept")
            finally:
                writer.close()
        except sqlite3.Error as error:
            raise StoreFailed(f"cache {self.path}: {said(error)}") from error
        self._thread.start()

    @property
    def salt(self) -> bytes:
        return self._salt

    async def find(self, key: bytes) -> Sequence[Cached]:
        while (write := self._pending.unreadable(key)) is not None:
            await self._landed(write)
        found = self._known(key)
        if found is None:
            found = await self._looked_up(key)
        now = self.wall()
        for cached in found:
            self._used[cached.place] = now
        if self._used and (len(self._used) >= _USES or now >= self._next_uses_at):
            self._note_uses(now)
        return found

    def _known(self, key: bytes) -> Sequence[Cached] | None:
        """What was found before, as long as nobody has written to the file since."""
        version = self._read("PRAGMA data_version", ())[0][0]
        if version != self._version:
            self._version = version
            self._hot.clear()
            self._hot_bytes = 0
        return None if self._pending else self._hot.get(key)

    async def _looked_up(self, key: bytes) -> Sequence[Cached]:
        rows = self._read(_FIND, (INLINE_BYTES, key))
        large = {row[0]: row for row in rows if row[11] is None}
        if len(rows) == 1 and not self._pending:
            found = [self._cached(key, rows[0])]
        else:
            variants = Variants()
            for row in rows:
                variants.add(row[1], self._cached(key, row))
            self._pending.apply(key, variants)
            found = variants.in_order()
        if large:
            found = [whole for cached in found if (whole := await self._whole(cached, large))]
        elif found and not self._pending:
            self._remember(key, found)
        return found

    def _remember(self, key: bytes, found: Sequence[Cached]) -> None:
        size_bytes = sum(cached.entry.body.size_bytes for cached in found)
        if self._hot_bytes + size_bytes > _HOT_BYTES or len(self._hot) >= _HOT:
            self._hot.clear()
            self._hot_bytes = 0
        self._hot[key] = found
        self._hot_bytes += size_bytes

    def _cached(self, key: bytes, row: FoundRow) -> Cached:
        """A row as an entry; a large body is left out."""
        try:
            return Cached(row[0], entry_of(key, row, self._body(row, row[11])))
        except ValueError as error:
            raise StoreFailed(f"cache {self.path}: {error}") from error

    def _body(self, row: FoundRow, kept: bytes | None) -> bytes:
        if kept is None:
            return b""
        self.counters.inflated += row[10]
        return body_of(kept, row[10], row[9], self._inflate)

    async def _whole(self, cached: Cached, large: dict[int, FoundRow]) -> Cached | None:
        """An entry with its body; ``None`` when it was removed meanwhile."""
        row = large.get(cached.place)
        if row is None:
            return cached
        done: Deferred[bytes | None] = Deferred()
        self._thread.put(Load(cached.place, done))
        body = await done
        if body is None:
            return None
        self.counters.inflated += row[10]
        return Cached(cached.place, evolve(cached.entry, body=Body.of(body)))

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        if self._closed or self._reader is None:
            raise StoreFailed(f"cache {self.path} is closed")
        try:
            rows: list[Any] = self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if is_broken(error):
                self._thread.put(Broken(said(error), self._file.inode))
            raise StoreFailed(f"cache {self.path}: {said(error)}") from error
        return rows

    def _note_uses(self, now: float) -> None:
        used, self._used = self._used, {}
        self._next_uses_at = now + _USES_EVERY_S
        self._thread.put(Uses(used))

    async def put(self, entry: CacheEntry) -> None:
        if entry.body.size_bytes <= self.bounds.body_bytes:
            await self._write(Put(self._new_place(), entry))

    def change(self, bounds: Bounds) -> None:
        """Keep other bounds, from the next entry on."""
        self.bounds = self._thread.bounds = bounds

    async def refresh(self, place: int, entry: CacheEntry) -> None:
        await self._write(Refreshed(place, entry))

    async def remove(self, place: int) -> None:
        await self._write(Removed(place))

    async def _write(self, change: Put | Refreshed | Removed) -> None:
        if self._closed:
            raise StoreFailed(f"cache {self.path} is closed")
        now = self.wall()
        write = Write(change, now, Deferred())
        size_bytes = _body_bytes(write)
        if self._waiting >= _WAITING or self._waiting_bytes + size_bytes > _WAITING_BYTES:
            raise StoreFailed(f"cache {self.path}: too many answers wait for the disk")
        if self._used:
            self._note_uses(now)  # before what may evict
        self._waiting += 1
        self._waiting_bytes += size_bytes
        self._pending.add(write)
        self._thread.put(write)
        await write.done

    def _new_place(self) -> int:
        """Higher than all before, and no other process's: time, then who."""
        self._tick = max(self._tick + 1, int(self.wall() * 1000))
        return self._tick << _PROCESS_BITS | self._process

    async def clear(
        self,
        *,
        route: str | None = None,
        url: str | None = None,
        tag: str | None = None,
        stored_before: float | None = None,
    ) -> int:
        if self._closed:
            raise StoreFailed(f"cache {self.path} is closed")
        criteria = Criteria(self._new_place(), route, url, tag, stored_before)
        done: Deferred[int] = Deferred()
        self._thread.put(Clear(criteria, done))
        return await done

    async def sweep(self) -> int:
        """Remove what is of no use any more now; how many entries those were."""
        if self._closed:
            raise StoreFailed(f"cache {self.path} is closed")
        done: Deferred[int] = Deferred()
        self._thread.put(Sweep(done))
        return await done

    def stats(self, now: float, route: str | None = None) -> CacheStats:
        where, of_route = ("", ()) if route is None else (" WHERE route = ?", (route,))
        self._read("BEGIN", ())
        try:
            entries, size_bytes, expired, evicted, fresh_ms = self._read(_TOTALS + where, of_route)[
                0
            ]
            oldest_at, newest_at = self._read(_AGES.format(where), of_route * 2)[0]
            upto = self._read("SELECT expired_upto FROM state", ())[0][0]
            and_route = "" if route is None else " AND route = ?"
            between = (min(upto, now), max(upto, now), *of_route)
            since, since_ms = self._read(_STALE_BETWEEN + and_route, between)[0]
        finally:
            self._read("COMMIT", ())
        sign = 1 if now >= upto else -1
        expired += sign * since
        fresh = entries - expired
        fresh_left_s = ((fresh_ms - sign * since_ms) / 1000 - fresh * now) / fresh if fresh else 0.0
        return CacheStats(
            entries=int(entries),
            bytes=int(size_bytes),
            expired=int(expired),
            oldest_at=oldest_at,
            newest_at=newest_at,
            evicted=int(evicted),
            fresh_left_s=fresh_left_s,
        )

    async def close(self) -> None:
        """Write everything that waits, then stop the thread."""
        if self._closed:
            return
        self._closed = True
        if self._used:
            self._note_uses(self.wall())
        if self._reader is not None:
            # First: the last connection to go moves the write-ahead log into
            # the file, which is the thread's business.
            self._reader.close()
            done: Deferred[None] = Deferred()
            self._thread.put(Stop(done))
            await done

    async def _landed(self, write: Write) -> None:
        """Wait until a write is committed, or has failed."""
        done: Deferred[None] = Deferred()
        self._landing.setdefault(write, []).append(done)
        await done

    def _land_from_thread(self, outcome: Outcome) -> None:
        self.call_from_thread(self._land, outcome)

    def _land(self, outcome: Outcome) -> None:
        if outcome.reopened and not self._closed:
            self._reopen()
        self.counters.compressed += outcome.compressed
        for job, result in outcome.results:
            if isinstance(job, Write):
                self._pending.discard(job)
                self._waiting -= 1
                self._waiting_bytes -= _body_bytes(job)
                self.counters.puts += isinstance(job.change, Put) and result is None
        for job, result in outcome.results:
            if isinstance(job, Write):
                for waiter in self._landing.pop(job, ()):
                    waiter.callback(None)
            if isinstance(job, Write | Load | Clear | Sweep | Stop) and job.done is not None:
                done: Deferred[Any] = job.done
                if isinstance(result, StoreFailed):
                    done.errback(result)
                else:
                    done.callback(result)

    def _connect(self) -> None:
        self._version = -1
        self._reader = self._file.reader()
        self._salt = self._reader.execute("SELECT salt FROM state").fetchone()[0]

    def _reopen(self) -> None:
        if self._reader is not None:
            self._reader.close()
        try:
            self._connect()
        except sqlite3.Error as error:
            self.warn(f"cache {self.path}: {said(error)}")


def _body_bytes(write: Write) -> int:
    return write.change.entry.body.size_bytes if isinstance(write.change, Put) else 0
