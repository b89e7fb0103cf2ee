"""What happens, as Server-Sent Events: to each client as much as it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from buffr.admin.answers import Asked, Events, Failed, bad_request, whole
from buffr.admin.filters import Filter, filter_of
from buffr.admin.recent import OpenExchange, Recent
from buffr.admin.server import Endpoint
from buffr.admin.stories import Record, Story, sums_of
from buffr.admin.summaries import Summaries
from buffr.message import first_value

__all__ = ["EventPages", "Watcher", "rest_after"]

_MOST_WATCHERS = 20
_TICK_S = 0.1
_LONGEST_TICK_S = 1.0
_SHARE = 0.05
"""Of buffr's time, to be spent on telling clients."""
_COUNTS_EVERY_S = 1.0
_ALIVE_EVERY_S = 15.0
_MOST_ITEMS = 100
_MOST_BYTES = 1 << 18
"""Of requests' bodies, which are read for what they mean: that takes 10 to 20 ms."""
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
    counted_s: float = 0.0
    told_s: float = 0.0


@define(eq=False)
class EventPages:
    """Answers ``/api/events``. ``hello`` and ``counts`` make the data of these events.

    A client is told at most every 0.1 s, of the latest 100 exchanges since
    then, or of fewer if their bodies are long, and less often where that takes
    long; so it costs the same however many there are, and nothing waits for a
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
            late_s = 0.0
            while not self._stopped:
                began_s = self.reactor.seconds()
                told = b"".join(await self._told(watcher))
                spent_s = self.reactor.seconds() - began_s
                rest_s = rest_after(spent_s, len(self.watchers), late_s)
                if told:
                    yield told
                due_s = self.reactor.seconds() + rest_s
                await self._tick(rest_s)
                late_s = self.reactor.seconds() - due_s
        finally:
            self.watchers.remove(watcher)

    async def _tick(self, rest_s: float) -> None:
        if self._stopped:  # while a thread was reading
            return
        tick: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer: IDelayedCall = self.reactor.callLater(rest_s, tick.callback, None)
        self._ticks = [one for one in self._ticks if one[1].active()]
        self._ticks.append((tick, timer))
        await tick

    async def _told(self, watcher: Watcher) -> list[bytes]:
        """The events that a client has not been told of yet."""
        now_s = self.reactor.seconds()
        told = await self._told_done(watcher)
        told += await self._told_open(watcher)
        changes, watcher.changes = watcher.changes, []
        told += [_event("changed", change) for change in changes]
        if now_s - watcher.counted_s >= _COUNTS_EVERY_S:
            watcher.counted_s = now_s
            total = self.recent.figures.total
            if total != watcher.last_total or changes or self.recent.open_count:
                watcher.last_total = total
                told.append(_event("counts", self.counts()))
        if not told and now_s - watcher.told_s >= _ALIVE_EVERY_S:
            told.append(b": alive\n\n")
        if told:
            watcher.told_s = now_s
        return told

    async def _told_done(self, watcher: Watcher) -> list[bytes]:
        recent = self.recent
        recent.catch_up()
        end = recent.end
        if watcher.position >= end:
            return []
        first = max(watcher.position, recent.start, end - _MOST_ITEMS)
        records = _read_soon(recent.forwards(first, _MOST_ITEMS))
        watcher.skipped += end - len(records) - watcher.position
        watcher.position = end
        items = await self.summaries.of(records)
        for record in records:
            watcher.sizes.pop(record.id, None)
        items = [one for one in items if watcher.wanted.passes(one)]
        if not items and not watcher.skipped:
            return []
        data = {"items": items, "skipped": watcher.skipped}
        watcher.skipped = 0
        return [_event("exchanges", data, records[-1].id)]

    async def _told_open(self, watcher: Watcher) -> list[bytes]:
        told: list[bytes] = []
        under_way = self.recent.under_way()
        for number in [number for number in watcher.sizes if number not in under_way]:
            del watcher.sizes[number]
        for summary in await self._newly_open(watcher, under_way):
            passes = watcher.wanted.passes(summary)
            watcher.sizes[summary["id"]] = summary["response_bytes"] if passes else -1
            if passes:
                told.append(_event("open", summary))
        for number, opened in under_way.items():
            size_bytes = opened.heard.size_bytes
            if len(told) < _MOST_UPDATES and 0 <= watcher.sizes.get(number, -1) != size_bytes:
                watcher.sizes[number] = size_bytes
                told.append(_event("update", _update(opened)))
        return told

    async def _newly_open(
        self, watcher: Watcher, under_way: Mapping[int, OpenExchange]
    ) -> list[dict[str, Any]]:
        some: list[tuple[OpenExchange, Story]] = []
        size_bytes = 0
        for number, opened in under_way.items():
            if len(some) == _MOST_UPDATES or size_bytes > _MOST_BYTES:
                break
            if number not in watcher.sizes:
                story = self.recent.story_of(opened)
                size_bytes += len(story.body or b"")
                some.append((opened, story))
        return await self.summaries.opened(some)


def rest_after(spent_s: float, watchers: int, late_s: float = 0.0) -> float:
    """How long a client is left alone after so long was spent on it, so that all get their share.

    ``late_s``: how late that began. On a machine with much else to do, buffr
    gets a part of the time only: then clients are told less often.
    """
    return min(_LONGEST_TICK_S, max(_TICK_S, (spent_s * watchers + late_s) / _SHARE))


def _read_soon(records: Sequence[Record]) -> Sequence[Record]:
    """The latest of some records, whose requests are soon read."""
    size_bytes = 0
    for number, record in enumerate(reversed(records)):
        if record.dur_s is not None:  # of repeated hits only the first is read
            size_bytes += sums_of(record.kept)[0]
        if size_bytes > _MOST_BYTES and number:
            return records[-number:]
    return records


def _update(opened: OpenExchange) -> dict[str, Any]:
    heard = opened.heard
    return {
        "id": opened.id,
        "response_bytes": heard.size_bytes,
        "chunks": heard.pieces,
        "frames": opened.exchange.frames,
    }


def _event(name: str, data: Any, number: int | None = None) -> bytes:
    head = b"" if number is None else b"id: %d\n" % number
    return b"%bevent: %b\ndata: %b\n\n" % (head, name.encode(), msgspec.json.encode(data))
