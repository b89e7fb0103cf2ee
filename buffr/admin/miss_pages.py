"""Pages about misses: what differs, which rule would help, and what it would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from attrs import define, field

from buffr.admin.answers import Asked, Reply, bad_request, conflict, not_found, whole
from buffr.admin.misses import Cause, Misses, nearest_data
from buffr.admin.recent import Recent
from buffr.admin.rules import Trial, diff_of, tried
from buffr.admin.running import Candidate, NamedRoute, Running
from buffr.admin.running_pages import route_named
from buffr.admin.server import Endpoint
from buffr.admin.stories import Story
from buffr.admin.summaries import Summaries
from buffr.errors import BuffrError, NoMatch
from buffr.exchanges.route import Recorded
from buffr.matching.variants import Identity
from buffr.transport.eager import aside, at_once

__all__ = ["MissPages"]

_ONCE_S = 600
_MOST_ACCEPTED = 200
_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Texts = Annotated[list[_Text], msgspec.Meta(max_length=100)]


class IgnoreBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename={"part": "in"}
):
    """A rule of ``match.ignore``."""

    part: Annotated[str, msgspec.Meta(max_length=200)]
    pattern: _Text
    replace_with: _Text = ""


class RuleBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """As ``Rule`` of the API's document."""

    json: _Texts = []
    query: _Texts = []
    form: _Texts = []
    ignore: Annotated[list[IgnoreBody], msgspec.Meta(max_length=100)] = []


class RuleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /api/rules``."""

    route: Annotated[str, msgspec.Meta(max_length=500)]
    match: RuleBody
    accept: bool = False
    merge: bool = False


class OnceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /api/record-once``."""

    exchange: Annotated[int, msgspec.Meta(ge=1)]


@define(eq=False)
class Accepted:
    """A rule that was accepted."""

    id: int
    route_id: str
    at_s: float
    candidate: Candidate

    def data(self) -> dict[str, Any]:
        """As ``AcceptedRule`` of the API's document."""
        file = self.candidate.file
        return {
            "id": self.id,
            "route": self.route_id,
            "at_ms": int(self.at_s * 1000),
            "yaml": self.candidate.yaml,
            "file": None if file is None else str(file.absolute()),
        }


