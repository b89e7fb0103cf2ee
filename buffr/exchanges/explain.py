"""Why a request found no recording: the nearest ones, what differs, and what would help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

from attrs import asdict
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buffr.interaction import Broken, IndexEntry, RecordedRequest
from buffr.matching.identity import Identity
from buffr.matching.key import MatchKey
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import NearMiss, near_misses, variant_miss
from buffr.matching.nearest import NearIndex
from buffr.message import Request
from buffr.redaction.request_hint import RequestHint, hint_of
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Found, Store
from buffr.transport.eager import AT_ONCE_BYTES, aside

__all__ = ["Explainer", "as_data", "as_text", "in_short"]

_STEP = 100
_MOST_VARIANTS = 10
_VARIANT = "is another variant of this request"
_USED_UP = "is the same request: its recordings are used up, since repeat is once"
_BROKEN = "is the same request, but cannot be replayed"
_MOST_WHY = 200
_ENOUGH = "  it matches with this in the route's settings:"
_PARTIAL = "  this in the route's settings leaves out what is noise; the rest still differs:"


class Explainer:
    """Finds the recordings of a store that come nearest to a request.

    Its index is made in small steps between other work, and follows the
    store. ``first`` is the number of the store's first place then.
    """

    def __init__(
        self, reactor: IReactorTime, store: Store, matcher: Matcher, redaction: RedactionRules
    ) -> None:
        self.first = 0
        self._reactor = reactor
        self._store = store
        self._matcher = matcher
        self._redaction = redaction
        self._index = NearIndex()
        self._broken: dict[bytes, tuple[int, str]] = {}
        self._next = 0
        self._catching_up = DeferredLock()

    async def catch_up(self) -> None:
        """Take in what the store has and the index has not."""
        await self._catching_up.acquire()
        try:
            await self._catch_up()
        finally:
            self._catching_up.release()

    async def _catch_up(self) -> None:
        while True:
            places = await self._store.places()
            if places.start != self.first or places.stop < self._next:
                self.first = self._next = places.start
                self._index = NearIndex()
                self._broken.clear()
            if self._next == places.stop:
                return
            size_bytes = 0
            step = range(self._next, min(self._next + _STEP, places.stop))
            for place, found in zip(step, await self._store.entries(step), strict=True):
                size_bytes += await self._take(place, found)
                self._next = place + 1
                if size_bytes > AT_ONCE_BYTES:
                    break
            if self._next < places.stop:
                await deferLater(self._reactor, 0)

    async def _take(self, place: int, found: IndexEntry | Broken | None) -> int:
        """Take in what is at a place; the size of the body that was looked at."""
        match found:
            case None:
                return 0
            case IndexEntry(request):
                self._index.add(place, await self._recorded(request))
            case Broken(request, why):
                digest = (await self._recorded(request)).digest
                self._broken[digest] = (place, why[:_MOST_WHY])
            case other:
                assert_never(other)
        return request.body.size_bytes

    async def _recorded(self, request: RecordedRequest) -> MatchKey:
        size_bytes = request.body.size_bytes
        return await aside(self._reactor, size_bytes, self._matcher.recorded, request)

    async def hint(self, request: Request, body: bytes) -> RequestHint:
        """What tells a request from others like it."""
        told = request.target, request.headers, body, self._redaction
        return await aside(self._reactor, len(body), hint_of, *told)

    def _broken_one(self, keys: Sequence[MatchKey]) -> tuple[NearMiss, ...]:
        """The latest recording of the very same request that broke off."""
        for key in keys:
            if key.digest in self._broken:
                place, why = self._broken[key.digest]
                return (NearMiss(place, 1.0, (), None, why or "no reason is given"),)
        return ()

    async def nearest(
        self, identity: Identity, variants: Sequence[Found] = ()
    ) -> tuple[NearMiss, ...]:
        """The recordings nearest to a request, the nearest one first.

        ``variants`` are those of its key that answer other variants of it.
        """
        await self.catch_up()
        if variants:
            differences = identity.selecting.differences
            return tuple(
                variant_miss(each.places[0], differences(each.variant))
                for each in variants[:_MOST_VARIANTS]
            )
        keys = identity.keys
        near = self._index.nearest(keys[0])
        recorded = [
            (place, await self._recorded(found.request))
            for place, found in zip(near, await self._store.entries(near), strict=True)
            if isinstance(found, IndexEntry)
        ]
        size_bytes = sum([_size_of(key) for key in (*keys[:1], *[key for _, key in recorded])])
        misses = await aside(
            self._reactor, size_bytes, near_misses, keys, recorded, self._redaction
        )
        return (*self._broken_one(keys), *misses)


def _size_of(key: MatchKey) -> int:
    return sum([len(value) for _, value in key.parts])


def as_data(nearest: tuple[NearMiss, ...], first: int) -> list[dict[str, Any]]:
    """For programs; ``index`` counts the cassette's interactions from 0."""
    return [
        {
            "index": miss.place - first,
            "score": miss.score,
            "differences": [asdict(difference) for difference in miss.differences],
            "rule": None if miss.rule is None else miss.rule.yaml(),
            "rule_is_enough": miss.rule is not None and not miss.rule.partial,
            **({"broken": miss.broken} if miss.broken else {}),
            **({"variant": True} if miss.variant else {}),
        }
        for miss in nearest
    ]


def as_text(nearest: tuple[NearMiss, ...], first: int) -> str:
    """For people: lines."""
    lines: list[str] = []
    for miss in nearest:
        if not miss.differences:
            lines.append(_same(miss, first))
            continue
        told = _VARIANT if miss.variant else f"comes near (score {miss.score:.2f})"
        lines.append(f"interaction {miss.place - first} {told}:")
        lines += [f"  {difference}" for difference in miss.differences]
        if miss.rule is not None:
            lines.append(_PARTIAL if miss.rule.partial else _ENOUGH)
            lines += [f"    {line}" for line in miss.rule.yaml().splitlines()]
    return "".join(f"{line}\n" for line in lines)


def in_short(nearest: tuple[NearMiss, ...], first: int) -> str:
    """For a log line."""
    if not nearest:
        return "the cassette holds nothing like it"
    miss = nearest[0]
    if not miss.differences:
        return _same(miss, first)
    places = ", ".join(difference.where for difference in miss.differences[:3])
    told = f"{_VARIANT}: it differs in" if miss.variant else "differs in"
    return f"interaction {miss.place - first} {told} {places}"


def _same(miss: NearMiss, first: int) -> str:
    """What there is to say of a recording in which nothing differs."""
    why = f"{_BROKEN}: {miss.broken}" if miss.broken else _USED_UP
    return f"interaction {miss.place - first} {why}"
