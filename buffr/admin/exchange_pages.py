"""Pages about exchanges: the recent ones, each in detail, and figures over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

from attrs import define, evolve
from twisted.internet.task import deferLater

from buffr.admin.answers import Asked, Reply, not_found, whole
from buffr.admin.figures import STEP_S
from buffr.admin.filters import Filter, filter_of
from buffr.admin.recent import OpenExchange, Recent
from buffr.admin.running import Running
from buffr.admin.server import Endpoint
from buffr.admin.sides import (
    TOO_LONG_DECODED,
    frames_data,
    is_too_long_decoded,
    match_data,
    request_data,
    response_data,
)
from buffr.admin.stories import Answer, Record, Story
from buffr.admin.summaries import Summaries
from buffr.errors import BuffrError
from buffr.exchanges.ages import recorded_s
from buffr.exchanges.route import Recorded, Route
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Body, HTTPInteraction, Interaction, WebSocketInteraction
from buffr.listeners.error_answer import error_answer
from buffr.matching.variants import Identity
from buffr.message import Request, ResponseHead
from buffr.recording.http import recorded_request
from buffr.transport.eager import aside

__all__ = ["ExchangePages", "body_bytes_of"]

_MOST = 1000
_TURN_RECORDS = 200
_SEARCHED_DEEP = 2000
_BODY_BYTES = 65536
_MOST_TRIED = 20
_CLOCK_MS = 5
_MOST_BODY_BYTES = 8 << 20
_TOO_LONG = "it was not kept: only bodies that came at once are"
_GONE = "its route was released meanwhile"
_NONE = ResponseHead(0, b"", ())
"""Stands for an answer that is not known."""


def body_bytes_of(asked: Asked) -> int:
    """How much of each body is asked for."""
    return asked.number("body_bytes", 0, _MOST_BODY_BYTES, _BODY_BYTES)


@define(eq=False)
class ExchangePages:
    """Answers from what ``recent`` keeps."""

    running: Running
    recent: Recent
    summaries: Summaries
    reactor: Any

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("GET", "/api/exchanges", self._list, ("limit", "before", "after", "q")),
            Endpoint("GET", "/api/exchanges/{id}", self._one, ("body_bytes",)),
            Endpoint("GET", "/api/series", self._series, ("span_s",)),
        )

    async def _list(self, asked: Asked) -> Reply:
        limit = asked.number("limit", 1, _MOST, 100)
        before, after = (
            asked.integer("before", 0, 1 << 53, None),
            asked.integer("after", 0, 1 << 53, None),
        )
        wanted = filter_of(asked.text("q", 1000))
        if after is not None:
            items, more = await self._after(after, limit, wanted)
        else:
            items, more = await self._before(before, limit, wanted)
        return Reply.json(
            {
                "items": items,
                "next": items[-1]["id"] if items and more else None,
                "newest": self.recent.newest,
                "oldest": self.recent.oldest,
            }
        )

    async def _before(
        self, before: int | None, limit: int, wanted: Filter
    ) -> tuple[list[dict[str, Any]], bool]:
        recent = self.recent
        recent.catch_up()
        end = recent.end if before is None else recent.position_after(before) - 1
        if before is not None and recent.find(before) is None:
            end = recent.position_after(before)
        items: list[dict[str, Any]] = []
        number = 0
        older = recent.backwards(end)
        some = _TURN_RECORDS if wanted.tests or wanted.deep else min(_TURN_RECORDS, limit + 1)
        while records := list(islice(older, some)):
            items += await self._passing(records, wanted, number)
            if len(items) > limit:
                return items[:limit], True
            number += len(records)
            await deferLater(self.reactor, 0)
        return items, False

    async def _after(
        self, after: int, limit: int, wanted: Filter
    ) -> tuple[list[dict[str, Any]], bool]:
        recent = self.recent
        position = recent.position_after(after)
        items: list[dict[str, Any]] = []
        number = 0
        while records := recent.forwards(position, _TURN_RECORDS):
            position = max(position, recent.start) + len(records)
            items += await self._passing(records, wanted, number)
            if len(items) > limit:
                return items[:limit], True
            number += len(records)
            await deferLater(self.reactor, 0)
        return items, False

    async def _passing(
        self, records: Sequence[Record], wanted: Filter, number: int
    ) -> list[dict[str, Any]]:
        """The summaries that pass, of records of which the first is the ``number``th."""
        items = []
        for at, summary in enumerate(await self.summaries.of(records)):
            if not wanted.passes(summary):
                continue
            if wanted.deep:
                if number + at >= _SEARCHED_DEEP:
                    break
                detail = await self.detail(records[at], _BODY_BYTES)
                if not wanted.passes_deep(*_texts(detail)):
                    continue
            items.append(summary)
        return items

    async def _one(self, asked: Asked) -> Reply:
        number = whole("id", asked.path["id"], 1, 1 << 53)
        record = self.recent.find(number)
        if record is not None:
            return Reply.json(await self.detail(record, body_bytes_of(asked)))
        opened = self.recent.under_way().get(number)
        if opened is None:
            raise not_found(f"exchange {number}", "only recent ones are kept")
        return Reply.json(await self._open_detail(opened, body_bytes_of(asked)))

    async def detail(self, record: Record, most_bytes: int) -> dict[str, Any]:
        """As ``ExchangeDetail`` of the API's document."""
        story = record.story
        (summary,) = await self.summaries.of([record])
        route = self.running.ids.route(story.route_number)
        if story.request is None:
            return {"summary": summary, **_NO_SIDES, "drift": None}
        place = story.place
        if place is None and story.recorded:
            place = await self._made_at(story, story.request, route, record)
        recorded, missing = await self._recording(place, route)
        sides = await self._sides(story, story.request, route, recorded, missing, most_bytes)
        if place is not None:
            summary["interaction"] = self._reference(route, place, recorded)
        drift = _drift_data(story)
        return {"summary": summary, **sides, "miss": story.beside.miss, "drift": drift}

    async def _open_detail(self, opened: OpenExchange, most_bytes: int) -> dict[str, Any]:
        exchange, story = opened.exchange, self.recent.story_of(opened)
        sides = await self._sides(story, exchange.request, exchange.route, None, None, most_bytes)
        (summary,) = await self.summaries.opened([(opened, story)])
        return {"summary": summary, **sides, "miss": None, "drift": None}

    async def _made_at(
        self, story: Story, request: Request, route: Route | None, record: Record
    ) -> int | None:
        """The place of the recording that an exchange has made: the latest one until then."""
        if not isinstance(route, Recorded) or story.body is None:
            return None
        identity = await self._identity(request, story.body, route)
        found = await route.store.find(identity.keys)
        if found is None:
            return None
        places = sorted([*found.places, *(place for one in found.others for place in one.places)])
        ended_ms = int(record.at_s * 1000) + _CLOCK_MS
        for place in reversed(places[-_MOST_TRIED:]):
            recording, _ = await self._recording(place, route)
            at_ms = None if recording is None else moment_ms(recording.recorded_at)
            if at_ms is not None and record.began_ms - _CLOCK_MS <= at_ms <= ended_ms:
                return place
        return None

    def _reference(
        self, route: Route | None, place: int, recorded: Interaction | None
    ) -> dict[str, Any]:
        """As ``InteractionRef`` of the API's document."""
        at_ms = None if recorded is None else moment_ms(recorded.recorded_at)
        reference = None if route is None else self.running.reference(route, place)
        number, store, index = (None, None, place) if reference is None else reference
        return {"id": number, "store": store, "index": index, "recorded_at_ms": at_ms}

    async def _recording(
        self, place: int | None, route: Route | None
    ) -> tuple[Interaction | None, str | None]:
        """The recording at a place, or why there is none."""
        if place is None:
            return None, None
        if not isinstance(route, Recorded):
            return None, _GONE
        try:
            return await route.store.load(place), None
        except BuffrError as error:
            return None, error.message

    async def _sides(
        self,
        story: Story,
        request: Request,
        route: Route | None,
        recorded: Interaction | None,
        missing: str | None,
        most_bytes: int,
    ) -> dict[str, Any]:
        live = _live(story, request, route, recorded)
        size_bytes = len(story.body or b"") + sum(body.size_bytes for body in live.bodies)
        make = partial(self._redacted_sides, story, route, live, missing, most_bytes)
        sides: dict[str, Any] = await aside(self.reactor, size_bytes, make)
        return sides

    def _redacted_sides(
        self,
        story: Story,
        route: Route | None,
        live: Interaction,
        missing: str | None,
        most_bytes: int,
    ) -> dict[str, Any]:
        """Runs on a thread if the bodies are long."""
        types = route.matcher.types if isinstance(route, Recorded) else MessageTypes()
        if is_too_long_decoded(live):
            live, missing = _without_bodies(live), TOO_LONG_DECODED
        try:
            shown = self.running.redacted(live, types)
        except BuffrError as error:
            missing = error.message
            shown = self.running.redacted(_without_bodies(live), types)
        base = ""
        if route is not None and route.origin is None:
            base = self.running.ids.bases.get(self.running.ids.of(route), "")
        not_kept = missing or (_TOO_LONG if story.body is None else None)
        rules = self.running.rules
        answer, response = story.answer, None
        if shown.response.status:
            size_bytes = None
            if (
                answer is not None
                and story.beside.body is None
                and story.error is None
                and answer.size_bytes > len(answer.body)
            ):
                size_bytes = answer.size_bytes
            response = response_data(
                shown, most_bytes, types, missing=missing, size_bytes=size_bytes
            )
        return {
            "request": request_data(shown, rules, most_bytes, types, missing=not_kept, base=base),
            "response": response,
            "frames": frames_data(shown, most_bytes),
            # The key of what is shown: other keys may hold credentials.
            "match": match_of(shown, route) if story.body is not None else None,
        }

    async def _identity(self, request: Request, body: bytes, route: Recorded) -> Identity:
        live, origin = route.matcher.live, route.origin
        return await aside(self.reactor, len(body), live, request, body, origin)

    async def _series(self, asked: Asked) -> Reply:
        span_s = asked.number("span_s", 10, 3600, 900)
        self.recent.catch_up()
        steps = {step.number: step for step in self.recent.figures.steps}
        last = int(self.recent.wall()) // STEP_S
        first = last - span_s // STEP_S + 1
        shown = []
        for number in range(first, last + 1):
            step = steps.get(number)
            count = 0 if step is None else sum(step.by_source.values())
            shown.append(
                {
                    "by_source": {} if step is None else step.by_source,
                    "mean_ms": _ms(step.total_s / count) if step and count else None,
                    "max_ms": _ms(step.longest_s) if step and count else None,
                    "saved_ms": 0.0 if step is None else step.saved_ms,
                    "saved_usd": None if step is None else step.saved_usd,
                }
            )
        return Reply.json({"step_s": STEP_S, "start_at_ms": first * STEP_S * 1000, "steps": shown})