@define(eq=False)
class MissPages:
    """Answers about misses, and changes what matches. ``changed`` tells others of a change."""

    running: Running
    recent: Recent
    misses: Misses
    summaries: Summaries
    reactor: Any
    changed: Callable[[str, str | None], None]
    _accepted: dict[int, Accepted] = field(init=False, factory=dict)
    _last: int = field(init=False, default=0)

    def endpoints(self) -> Sequence[Endpoint]:
        return (
            Endpoint("GET", "/api/misses", self._list),
            Endpoint("DELETE", "/api/misses", self._forget, changes=True),
            Endpoint("GET", "/api/rules", self._rules),
            Endpoint("POST", "/api/rules", self._rule, changes=True),
            Endpoint("DELETE", "/api/rules/{id}", self._undo, changes=True),
            Endpoint("POST", "/api/record-once", self._once, changes=True),
        )

    async def _list(self, _: Asked) -> Reply:
        routes = {named.id: named for named in self.running.routes()}
        items = [
            await self._shown(cause, routes.get(cause.route_id)) for cause in self.misses.newest()
        ]
        return Reply.json({"items": items})

    async def _shown(self, cause: Cause, named: NamedRoute | None) -> dict[str, Any]:
        story = cause.last.story
        error = story.error
        assert isinstance(error, NoMatch)
        (told,) = await self.summaries.of([cause.last])
        nearest = nearest_data(error, partial(self._reference, named))
        identity = None if named is None else await self._identity(named, story)
        return {
            "id": cause.id,
            "count": cause.count,
            "first_at_ms": int(cause.first_at * 1000),
            "last_at_ms": int(cause.last_at * 1000),
            "route": cause.route_id,
            "method": told["method"],
            "url": told["url"],
            "label": told["label"],
            "scopes": list(cause.scopes),
            "exchanges": cause.ids,
            "explanation": story.detail,
            "nearest": nearest,
            "same": _same(identity, nearest),
            "can_record": named is not None and self.running.can_record(named),
        }

    def _reference(self, named: NamedRoute | None, index: int) -> dict[str, Any]:
        found = None
        if named is not None and isinstance(named.route, Recorded):
            places = at_once(named.route.store.places()) or range(0)
            found = self.running.reference(named.route, places.start + index)
        number, store, index = found or (None, None, index)
        return {"id": number, "store": store, "index": index, "recorded_at_ms": None}

    async def _identity(self, named: NamedRoute, story: Story) -> Identity | None:
        """What identifies a request now, by the route as it is now."""
        route, request, body = named.route, story.request, story.body
        if not isinstance(route, Recorded) or request is None or body is None:
            return None
        live, origin = route.matcher.live, route.origin
        return await aside(self.reactor, len(body), live, request, body, origin)

    async def _forget(self, _: Asked) -> Reply:
        self.misses.forget()
        return Reply(status=204)

    # Rules.

    async def _rules(self, _: Asked) -> Reply:
        items = [one.data() for one in reversed(self._accepted.values())]
        return Reply.json({"items": items})

    async def _rule(self, asked: Asked) -> Reply:
        wanted = asked.read(RuleRequest)
        named = route_named(self.running, wanted.route)
        rules = msgspec.to_builtins(wanted.match)
        if not any(rules.values()):
            raise bad_request("match: has no rule")
        if not isinstance(named.route, Recorded):
            raise conflict(f"{named.id} has no recordings")
        try:
            candidate = await self.running.with_rules(named, rules)
        except BuffrError as error:
            raise bad_request(error.message, error.hint or None) from None
        route = named.route
        places = await route.store.places()
        trial = await tried(self.reactor, route.store, places, route.matcher, candidate.matcher)
        causes = self.misses.of_route(named.id)
        helped = [cause for cause in causes if await self._helps(cause, candidate, trial)]
        accepted = None
        if wanted.accept:
            if trial.merged and not wanted.merge:
                raise conflict(
                    f"{trial.merged} recordings would become one with another",
                    "send merge: true if they mean the same",
                )
            accepted = await self._accept(named, candidate)
            self.misses.forget(helped)
        return Reply.json(_trial_data(named.id, candidate, trial, causes, helped, accepted))

    async def _helps(self, cause: Cause, candidate: Candidate, trial: Trial) -> bool:
        story = cause.last.story
        request, body = story.request, story.body
        if request is None or body is None:
            return False
        live, origin = candidate.matcher.live, candidate.route.origin
        return trial.answers(await aside(self.reactor, len(body), live, request, body, origin))

    async def _accept(self, named: NamedRoute, candidate: Candidate) -> Accepted:
        try:
            await self.running.accept(candidate)
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        self._last += 1
        made = Accepted(self._last, named.id, self.recent.wall(), candidate)
        self._accepted[made.id] = made
        if len(self._accepted) > _MOST_ACCEPTED:
            del self._accepted[next(iter(self._accepted))]
        self.changed("rules", named.id)
        return made

    async def _undo(self, asked: Asked) -> Reply:
        number = whole("id", asked.path["id"], 1, 1 << 53)
        one = self._accepted.get(number)
        if one is None:
            raise not_found(f"rule {number}", "/api/rules lists those that were accepted")
        named = route_named(self.running, one.route_id)
        try:
            await self.running.undo(one.candidate, named)
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        del self._accepted[number]
        self.changed("rules", one.route_id)
        return Reply.json(one.data())

    # Recording by hand.

    async def _once(self, asked: Asked) -> Reply:
        number = asked.read(OnceRequest).exchange
        record = self.recent.find(number)
        if record is None:
            raise not_found(f"exchange {number}", "only recent ones are kept")
        story = record.story
        if story.source != "miss" or story.route_id is None:
            raise conflict(f"exchange {number} was no miss")
        named = route_named(self.running, story.route_id)
        identity = await self._identity(named, story)
        if identity is None or not identity.keys:
            raise conflict(f"exchange {number} cannot be told from others any more")
        try:
            upstream = await self.running.record_once(named, identity, _ONCE_S)
        except BuffrError as error:
            raise conflict(error.message, error.hint or None) from None
        until_ms = int((self.recent.wall() + _ONCE_S) * 1000)
        return Reply.json({"route": named.id, "upstream": upstream, "until_at_ms": until_ms})


def _same(identity: Identity | None, nearest: Sequence[Mapping[str, Any]]) -> list[str]:
    """The parts of a request's key in which the nearest recording does not differ."""
    if identity is None or not identity.keys or not nearest:
        return []
    differ = {difference["part"] for difference in nearest[0]["differences"]}
    return [name for name, _ in identity.keys[0].parts if name not in differ]


def _trial_data(
    route_id: str,
    candidate: Candidate,
    trial: Trial,
    causes: Sequence[Cause],
    helped: Sequence[Cause],
    accepted: Accepted | None,
) -> dict[str, Any]:
    """As ``RuleTrial`` of the API's document."""
    file = candidate.file
    return {
        "route": route_id,
        "yaml": candidate.yaml,
        "misses": sum(cause.count for cause in causes),
        "misses_helped": sum(cause.count for cause in helped),
        "recordings": trial.recordings,
        "kept": trial.kept,
        "merged": trial.merged,
        "groups": trial.groups,
        "file": None if file is None else str(file.absolute()),
        "diff": diff_of(candidate.before, candidate.after),
        "accepted": None if accepted is None else accepted.data(),
    }
