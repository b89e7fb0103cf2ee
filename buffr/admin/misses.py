"""Misses by their causes: equal ones stand as one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import yaml
from attrs import define, field

from buffr.admin.figures import Batch
from buffr.admin.recent import Recent
from buffr.admin.stories import Kept, Record, Story, source_of
from buffr.errors import NoMatch
from buffr.matching.noise import whole_noise
from buffr.message import Request

__all__ = ["Cause", "Misses", "nearest_data", "rule_of"]

_MOST_CAUSES = 200
_MOST_IDS = 100
_MOST_SCOPES = 10
_KINDS = {
    "uuid": "random id",
    "id": "random id",
    "time": "time",
    "hash": "hash",
    "counter": "number",
}


@define(eq=False)
class Cause:
    """Misses that have the same cause. ``last`` is the record of the latest one."""

    id: str
    route_id: str
    kind: tuple[str, str]
    last: Record
    first_at: float
    last_at: float
    count: int = 0
    ids: list[int] = field(factory=list)
    scopes: dict[str, None] = field(factory=dict)


@define(eq=False)
class Misses:
    """Collects the misses among the exchanges that are told.

    The causes whose last miss is oldest go first. ``changed`` is called when
    there are other ones.
    """

    recent: Recent
    changed: Callable[[], None] = lambda: None
    _causes: OrderedDict[str, Cause] = field(init=False, factory=OrderedDict)

    def __attrs_post_init__(self) -> None:
        self.recent.told.append(self._told)

    def __len__(self) -> int:
        return len(self._causes)

    def newest(self) -> Iterator[Cause]:
        """All causes, that of the latest miss first."""
        self.recent.catch_up()
        return reversed(self._causes.values())

    def of_route(self, route_id: str) -> list[Cause]:
        """The causes of a route's misses."""
        return [cause for cause in self.newest() if cause.route_id == route_id]

    def forget(self, causes: Sequence[Cause] | None = None) -> None:
        """Forget some causes, or all."""
        self.recent.catch_up()
        if causes is None:
            self._causes.clear()
        for cause in causes or ():
            self._causes.pop(cause.id, None)
        self.changed()

    def _told(self, batch: Batch) -> None:
        sources = {group.kind.source for group in batch.groups}
        if "miss" not in sources and not (self._causes and "upstream" in sources):
            return
        changed = False
        for record in self.recent.forwards(batch.start, batch.end - batch.start):
            source = source_of(record.kept)
            if source == "miss":
                changed = self._add(record) or changed
            elif source == "upstream" and self._causes:
                changed = self._recorded(record.kept) or changed
        if changed:
            self.changed()

    def _add(self, record: Record) -> bool:
        """Count a miss. Returns whether its cause is new."""
        story = record.story
        error, request = story.error, story.request
        if not isinstance(error, NoMatch) or story.route_id is None or request is None:
            return False
        kind = _kind_of(request)
        name = _cause_of(story.route_id, kind, error)
        cause = self._causes.get(name)
        is_new = cause is None
        if cause is None:
            cause = Cause(name, story.route_id, kind, record, record.at_s, record.at_s)
            self._causes[name] = cause
            if len(self._causes) > _MOST_CAUSES:
                self._causes.popitem(last=False)
        self._causes.move_to_end(name)
        story.beside.miss = name
        cause.last, cause.last_at = record, record.at_s
        cause.count += 1
        cause.ids = [record.id, *cause.ids[: _MOST_IDS - 1]]
        cause.scopes = dict.fromkeys([story.scope, *cause.scopes])
        while len(cause.scopes) > _MOST_SCOPES:
            cause.scopes.popitem()
        return is_new

    def _recorded(self, one: Kept) -> bool:
        """Forget what has been recorded since. Returns whether anything was."""
        story = Story.of(one, None)
        if story.request is None or not story.recorded:
            return False
        kind = _kind_of(story.request)
        done = [
            name
            for name, cause in self._causes.items()
            if cause.route_id == story.route_id and cause.kind == kind
        ]
        for name in done:
            del self._causes[name]
        return bool(done)


def _kind_of(request: Request) -> tuple[str, str]:
    """Method and path: what a request that is recorded by hand has in common with a miss."""
    return request.method.decode("latin-1"), request.path.decode("latin-1")


def _cause_of(route_id: str, kind: tuple[str, str], error: NoMatch) -> str:
    """The id of a miss's cause: its kind, and the places in which the nearest recording differs."""
    nearest = _nearest(error)
    places: tuple[object, ...] = ()
    if nearest:
        first = nearest[0]
        places = (
            first["index"],
            *((one["part"], one["pointer"]) for one in first["differences"]),
        )
    text = repr((route_id, kind, places)).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=8).hexdigest()


def _nearest(error: NoMatch) -> Sequence[Mapping[str, Any]]:
    found: Any = error.details.get("nearest", ())
    return tuple(found)


def nearest_data(
    error: NoMatch, reference: Callable[[int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """As a list of ``Nearest``; ``reference`` makes an ``InteractionRef`` of a number."""
    return [
        {
            "interaction": reference(one["index"]),
            "score": one["score"],
            "differences": [_difference(difference) for difference in one["differences"]],
            "rule": rule_of(one["rule"]),
            "rule_yaml": one["rule"],
            "rule_is_enough": one["rule_is_enough"],
            "broken": one.get("broken"),
            "variant": one.get("variant", False),
        }
        for one in _nearest(error)
    ]


def rule_of(text: str | None) -> dict[str, Any] | None:
    """The members of ``match`` in the lines of a proposed rule."""
    if text is None:
        return None
    rule: dict[str, Any] = yaml.safe_load(text)["match"]
    return rule


def _difference(difference: Mapping[str, Any]) -> dict[str, Any]:
    name = difference["pointer"].rpartition("/")[2]
    kinds = {
        None if value is None else whole_noise(value.strip('"'), name)
        for value in (difference["recorded"], difference["live"])
    }
    kind = kinds.pop() if len(kinds) == 1 else None
    return {
        "part": difference["part"],
        "pointer": difference["pointer"],
        "recorded": difference["recorded"],
        "live": difference["live"],
        "noise": None if kind is None else _KINDS.get(kind, kind),
    }
