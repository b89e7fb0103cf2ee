"""Long request bodies: their values in match keys are computed on threads, a few at a time.

A body of many megabytes takes long to read. The threads give the reactor its
turns, and wait for a slot, so that many large bodies at once need no more
memory than a few.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from time import perf_counter, sleep
from typing import Any

from twisted.internet.defer import DeferredLock, DeferredSemaphore
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel

from buffr.errors import BuffrError
from buffr.interaction import Body, IndexEntry
from buffr.log import say
from buffr.matching.body import LongBody
from buffr.matching.key import KeyPart, MatchKey
from buffr.matching.long_body import ReadLong
from buffr.matching.matcher import Matcher
from buffr.matching.pieces import go_on
from buffr.message import Request
from buffr.stores.base import Matches, Store

__all__ = ["LongBodies", "RouteBodies"]

_AT_ONCE = 2
_PIECE_BYTES = 256 * 1024
_WORK_S = 0.001
_REST_S = 0.0001
_HEADS_A_TURN = 50


class _Abandoned(Exception):
    """The request is gone; its body is not needed any more."""


class _ReactorPauses:
    """Lets the reactor run now and then.

    Any sleep, however short, releases the interpreter's lock.
    """

    def __init__(self) -> None:
        self.abandoned = False
        self._until = perf_counter() + _WORK_S

    def pause(self) -> None:
        if perf_counter() >= self._until:
            if self.abandoned:
                raise _Abandoned
            sleep(_REST_S)
            self._until = perf_counter() + _WORK_S


class _OpenedBody:
    """A body that stays readable if its spool is closed meanwhile."""

    def __init__(self, body: Body) -> None:
        """Raises ``OSError``."""
        self._data = body.data
        self._fd = None if body.file is None else os.open(body.file, os.O_RDONLY)

    def pieces(self) -> Iterator[bytes]:
        at = 0
        while piece := self._read(at):
            at += len(piece)
            yield piece

    def _read(self, at: int) -> bytes:
        if self._fd is not None:
            return os.pread(self._fd, _PIECE_BYTES, at)
        return self._data[at : at + _PIECE_BYTES]

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


class LongBodies:
    """Reads bodies, for all routes together; without a reactor synchronously."""

    def __init__(self, reactor: Any = None, at_once: int = _AT_ONCE) -> None:
        self._reactor = reactor
        self._slots = DeferredSemaphore(at_once)

    async def read(self, body: Body, read: ReadLong) -> LongBody:
        """The values of a body. Raises ``OSError`` if it cannot be read."""
        opened, turns = _OpenedBody(body), _ReactorPauses()
        if self._reactor is None:
            with closing(opened):
                return read(opened.pieces, go_on)

        def work() -> LongBody:
            try:
                return read(opened.pieces, turns.pause)
            finally:
                opened.close()
                self._reactor.callFromThread(self._slots.release)

        try:
            await self._slots.acquire()
        except BaseException:
            opened.close()
            raise
        try:
            pool = self._reactor.getThreadPool()
            values: LongBody = await deferToThreadPool(self._reactor, pool, work)
        except BaseException:
            turns.abandoned = True
            raise
        return values

    async def turn(self) -> None:
        """Let other work run."""
        if self._reactor is not None:
            await deferLater(self._reactor, 0)


class RouteBodies:
    """The long bodies of one route: those of its requests, and those of its recordings.

    A cassette may have many that are never requested, so they are only read
    when a request with the same head finds nothing: recordings by older
    versions, or under other rules, do not have the meaning of their bodies
    stored. Until then they are filed by their bytes.
    """

    def __init__(self, bodies: LongBodies, matcher: Matcher, store: Store | None) -> None:
        self._bodies = bodies
        self._matcher = matcher
        self._store = store
        self._limit_logged = False
        self._places: Sequence[int] = ()
        self._heads: dict[int, tuple[KeyPart, ...]] = {}
        self._done: set[int] = set()
        self._one_at_a_time = DeferredLock()

    async def read(self, request: Request, body: Body, words: Callable[[], str]) -> LongBody:
        """The values of a request's body. Raises ``BuffrError`` if it cannot be read."""
        try:
            values = await self._bodies.read(body, self._matcher.long_body(request))
        except OSError as error:
            raise BuffrError(f"the request's body cannot be read: {error.strerror}") from error
        if values.over and not self._limit_logged:
            self._limit_logged = True
            say(
                LogLevel.warn,
                "a body is too long for match rules; it is compared by its bytes",
                request=words(),
                limit=f"match.body_bytes: {self._matcher.body_bytes}",
            )
        return values

    async def find(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The recordings of the first key that has any, by the meaning of their bodies."""
        store = self._store
        if store is None or not store.late.places:
            return None
        await self._one_at_a_time.acquire()
        try:
            await self._read_recorded(store, {key.parts[:-1] for key in keys})
        finally:
            self._one_at_a_time.release()
        return store.late.find(keys)

    async def _read_recorded(self, store: Store, heads: set[tuple[KeyPart, ...]]) -> None:
        """Read the bodies of all recordings with these heads that were not read yet."""
        at = 0
        while at < len(self._current(store)):
            place = self._places[at]
            at += 1
            if place not in self._done and await self._head(store, place) in heads:
                await self._read_one(store, place)
            elif at % _HEADS_A_TURN == 0:
                await self._bodies.turn()

    def _current(self, store: Store) -> Sequence[int]:
        """The current places: the file may have been read again."""
        places = store.late.places
        if places is not self._places:
            self._places = places
            self._heads.clear()
            self._done.clear()
        return places

    async def _head(self, store: Store, place: int) -> tuple[KeyPart, ...]:
        head = self._heads.get(place)
        if head is None:
            (entry,) = await store.entries((place,))
            parts: tuple[KeyPart, ...] = ()
            if isinstance(entry, IndexEntry):
                parts = self._matcher.recorded_head(entry.request)
            head = self._heads[place] = parts
        return head

    async def _read_one(self, store: Store, place: int) -> None:
        self._done.add(place)
        late = store.late
        (entry,) = await store.entries((place,))
        if not isinstance(entry, IndexEntry) or self._matcher.is_read(entry.request):
            return
        reader = self._matcher.recorded_long_body(entry.request)
        try:
            values = await self._bodies.read(entry.request.body, reader)
        except OSError as error:
            say(LogLevel.warn, "a recorded body cannot be read", err=str(error))
            return
        late.add(place, self._matcher.recorded_key(entry, values.meant))
