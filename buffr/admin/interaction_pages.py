"""Pages about recordings: searched, shown decoded, edited, removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from attrs import define, frozen

from buffr.admin.answers import Asked, Failed, Reply, bad_request, conflict, not_found
from buffr.admin.exchange_pages import body_bytes_of, moment_ms
from buffr.admin.running import OpenStore, Rejected, Running
from buffr.admin.server import Endpoint
from buffr.admin.sides import (
    TOO_LONG_DECODED,
    frames_data,
    is_too_long_decoded,
    match_data,
    request_data,
    response_data,
)
from buffr.admin.summaries import described, kind_of, parted
from buffr.errors import BuffrError
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import Body, HTTPInteraction, Interaction, WebSocketInteraction
from buffr.message import Headers
from buffr.recording.readable import beginning, content
from buffr.redaction.for_log import url_for_log
from buffr.transport.eager import aside, at_once

__all__ = ["InteractionPages"]

_STEP = 32
_SEARCHED_S = 0.3
"""How long one page is searched for: the next one goes on."""
_SEARCHED_BYTES = 1 << 20
_MOST_ELEMENT_BYTES = 1 << 20
_BEFORE_BYTES, _AFTER_BYTES = 30, 50
_WHERE = ("any", "url", "header", "body")


class EditRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PUT /api/interactions/{id}``."""

    element: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    note: Annotated[str, msgspec.Meta(max_length=2000)] | msgspec.UnsetType | None = msgspec.UNSET
    check: bool = False


@frozen
class _Found:
    """Where a text was found: ``url``, ``header`` or ``body``.

    ``excerpt`` is what stands before it, itself, and what follows.
    """

    where: str
    excerpt: tuple[str, str, str]


@frozen
class _Wanted:
    """What is looked for, in lower case, and where."""

    text: str
    where: str

    def found_in(self, interaction: Interaction, url: str) -> _Found | None:
        """Where the text is first; ``None`` if it is nowhere."""
        places = (
            ("url", lambda: self._in_line(interaction, url)),
            ("header", lambda: self._in_headers(interaction)),
            ("body", lambda: self._in_bodies(interaction)),
        )
        for where, look in places:
            excerpt = look() if self.where in ("any", where) else None
            if excerpt is not None:
                return _Found(where, excerpt)
        return None

    def _in_line(self, interaction: Interaction, url: str) -> tuple[str, str, str] | None:
        return self._in_text(f"{interaction.request.method.decode('latin-1')} {url}".encode())

    def _in_text(self, text: bytes) -> tuple[str, str, str] | None:
        wanted = self.text.encode()
        at = text.lower().find(wanted)
        if at < 0:
            return None
        end = at + len(wanted)
        parts = text[max(0, at - _BEFORE_BYTES) : at], text[at:end], text[end : end + _AFTER_BYTES]
        before, found, after = (" ".join(_words(part)) for part in parts)
        return before, found, after

    def _in_headers(self, interaction: Interaction) -> tuple[str, str, str] | None:
        fields = (*interaction.request.headers, *interaction.response.headers)
        lines = (self._in_text(b"%b: %b" % field) for field in fields)
        return next((found for found in lines if found is not None), None)

    def _in_bodies(self, interaction: Interaction) -> tuple[str, str, str] | None:
        nothing: Headers = ()
        bodies = [(body, nothing) for body in interaction.bodies]
        bodies[0] = (bodies[0][0], interaction.request.headers)
        if isinstance(interaction, HTTPInteraction):
            bodies[1] = (bodies[1][0], interaction.response.headers)
        for body, headers in bodies:
            data = content(body, _SEARCHED_BYTES)
            undone = beginning(data, headers, _SEARCHED_BYTES) if headers else None
            found = self._in_text(data if undone is None else undone[0])
            if found is not None:
                return found
        return None


