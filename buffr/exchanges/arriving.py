"""Long answers are searched for credentials and hashed while they arrive, each on a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from twisted.internet.defer import Deferred

from buffr.interaction import Searched
from buffr.transport.spool import Spool

__all__ = ["ArrivingBodies", "ArrivingBody", "Search"]

Search = Callable[[Iterator[bytes]], Searched | None]
"""Takes a body's pieces, on any thread, and waits for them."""

_LONG_BYTES = 4 << 20
_PIECE_BYTES = 256 * 1024
_AT_ONCE = 8
"""More are searched when they are whole."""


class ArrivingBodies:
    """Begins the searches, of which a few are under way at once."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.searching = 0
        """How many are searched now."""

    def arriving(self, search: Callable[[], Search]) -> ArrivingBody:
        """A body that arrives now; ``search`` says how it is searched, on its thread."""
        return ArrivingBody(self, search)


class ArrivingBody:
    """Follows a body's spool with a search, once it is long."""

    def __init__(self, bodies: ArrivingBodies, search: Callable[[], Search]) -> None:
        self._bodies = bodies
        self._search = search
        self._refused = False
        self._growth: _Growth | None = None
        self._over: Deferred[Searched | None] = Deferred()

    def grown(self, spool: Spool) -> None:
        """More of the body has come."""
        if self._growth is not None:
            self._growth.grown(spool.size_bytes)
        elif spool.size_bytes >= _LONG_BYTES and not self._refused:
            path = spool.path
            if path is None:
                return  # it is in memory, as long as the settings let it
            self._refused = self._bodies.searching >= _AT_ONCE
            if not self._refused:
                self._begin(path, spool.size_bytes)

    def _begin(self, path: Path, size_bytes: int) -> None:
        try:
            growth = _Growth(path)
        except OSError:  # as without a free descriptor; the body is searched when it is whole
            self._refused = True
            return
        growth.grown(size_bytes)
        try:
            Thread(target=self._run, args=(growth,), name="search", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._refused = True
            growth.close()
            return
        self._growth = growth
        self._bodies.searching += 1

    def _run(self, growth: _Growth) -> None:
        searched = None
        try:
            searched = self._search()(growth.pieces())
        except Exception:  # noqa: BLE001, S110  # the search of the whole body meets it, and says it
            pass
        finally:
            growth.close()
            self._bodies.reactor.callFromThread(self._end, searched)

    def _end(self, searched: Searched | None) -> None:
        self._bodies.searching -= 1
        self._over.callback(searched)

    async def searched(self, size_bytes: int) -> Searched | None:
        """What is known about the body, which has come to its end; wait for it."""
        if self._growth is None:
            return None
        self._growth.end(size_bytes)
        found = await self._over
        return found if found is not None and found.size_bytes == size_bytes else None

    def drop(self) -> None:
        """Nobody wants to know any more."""
        self._refused = True
        if self._growth is not None:
            self._growth.end(0)


class _Growth:
    """A file that grows, read from its start while it does."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._news = Condition()
        self._size_bytes = 0
        self._whole = False

    def grown(self, size_bytes: int) -> None:
        if size_bytes - self._size_bytes >= _PIECE_BYTES:
            with self._news:
                self._size_bytes = size_bytes
                self._news.notify()

    def end(self, size_bytes: int) -> None:
        """It has its last byte. At a smaller size than was read, the pieces end at once."""
        with self._news:
            self._size_bytes, self._whole = size_bytes, True
            self._news.notify()

    def pieces(self) -> Iterator[bytes]:
        offset = 0
        while True:
            with self._news:
                while offset >= self._size_bytes and not self._whole:
                    self._news.wait()
                end = self._size_bytes
            if offset >= end:
                return
            piece = os.pread(self._fd, min(_PIECE_BYTES, end - offset), offset)
            if not piece:
                return
            offset += len(piece)
            yield piece

    def close(self) -> None:
        os.close(self._fd)
