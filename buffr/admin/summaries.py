"""Exchanges in short, as they stand in lists and go out as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from buffr.admin.labels import label_of
from buffr.admin.recent import OpenExchange
from buffr.admin.running import RouteIds
from buffr.admin.stories import HERE, Kept, Record, Story, beside_of
from buffr.exchanges.route import Recorded
from buffr.interaction import HTTPInteraction, Interaction
from buffr.message import Headers, ResponseHead, media_type
from buffr.recording.readable import beginning, codings_of
from buffr.redaction.request_hint import LARGEST_READ, RequestHint, read_request
from buffr.redaction.rules import RedactionRules
from buffr.transport.eager import aside, at_once

__all__ = ["Described", "Summaries", "described", "kind_of", "parted", "readable_body"]

_NO_HINT = RequestHint()
_MOST_MADE = 1000
_Name = tuple[int, int]
_Made = tuple[Kept, dict[str, object]]
"""What is kept, so that nothing else gets its id meanwhile, and what was made of it."""


@frozen
class Described:
    """What a request means: its label and its hint."""

    label: str
    hint: RequestHint


def described(
    url: str, headers: Headers, target: bytes, body: bytes, rules: RedactionRules
) -> Described:
    """What a request means. ``url`` is redacted; ``body`` is as it was sent."""
    plain = readable_body(headers, body)
    hint, members = read_request(target, headers, plain, rules)
    return Described(label_of(url, headers, members, hint), hint)


def readable_body(headers: Headers, body: bytes) -> bytes:
    """A request's body without codings, as far as it is read for its meaning."""
    if not codings_of(headers):
        return body
    undone = beginning(body, headers, LARGEST_READ)
    return b"" if undone is None or undone[1] else undone[0]


def kind_of(request: Headers, answer: ResponseHead | None, frames: int | None) -> str:
    """The kind of an exchange or a recording."""
    if frames is not None or (answer is not None and answer.status == 101):
        return "websocket"
    if media_type(request).startswith(b"application/grpc"):
        return "grpc"
    if answer is not None and media_type(answer.headers) == b"text/event-stream":
        return "sse"
    return "http"


def parted(url: str) -> tuple[str | None, str]:
    """The host of a URL with its port, if there is one, and the path with the query."""
    scheme, mark, rest = url.partition("://")
    if not mark or "/" in scheme:
        return None, url
    host, slash, path = rest.partition("/")
    return host, slash + path


def interaction_kind(interaction: Interaction) -> str:
    frames = None if isinstance(interaction, HTTPInteraction) else len(interaction.frames)
    return kind_of(interaction.request.headers, interaction.response, frames)