def _words(part: bytes) -> list[str]:
    """What stands between white space; the ends of the part may lie within characters."""
    return re.split(r"\s+", part.decode("utf-8", "ignore"))


@define(eq=False)
class InteractionPages:
    """Answers about recordings, and changes them. ``changed`` tells others of a change."""

    running: Running
    reactor: Any
    seconds: Callable[[], float]
    changed: Callable[[str, str | None], None]
    usage: Callable[[Interaction], dict[str, Any] | None] = lambda _: None

    def endpoints(self) -> Sequence[Endpoint]:
        parameters = ("store", "q", "in", "limit", "cursor")
        one = "/api/interactions/{id}"
        return (
            Endpoint("GET", "/api/stores", self._stores),
            Endpoint("GET", "/api/interactions", self._search, parameters),
            Endpoint("GET", one, self._one, ("body_bytes",)),
            Endpoint("PUT", one, self._edit, changes=True),
            Endpoint("DELETE", one, self._remove, changes=True),
        )

    async def _stores(self, _: Asked) -> Reply:
        return Reply.json({"items": [_store_data(one) for one in self.running.stores()]})

    # Searching.

    async def _search(self, asked: Asked) -> Reply:
        limit = asked.number("limit", 1, 500, 100)
        where = asked.text("in", 10, "any")
        if where not in _WHERE:
            raise bad_request(f"in: must be one of {', '.join(_WHERE)}")
        text = asked.text("q", 200).lower()
        wanted = _Wanted(text, where) if text else None
        stores = list(self.running.stores())
        name = asked.text("store", 64)
        if name:
            stores = [one for one in stores if one.id == name]
            if not stores:
                raise not_found(f"store {name!r}", "/api/stores lists those that are open")
        total = sum(len(one.places) for one in stores)
        first, place = _position(stores, asked.text("cursor", 100))
        items: list[dict[str, Any]] = []
        searched, until, follows = 0, self.seconds() + _SEARCHED_S, None
        for number, store in enumerate(stores[first:]):
            at = max(place, store.places.start) if number == 0 else store.places.start
            while at < store.places.stop:
                if len(items) >= limit or self.seconds() > until:
                    follows = f"{store.id}-{at}"
                    break
                step = min(_STEP, limit - len(items)) if wanted is None else _STEP
                places = range(at, min(at + step, store.places.stop))
                found = await self._some(store, places, wanted)
                for position, shown in enumerate(found):
                    if shown is not None and len(items) < limit:
                        items.append(shown)
                        at = places[position] + 1
                if len(items) < limit:
                    at = places.stop
                searched += len(places)
            if follows is not None:
                break
        return Reply.json({"items": items, "next": follows, "searched": searched, "total": total})

    async def _some(
        self, store: OpenStore, places: range, wanted: _Wanted | None
    ) -> list[dict[str, Any] | None]:
        found = await self.running.read(store, places)
        size_bytes = sum(
            body.size_bytes
            for one in found
            if not isinstance(one, BuffrError)
            for body in one.bodies
        )
        make = partial(self._summaries, store, places, found, wanted)
        return await aside(self.reactor, size_bytes + 500 * len(places), make)

    def _summaries(
        self,
        store: OpenStore,
        places: range,
        found: Sequence[Interaction | BuffrError],
        wanted: _Wanted | None,
    ) -> list[dict[str, Any] | None]:
        """Runs on a thread."""
        return [
            self._summary(store, place, one, wanted)
            for place, one in zip(places, found, strict=True)
        ]

    def _summary(
        self,
        store: OpenStore,
        place: int,
        found: Interaction | BuffrError,
        wanted: _Wanted | None,
    ) -> dict[str, Any] | None:
        if isinstance(found, BuffrError):
            return None if wanted else _unreadable(store, place, found)
        url = url_for_log(found.request, self.running.rules)
        match = None
        if wanted is not None:
            if not self.running.config.redact.enabled:
                found = self._shown(found, store.matcher.types)
            match = wanted.found_in(found, url)
            if match is None:
                return None
        return self._summary_of(store, place, found, match)

    def _summary_of(
        self, store: OpenStore, place: int, found: Interaction, match: _Found | None
    ) -> dict[str, Any]:
        """As ``InteractionSummary`` of the API's document. For any thread."""
        request = found.request
        url = url_for_log(request, self.running.rules)
        body = content(request.body, _SEARCHED_BYTES)
        meant = described(url, request.headers, request.target, body, self.running.rules)
        frames = len(found.frames) if isinstance(found, WebSocketInteraction) else None
        chunks = found.chunks if isinstance(found, HTTPInteraction) else ()
        host, path = parted(url)
        return {
            "id": f"{store.id}-{place}",
            "store": store.id,
            "index": place - store.places.start,
            "kind": kind_of(request.headers, found.response, frames),
            "method": request.method.decode("latin-1"),
            "url": url,
            "host": host,
            "path": path,
            "status": found.response.status,
            "label": meant.label if frames is None else f"WebSocket · {frames} frames",
            "operation": meant.hint.operation,
            "model": meant.hint.model,
            "recorded_at_ms": moment_ms(found.recorded_at),
            "request_bytes": request.body.size_bytes,
            "response_bytes": found.body.size_bytes if isinstance(found, HTTPInteraction) else 0,
            "chunks": len(chunks),
            "frames": frames,
            "duration_ms": _took_ms(found),
            "note": found.note,
            "fault": None if found.whole else f"it broke off: {found.broke_off}",
            "found_in": None if match is None else match.where,
            "excerpt": None if match is None else match.excerpt,
        }

    # One recording.

    def _find(self, asked: Asked) -> tuple[OpenStore, int]:
        name, _, number = asked.path["id"].rpartition("-")
        for store in self.running.stores():
            if store.id == name and number.isdigit() and int(number) in store.places:
                return store, int(number)
        raise not_found(
            f"interaction {asked.path['id']!r}", "it was changed or removed; search for it again"
        )

    async def _one(self, asked: Asked) -> Reply:
        most_bytes = body_bytes_of(asked)
        store, place = self._find(asked)
        return Reply.json(await self._detail(store, place, most_bytes))

    async def _detail(self, store: OpenStore, place: int, most_bytes: int) -> dict[str, Any]:
        (found,) = await self.running.read(store, [place])
        if isinstance(found, BuffrError):
            return {
                "summary": _unreadable(store, place, found),
                "request": _NO_REQUEST,
                "response": None,
                "frames": None,
                "match": None,
                "element": None,
                "usage": None,
            }
        size_bytes = sum(body.size_bytes for body in found.bodies)
        make = partial(self._sides, store, place, found, most_bytes)
        detail: dict[str, Any] = await aside(self.reactor, size_bytes + 1000, make)
        return detail

    def _sides(
        self, store: OpenStore, place: int, found: Interaction, most_bytes: int
    ) -> dict[str, Any]:
        """Runs on a thread if the bodies are long."""
        rules = self.running.rules
        types = store.matcher.types
        missing = TOO_LONG_DECODED if is_too_long_decoded(found) else None
        shown = self._shown(found, types) if missing is None else self._bare(found, types)
        key = store.matcher.recorded(shown.request)
        element = None
        if missing is None and sum(body.size_bytes for body in shown.bodies) <= _MOST_ELEMENT_BYTES:
            element = self.running.element(shown)
        return {
            "summary": self._summary_of(store, place, shown, None),
            "request": request_data(shown, rules, most_bytes, types, missing=missing),
            "response": response_data(shown, most_bytes, types, missing=missing),
            "frames": frames_data(shown, most_bytes),
            "match": match_data(key, shown.request.headers),
            "element": element,
            "usage": self.usage(found),
        }

    def _shown(self, found: Interaction, types: MessageTypes) -> Interaction:
        """The recording as it may be shown; without bodies if they cannot be searched."""
        try:
            return self.running.redacted(found, types)
        except BuffrError:
            return self._bare(found, types)

    def _bare(self, found: Interaction, types: MessageTypes) -> Interaction:
        return self.running.redacted(found.with_bodies(lambda _: Body()), types)

    async def _edit(self, asked: Asked) -> Reply:
        store, place = self._find(asked)
        wanted = asked.read(EditRequest)
        element = None if wanted.element is msgspec.UNSET else wanted.element
        sets_note = wanted.note is not msgspec.UNSET
        if element is None and not sets_note:
            raise bad_request("give an element, a note, or both")
        note = wanted.note if sets_note and isinstance(wanted.note, str) else None
        try:
            await self.running.edit(
                store, place, element, note, sets_note=sets_note, save=not wanted.check
            )
        except Rejected as rejected:
            raise Failed(
                status=422,
                code="FAULTY",
                message=rejected.message,
                hint=rejected.problems[0],
                problems=tuple(rejected.problems),
            ) from None
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        if wanted.check:
            return Reply.json(await self._detail(store, place, 65536))
        self.changed("store", store.id)
        now = next(one for one in self.running.stores() if one.id == store.id)
        number = place - store.places.start
        return Reply.json(await self._detail(now, now.places.start + number, 65536))

    async def _remove(self, asked: Asked) -> Reply:
        store, place = self._find(asked)
        try:
            await self.running.remove(store, place)
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        self.changed("store", store.id)
        return Reply(status=204)


