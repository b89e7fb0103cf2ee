"""What happens, as Server-Sent Events: to each client as much as it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from buffr.admin.answers import Asked, Events, Failed, bad_request, whole
from buffr.admin.filters import Filter, filter_of
from buffr.admin.recent import OpenExchange, Recent
from buffr.admin.server import Endpoint
from buffr.admin.stories import Record
from buffr.admin.summaries import Summaries
from buffr.message import first_value

__all__ = ["EventPages", "Watcher"]

_MOST_WATCHERS = 20
_TICK_S = 0.1
_COUNTS_EVERY = 10
_ALIVE_EVERY = 150
_MOST_ITEMS = 100
_MOST_UPDATES = 50
_MOST_CHANGES = 200


@define(eq=False)
class Watcher:
    """One client: the position up to which it was told, and what it still has to be told."""

    position: int
    wanted: Filter
    skipped: int = 0
    changes: list[dict[str, Any]] = field(factory=list)
    sizes: dict[int, int] = field(factory=dict)
    last_total: int = -1
    ticks: int = 0


@define(eq=False)
class EventPages:
    """Answers ``/api/events``. ``hello`` and ``counts`` make the data of these events.

    A client is told at most every 0.1 s, of the latest 100 exchanges since
    then; so it costs the same however many there are, and nothing waits for a
    client that is slow.
    """

    recent: Recent
    summaries: Summaries
    reactor: Any
    hello: Callable[[], dict[str, Any]]
    counts: Callable[[], dict[str, Any]]
    watchers: list[Watcher] = field(init=False, factory=list)
    _ticks: list[tuple[Deferred[None], IDelayedCall]] = field(init=False, factory=list)
    _stopped: bool = field(init=False, default=False)

    def endpoints(self) -> Sequence[Endpoint]:
        return (Endpoint("GET", "/api/events", self._events, ("after", "q")),)

    def changed(self, what: str, name: str | None = None) -> None:
        """Tell all clients that something was changed."""
        for watcher in self.watchers:
            if len(watcher.changes) < _MOST_CHANGES:
                watcher.changes.append({"what": what, "id": name})

    def stop(self) -> None:
        """End all streams."""
        self._stopped = True
        for tick, timer in self._ticks:
            if timer.active():
                timer.cancel()
                tick.callback(None)
        self._ticks.clear()

    async def _events(self, asked: Asked) -> Events:
        if len(self.watchers) >= _MOST_WATCHERS or self._stopped:
            raise Failed(
                status=503,
                code="TOO_MANY_WATCHERS",
                message=f"{len(self.watchers)} clients are watching; no more are served",
            )
        wanted = filter_of(asked.text("q", 1000))
        if wanted.deep:
            raise bad_request("q: header: and body: are for /api/exchanges only")
        after = asked.integer("after", 0, 1 << 53, None)
        last = first_value(asked.headers, b"last-event-id")
        if last is not None:
            after = whole("Last-Event-ID", last.decode("latin-1"), 0, 1 << 53)
        self.recent.catch_up()
        position = self.recent.end if after is None else self.recent.position_after(after)
        return Events(self._stream(Watcher(position, wanted)))

    async def _stream(self, watcher: Watcher) -> AsyncGenerator[bytes, None]:
        self.watchers.append(watcher)
        try:
            yield b"retry: 1000\n" + _event("hello", self.hello())
            while not self._stopped:
                told = b"".join(self._told(watcher))
                if told:
                    yield told
                await self._tick()
        finally:
            self.watchers.remove(watcher)

    async def _tick(self) -> None:
        tick: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer: IDelayedCall = self.reactor.callLater(_TICK_S, tick.callback, None)
        self._ticks = [one for one in self._ticks if one[1].active()]
        self._ticks.append((tick, timer))
        await tick

    def _told(self, watcher: Watcher) -> list[bytes]:
        """The events that a client has not been told of yet."""
        watcher.ticks += 1
        told = self._told_done(watcher)
        told += self._told_open(watcher)
        changes, watcher.changes = watcher.changes, []
        told += [_event("changed", change) for change in changes]
        if watcher.ticks % _COUNTS_EVERY == 1:
            total = self.recent.figures.total
            if total != watcher.last_total or changes or self.recent.open_count:
                watcher.last_total = total
                told.append(_event("counts", self.counts()))
        if not told and watcher.ticks % _ALIVE_EVERY == 0:
            told.append(b": alive\n\n")
        return told

    def _told_done(self, watcher: Watcher) -> list[bytes]:
        recent = self.recent
        recent.catch_up()
        end = recent.end
        if watcher.position >= end:
            return []
        first = max(watcher.position, recent.start, end - _MOST_ITEMS)
        watcher.skipped += first - watcher.position
        records = recent.forwards(first, _MOST_ITEMS)
        watcher.position = first + len(records)
        items = [self.summaries.of(record) for record in records]
        for record in records:
            watcher.sizes.pop(record.id, None)
        items = [one for one in items if watcher.wanted.passes(one)]
        if not items and not watcher.skipped:
            return []
        data = {"items": items, "skipped": watcher.skipped}
        watcher.skipped = 0
        return [_event("exchanges", data, _last(records))]

    def _told_open(self, watcher: Watcher) -> list[bytes]:
        told: list[bytes] = []
        under_way = self.recent.under_way()
        for number in [number for number in watcher.sizes if number not in under_way]:
            del watcher.sizes[number]
        for number, opened in under_way.items():
            if len(told) == _MOST_UPDATES:
                break
            size_bytes = opened.heard.size_bytes
            if number not in watcher.sizes:
                summary = self.summaries.opened(opened, self.recent.story_of(opened))
                watcher.sizes[number] = size_bytes if watcher.wanted.passes(summary) else -1
                if watcher.sizes[number] >= 0:
                    told.append(_event("open", summary))
            elif 0 <= watcher.sizes[number] != size_bytes:
                watcher.sizes[number] = size_bytes
                told.append(_event("update", _update(opened)))
        return told


def _update(opened: OpenExchange) -> dict[str, Any]:
    heard = opened.heard
    return {
        "id": opened.id,
        "response_bytes": heard.size_bytes,
        "chunks": heard.pieces,
        "frames": opened.exchange.frames,
    }


def _last(records: Sequence[Record]) -> int | None:
    return records[-1].id if records else None


def _event(name: str, data: Any, number: int | None = None) -> bytes:
    head = b"" if number is None else b"id: %d\n" % number
    return b"%bevent: %b\ndata: %b\n\n" % (head, name.encode(), msgspec.json.encode(data))