@define(eq=False)
class Summaries:
    """Makes ``ExchangeSummary`` of the API's document.

    The latest thousand are remembered: several clients look at the same ones,
    and repeated hits share what is the same in theirs.
    """

    ids: RouteIds
    rules: RedactionRules
    reactor: Any
    _made: dict[_Name, _Made] = field(init=False, factory=dict)

    async def of(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """The summaries of exchanges that are over, in their order."""
        names = [_name(record) for record in records]
        made = {name: self._made[name] for name in names if name in self._made}
        new = {
            name: record for name, record in zip(names, records, strict=True) if name not in made
        }
        if new:
            stories = [Story.of(record.kept, record.dur_s) for record in new.values()]
            meanings = await self._meanings(stories)
            if len(self._made) + len(new) > _MOST_MADE:
                self._made.clear()
            for (name, record), story, meant in zip(new.items(), stories, meanings, strict=True):
                made[name] = self._made[name] = record.kept, self._same(story, meant)
        return [
            _summary(record, made[name][1]) for name, record in zip(names, records, strict=True)
        ]

    async def opened(self, some: Sequence[tuple[OpenExchange, Story]]) -> list[dict[str, Any]]:
        """The summaries of exchanges that are under way, as their stories are now."""
        meanings = await self._meanings([story for _, story in some])
        return [
            self._opened(opened, story, meant)
            for (opened, story), meant in zip(some, meanings, strict=True)
        ]

    async def _meanings(self, stories: Sequence[Story]) -> list[Described | None]:
        """What their requests mean, read on a thread if there is much to read."""
        size_bytes = sum(len(story.body or b"") for story in stories)
        return await aside(
            self.reactor, size_bytes, lambda: [self._meant(story) for story in stories]
        )

    def _meant(self, story: Story) -> Described | None:
        request = story.request
        if request is None:
            return None
        url, body = self._url_of(story), story.body or b""
        return described(url, request.headers, request.target, body, self.rules)

    def _url_of(self, story: Story) -> str:
        url = story.words.partition(" ")[2]
        if url.startswith("/") and story.route_id is not None:
            url = self.ids.bases.get(story.route_id, "") + url
        return url

    def _opened(
        self, opened: OpenExchange, story: Story, meant: Described | None
    ) -> dict[str, Any]:
        exchange, heard = opened.exchange, opened.heard
        return {
            "id": opened.id,
            "at_ms": int(opened.began_at * 1000),
            **self._told(story, meant),
            "state": "open",
            "source": "shared" if exchange.shared else exchange.src,
            "status": 0 if heard.head is None else heard.head.status,
            "duration_ms": None,
            "scope": exchange.scope,
            "detail": None,
            "level": "INFO",
            "response_bytes": heard.size_bytes,
            "interaction": None,
        }

    def _same(self, story: Story, meant: Described | None) -> dict[str, object]:
        """What is the same in the summaries of all records that share what is kept."""
        interaction = None
        if story.place is not None:
            index = self._index_of(story, story.place)
            interaction = {"id": None, "store": None, "index": index, "recorded_at_ms": None}
        return {
            **self._told(story, meant),
            "state": "done",
            "source": story.source,
            "status": story.status,
            "duration_ms": None,
            "scope": story.scope,
            "detail": story.detail or None,
            "level": story.level,
            "response_bytes": story.response_bytes,
            "interaction": interaction,
            "saved": story.spared().data() if story.source in HERE else None,
        }

    def _index_of(self, story: Story, place: int) -> int:
        """The number of a recording in its store, counted from 0."""
        route = self.ids.route(story.route_number)
        places = at_once(route.store.places()) if isinstance(route, Recorded) else None
        return place if places is None else max(0, place - places.start)

    def _told(self, story: Story, meant: Described | None) -> dict[str, object]:
        """What is the same, whether the exchange is over or not."""
        route_id, request = story.route_id, story.request
        method, _, url = story.words.partition(" ")
        if request is None or meant is None:
            return self._without_request(method, url, route_id)
        url = self._url_of(story)
        kind = kind_of(request.headers, story.head, story.frames)
        hint, label = meant.hint, meant.label
        if kind == "websocket":
            label = "WebSocket" if story.frames is None else f"WebSocket · {story.frames} frames"
        host, path = parted(url)
        pieces = 0 if story.pieces == 1 else story.pieces
        return {
            "kind": kind,
            "method": request.method.decode("latin-1"),
            "url": url,
            "host": host,
            "path": path,
            "route": route_id,
            "label": label,
            "operation": hint.operation,
            "model": hint.model,
            "stream": hint.stream,
            "about": hint.about,
            "request_bytes": None if story.body is None else len(story.body),
            "chunks": pieces or None,
            "frames": story.frames,
            "recorded": story.recorded,
            "age_s": None if story.age_s is None else round(story.age_s, 3),
            "traceparent": request.trace or None,
            "saved": None,
        }

    def _without_request(self, method: str, url: str, route_id: str | None) -> dict[str, object]:
        """A tunnel, of which nothing is known but where it leads."""
        return {
            "kind": "tunnel",
            "method": method,
            "url": url,
            "host": url,
            "path": "",
            "route": route_id,
            "label": "tunnel",
            "operation": _NO_HINT.operation,
            "model": _NO_HINT.model,
            "stream": False,
            "about": None,
            "request_bytes": None,
            "chunks": None,
            "frames": None,
            "recorded": False,
            "age_s": None,
            "traceparent": None,
            "saved": None,
        }


def _name(record: Record) -> _Name:
    """What tells apart what is the same in summaries: repeated hits share it."""
    return (record.id, 0) if record.dur_s is not None else (0, id(record.kept))


def _summary(record: Record, same: dict[str, object]) -> dict[str, Any]:
    beside = beside_of(record.kept)
    summary = {
        "id": record.id,
        "at_ms": record.began_ms,
        **same,
        "duration_ms": round((record.dur_s or 0.0) * 1000, 3),
    }
    if record.values:
        request = record.story.request
        summary["traceparent"] = None if request is None else request.trace or None
    if beside is not None and beside.saved is not None and summary["saved"] is not None:
        summary["saved"] = beside.saved.data()
    return summary
