"""A cache in an SQLite file: looked up on the reactor's thread, written to by its own thread.

Many processes may share a file. A stored entry is found at once, and survives
the end of this process once ``put`` returns.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from buffr.errors import StoreFailed
from buffr.interaction import Body
from buffr.stores.cache import CacheCounters, CacheEntry, CacheStats, StoredEntry
from buffr.stores.disk import Disk
from buffr.stores.sqlite.file import CacheFile, is_broken, is_busy, said
from buffr.stores.sqlite.ledger import Bounds, Criteria, EntryWriter, Refreshed, Removed
from buffr.stores.sqlite.lookups import CacheReader
from buffr.stores.sqlite.pending import Pending, Variants
from buffr.stores.sqlite.rows import FoundRow
from buffr.stores.sqlite.thread import (
    Clear,
    Damaged,
    Load,
    Put,
    Stop,
    Sweep,
    Uses,
    Write,
    WriterResults,
    WriterThread,
)

__all__ = ["SQLiteStore"]

_WAITING = 4096
_WAITING_BYTES = 256 << 20
_USES = 1024
_USES_EVERY_S = 1.0
_PROCESS_BITS = 21

_TOTALS = """
SELECT total(entries), total(bytes), total(expired), total(evicted), total(fresh_ms) FROM totals"""
_STALE_BETWEEN = """
SELECT count(*), total(CAST(min(fresh_until, 4e9) * 1000 AS INTEGER)) FROM entries
WHERE fresh_until > ? AND fresh_until <= ?"""
_AGES = (
    "SELECT (SELECT min(responded_at) FROM entries{0}), (SELECT max(responded_at) FROM entries{0})"
)


def _at_once(function: Callable[[], None]) -> None:
    function()


@define(eq=False)
class SQLiteStore:
    """A ``CacheStore`` over a file. Call ``open`` first.

    ``call_from_thread`` runs a function on the reactor's thread, ``wall`` is
    the clock in seconds since the epoch, ``warn`` is called with lines for the
    log, from any thread. Useless entries are removed every ``sweep_every_s``.
    Frequently used entries are kept in ``memory_bytes`` of memory; ``soon``
    calls a function a moment later: by then the changes of other processes are
    visible.
    """

    path: Path
    bounds: Bounds
    call_from_thread: Callable[..., object] = field(kw_only=True)
    wall: Callable[[], float] = field(kw_only=True)
    warn: Callable[[str], None] = field(kw_only=True)
    sweep_every_s: float = field(default=5.0, kw_only=True)
    memory_bytes: int = field(default=0, kw_only=True)
    soon: Callable[[Callable[[], None]], object] = field(default=_at_once, kw_only=True)
    disk: Disk = field(factory=Disk, kw_only=True)
    counters: CacheCounters = field(init=False, factory=CacheCounters)
    _file: CacheFile = field(init=False)
    _thread: WriterThread = field(init=False)
    _reading: CacheReader = field(init=False)
    _salt: bytes = field(init=False, default=b"")
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
        self._reading = CacheReader(
            self.path, self.counters, self.memory_bytes, self.soon, self._unreadable
        )
        self._file = CacheFile(self.path, self.warn, self.disk)
        self._thread = WriterThread(
            self._file, self.bounds, self.wall, self._land_from_thread, self.sweep_every_s
        )

    def open(self) -> None:
        """Create the file, or migrate it to the current version. Blocks.

        Raises ``StoreFailed`` if it cannot be used, or has a newer version.
        """
        self._file.prepare()
        try:
            self._connect()
            writer = self._file.writer()
            try:
                EntryWriter(writer, self.bounds).count_expired(self.wall())
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
            finally:
                writer.close()
        except sqlite3.Error as error:
            raise StoreFailed(f"cache {self.path}: {said(error)}") from error
        self._thread.start()

    @property
    def salt(self) -> bytes:
        return self._salt

    async def find(self, key: bytes) -> Sequence[StoredEntry]:
        while (write := self._pending.unreadable(key)) is not None:
            await self._landed(write)
        if self._closed:
            raise StoreFailed(f"cache {self.path} is closed")
        stored = self._reading.stored(key)
        found = stored.cached
        if self._pending.concerns(key, found):
            variants = Variants()
            for variant, cached in stored.variants:
                variants.add(variant, cached)
            self._pending.apply(key, variants)
            found = variants.in_order()
        if stored.large:
            large = stored.large
            found = [whole for cached in found if (whole := await self._whole(cached, large))]
        self._use(found)
        return found

    def unchanged(self, key: bytes, found: Sequence[StoredEntry]) -> bool:
        if self._closed or self._pending.unreadable(key) or self._pending.concerns(key, found):
            return False
        if not self._reading.holds(key, found):
            return False
        self._use(found)
        return True

    def _use(self, found: Sequence[StoredEntry]) -> None:
        """Note what was used, and write it down now and then."""
        now = self.wall()
        for cached in found:
            self._used[cached.place] = now
        if self._used and (len(self._used) >= _USES or now >= self._next_uses_at):
            self._note_uses(now)

    async def _whole(
        self, cached: StoredEntry, large: Mapping[int, FoundRow]
    ) -> StoredEntry | None:
        """An entry with its body; ``None`` if it was removed meanwhile."""
        row = large.get(cached.place)
        if row is None:
            return cached
        done: Deferred[bytes | None] = Deferred()
        self._thread.put(Load(cached.place, done))
        body = await done
        if body is None:
            return None
        self.counters.inflated += row[10]
        return StoredEntry(cached.place, evolve(cached.entry, body=Body.of(body)))

    def _unreadable(self, error: sqlite3.Error) -> None:
        if is_broken(error):
            self._thread.put(Damaged(said(error), self._file.inode))

    def _note_uses(self, now: float) -> None:
        used, self._used = self._used, {}
        self._next_uses_at = now + _USES_EVERY_S
        self._thread.put(Uses(used))

    async def put(self, entry: CacheEntry) -> None:
        if entry.body.size_bytes <= self.bounds.body_bytes:
            await self._write(Put(self._new_place(), entry))

    def change(self, bounds: Bounds, memory_bytes: int) -> None:
        """Apply other limits, from the next entry on."""
        self.bounds = self._thread.bounds = bounds
        self.memory_bytes = self._reading.most_bytes = memory_bytes

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
            self._note_uses(now)  # before anything is evicted
        self._waiting += 1
        self._waiting_bytes += size_bytes
        self._pending.add(write)
        self._thread.put(write)
        await write.done

    def _new_place(self) -> int:
        """Higher than all before, and different from those of other processes.

        Composed of the time and the process.
        """
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
        """Remove entries that are useless now. Returns their number."""
        if self._closed:
            raise StoreFailed(f"cache {self.path} is closed")
        done: Deferred[int] = Deferred()
        self._thread.put(Sweep(done))
        return await done

    async def stats(self, now: float, route: str | None = None) -> CacheStats:
        where, of_route = ("", ()) if route is None else (" WHERE route = ?", (route,))
        self._reading.rows("BEGIN", ())
        try:
            totals = self._reading.rows(_TOTALS + where, of_route)[0]
            entries, size_bytes, expired, evicted, fresh_ms = totals
            oldest_at, newest_at = self._reading.rows(_AGES.format(where), of_route * 2)[0]
            upto = self._reading.rows("SELECT expired_upto FROM state", ())[0][0]
            and_route = "" if route is None else " AND route = ?"
            between = (min(upto, now), max(upto, now), *of_route)
            since, since_ms = self._reading.rows(_STALE_BETWEEN + and_route, between)[0]
        finally:
            self._reading.rows("COMMIT", ())
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
        """Write everything that is waiting, then stop the thread."""
        if self._closed:
            return
        self._closed = True
        if self._used:
            self._note_uses(self.wall())
        if self._reading.is_open:
            # First: the last connection to close moves the write-ahead log into the file, which is
            # the thread's task.
            self._reading.close()
            done: Deferred[None] = Deferred()
            self._thread.put(Stop(done))
            await done

    async def _landed(self, write: Write) -> None:
        """Wait until a write is committed, or has failed."""
        done: Deferred[None] = Deferred()
        self._landing.setdefault(write, []).append(done)
        await done

    def _land_from_thread(self, outcome: WriterResults) -> None:
        self.call_from_thread(self._land, outcome)

    def _land(self, outcome: WriterResults) -> None:
        if outcome.reopened and not self._closed:
            self._reopen()
        self._reading.ask_again()
        self.counters.compressed += outcome.compressed
        for job, result in outcome.results:
            if isinstance(job, Write):
                self._pending.discard(job)
                if not isinstance(job.change, Removed):
                    self._reading.let_go(job.change.entry.key)
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
        self._reading.open(self._file.reader())
        self._salt = self._reading.rows("SELECT salt FROM state", ())[0][0]

    def _reopen(self) -> None:
        self._reading.close()
        try:
            self._connect()
        except sqlite3.Error as error:
            self.warn(f"cache {self.path}: {said(error)}")
        except StoreFailed as error:
            self.warn(str(error))


def _body_bytes(write: Write) -> int:
    return write.change.entry.body.size_bytes if isinstance(write.change, Put) else 0
