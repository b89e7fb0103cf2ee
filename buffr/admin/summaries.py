"""Exchanges in short, as they stand in lists and go out as events."""

from __future__ import annotations

from typing import Any

from attrs import define

from buffr.admin.labels import label_of
from buffr.admin.recent import OpenExchange
from buffr.admin.running import RouteIds
from buffr.admin.stories import HERE, Record, Story
from buffr.exchanges.exchange import shown, shown_session
from buffr.exchanges.route import Recorded
from buffr.exchanges.seen import Seen
from buffr.interaction import HTTPInteraction, Interaction
from buffr.message import Headers, ResponseHead, media_type
from buffr.recording.readable import beginning, codings_of
from buffr.redaction.request_hint import LARGEST_READ, RequestHint, hint_of
from buffr.redaction.rules import RedactionRules
from buffr.transport.eager import at_once

__all__ = ["Described", "Summaries", "described", "kind_of", "parted", "readable_body"]

_NO_HINT = RequestHint()


class Described:
    """What a request means: its label and its hint."""

    __slots__ = ("hint", "label")

    def __init__(self, label: str, hint: RequestHint) -> None:
        self.label = label
        self.hint = hint


def described(
    url: str, headers: Headers, target: bytes, body: bytes, rules: RedactionRules
) -> Described:
    """What a request means. ``url`` is redacted; ``body`` is as it was sent."""
    plain = readable_body(headers, body)
    hint = hint_of(target, headers, plain, rules)
    return Described(label_of(url, headers, plain, hint), hint)


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
    """Makes ``ExchangeSummary`` of the API's document; that of a story once."""

    ids: RouteIds
    rules: RedactionRules

    def of(self, record: Record) -> dict[str, Any]:
        """The summary of an exchange that is over."""
        return {"id": record.id, "at_ms": record.began_ms, **self.of_story(record.story)}

    def of_story(self, story: Story) -> dict[str, Any]:
        """What is the same in the summaries of all records of a story."""
        if story.shown is None:
            story.shown = self._of_story(story)
        return story.shown

    def opened(self, opened: OpenExchange) -> dict[str, Any]:
        """The summary of an exchange that is under way."""
        exchange, heard = opened.exchange, opened.heard
        route = exchange.route
        words = (shown if exchange.frames is None else shown_session)(exchange.request, route)
        story = self._told(words, self.ids.of(route), exchange.seen())
        return {
            "id": opened.id,
            "at_ms": int(opened.began_at * 1000),
            **story,
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

    def _of_story(self, story: Story) -> dict[str, object]:
        seen = story.seen
        interaction = None
        if seen is not None and seen.place is not None:
            index = index_of(story, seen.place)
            interaction = {"id": None, "store": None, "index": index, "recorded_at_ms": None}
        return {
            **self._told(story.words, story.route_id, seen),
            "state": "done",
            "source": story.source,
            "status": story.status,
            "duration_ms": round(story.dur_s * 1000, 3),
            "scope": story.scope,
            "detail": story.detail or None,
            "level": story.level,
            "response_bytes": story.response_bytes,
            "interaction": interaction,
            "saved": _saved(story),
        }

    def _told(self, words: str, route_id: str | None, seen: Seen | None) -> dict[str, object]:
        """What is the same, whether the exchange is over or not."""
        method, _, url = words.partition(" ")
        if seen is None:
            return self._without_request(method, url, route_id)
        if url.startswith("/") and route_id is not None:
            url = self.ids.bases.get(route_id, "") + url
        request = seen.request
        head = seen.head
        if seen.answer is not None and seen.answer.head is not None:
            head = seen.answer.head
        kind = kind_of(request.headers, head, seen.frames)
        meant = described(url, request.headers, request.target, seen.body or b"", self.rules)
        hint, label = meant.hint, meant.label
        if kind == "websocket":
            label = "WebSocket" if seen.frames is None else f"WebSocket · {seen.frames} frames"
        host, path = parted(url)
        pieces = seen.pieces if seen.answer is None else seen.answer.pieces
        if pieces == 1:
            pieces = 0
        length = None if seen.body is None else len(seen.body)
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
            "request_bytes": length,
            "chunks": pieces or None,
            "frames": seen.frames,
            "recorded": seen.recorded,
            "age_s": None if seen.age_s is None else round(seen.age_s, 3),
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


def index_of(story: Story, place: int) -> int:
    """The number of a recording in its store, counted from 0."""
    route = None if story.route is None else story.route()
    places = at_once(route.store.places()) if isinstance(route, Recorded) else None
    return place if places is None else max(0, place - places.start)


def _saved(story: Story) -> dict[str, object] | None:
    """What an answer from here has spared."""
    if story.source not in HERE:
        return None
    return (story.saved or story.spared()).data()