def _position(stores: Sequence[OpenStore], cursor: str) -> tuple[int, int]:
    """Where a search goes on: the number of the store, and the place."""
    if not cursor:
        return 0, 0
    name, _, number = cursor.rpartition("-")
    at = next((n for n, one in enumerate(stores) if one.id == name), None)
    if at is None or not number.isdigit():
        raise bad_request("cursor: is not the next of a page")
    return at, int(number[:18])


def _store_data(store: OpenStore) -> dict[str, Any]:
    """As ``StoreInfo`` of the API's document."""
    size_bytes = None
    if store.path is not None and store.path.exists():
        size_bytes = store.path.stat().st_size
    return {
        "id": store.id,
        "name": store.name,
        "kind": store.kind,
        "path": None if store.path is None else str(store.path),
        "interactions": len(at_once(store.store.places()) or store.places),
        "size_bytes": size_bytes,
        "writable": store.writable,
        "routes": list(store.routes),
        "trouble": store.store.trouble or None,
    }


_NO_REQUEST: dict[str, Any] = {
    "method": "",
    "url": "",
    "headers": [],
    "body": {
        "size_bytes": 0,
        "media_type": None,
        "coding": None,
        "decoded": False,
        "encoding": "text",
        "data": "",
        "truncated": False,
        "unavailable": "the recording cannot be read",
        "messages": None,
    },
}


def _unreadable(store: OpenStore, place: int, error: BuffrError) -> dict[str, Any]:
    """The summary of a recording that cannot be read."""
    return {
        "id": f"{store.id}-{place}",
        "store": store.id,
        "index": place - store.places.start,
        "kind": "http",
        "method": "",
        "url": "",
        "host": None,
        "path": "",
        "status": 0,
        "label": "unreadable",
        "operation": None,
        "model": None,
        "recorded_at_ms": None,
        "request_bytes": 0,
        "response_bytes": 0,
        "chunks": 0,
        "frames": None,
        "duration_ms": None,
        "note": None,
        "fault": error.message,
        "found_in": None,
        "excerpt": None,
    }


def _took_ms(found: Interaction) -> int | None:
    """How long the upstream took, or what is known of it."""
    if isinstance(found, WebSocketInteraction):
        return sum(frame.delay_ms for frame in found.frames)
    if found.took_ms is not None:
        return found.took_ms
    return sum(chunk.delay_ms for chunk in found.chunks) if found.chunks else None