_NO_SIDES: dict[str, Any] = {
    "request": None,
    "response": None,
    "frames": None,
    "match": None,
    "miss": None,
}


def _drift_data(story: Story) -> dict[str, Any] | None:
    """As ``Drift`` of the API's document, once the check of a replayed recording is over."""
    check = story.beside.check
    verdict = None if check is None else check.verdict
    if verdict is None:
        return None
    return {"result": verdict.word, "findings": [str(one) for one in verdict.findings]}


def match_of(shown: Interaction, route: Route | None) -> dict[str, Any] | None:
    """What identifies a redacted request; ``None`` if its route has no recordings."""
    if not isinstance(route, Recorded):
        return None
    return match_data(route.matcher.recorded(shown.request), shown.request.headers)


def _live(
    story: Story, request: Request, route: Route | None, recorded: Interaction | None
) -> Interaction:
    """The exchange as an interaction: the request that came, and what answered it."""
    origin = None if route is None else route.origin
    sent = recorded_request(request, Body.of(story.body or b""), origin)
    if story.error is not None:
        told, data = error_answer(story.error, request)
        return HTTPInteraction(sent, told, Body.of(data))
    if recorded is not None:
        return evolve(recorded, request=sent)
    answer, head = story.answer, story.head
    if answer is None or head is None:
        return HTTPInteraction(sent, _NONE)
    return HTTPInteraction(
        sent,
        head,
        story.beside.body or Body.of(answer.body),
        answer.chunks,
        answer.trailers,
        truncated=_broke_off(answer, head),
    )


def _broke_off(answer: Answer, head: ResponseHead) -> str | None:
    if answer.whole or answer.number or head.status == 101:
        return None
    return "it broke off"


def _without_bodies(interaction: Interaction) -> Interaction:
    if isinstance(interaction, WebSocketInteraction):
        return evolve(interaction, frames=(), request=evolve(interaction.request, body=Body()))
    return evolve(
        interaction, body=Body(), chunks=(), request=evolve(interaction.request, body=Body())
    )


def _texts(detail: dict[str, Any]) -> tuple[str, str]:
    """The headers and the bodies of both sides in lower case, to search in."""
    sides = [side for side in (detail["request"], detail["response"]) if side is not None]
    headers = "\n".join(f"{name}: {value}" for side in sides for name, value in side["headers"])
    bodies = [side["body"] for side in sides] + list(detail["frames"] or ())
    return headers.lower(), "\n".join(
        body["data"] for body in bodies if body["encoding"] == "text"
    ).lower()


def moment_ms(recorded_at: str | None) -> int | None:
    """When something was recorded, in milliseconds since 1970."""
    seconds = recorded_s(recorded_at)
    return None if seconds is None else int(seconds * 1000)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
