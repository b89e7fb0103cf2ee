"""Why a request matched no recording: the nearest ones, what differs, and what would help."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, assert_never
from weakref import ref

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.errors import CassetteError
from buffr.exchanges.playhead import Playhead
from buffr.formats.envelopes import is_enveloped
from buffr.interaction import BrokenInteraction, IndexEntry, RecordedRequest
from buffr.log import say
from buffr.matching.body import IN_MEMORY
from buffr.matching.calls import beginnings
from buffr.matching.key import MatchKey, recording_name
from buffr.matching.matcher import Matcher
from buffr.matching.near_miss import MOST, NearMiss, near_misses, variant_miss
from buffr.matching.nearest import NearIndex
from buffr.matching.variants import Identity
from buffr.message import Request, media_type
from buffr.recording.readable import content
from buffr.redaction.request_hint import operation_in
from buffr.redaction.rules import RedactionRules
from buffr.stores.base import Matches, Store
from buffr.transport.eager import AT_ONCE_BYTES, aside
from buffr.transport.memo import Memo

__all__ = ["Explained", "Explainer", "as_data", "as_json", "as_text", "in_short"]

_SOON_S = 0.05
_STEP = 16
_REST_S = 0.004
"""The pause between two steps of indexing: requests are answered in between."""
_BUSY_S = 0.1
"""The pause while recordings are being replayed."""
_MANY = 1000
_MOST_VARIANTS = 10
_VARIANT = "is another variant of this request"
_USED_UP = "is the same request: its recordings are used up, since repeat is once"
_BROKEN = "is the same request, but cannot be replayed"
_UNENDED = "; end_of_stream: client in the route's settings replays what its client took"
_MOST_WHY = 200
_ENOUGH = "  it matches with this in the route's settings:"
_PARTIAL = "  this in the route's settings leaves out the noise; the rest still differs:"
_NO_DIFFERENCES = '"differences": []'
_EXPLAINED_BYTES = 4 << 20
_KEYS_BYTES = 4 << 20
_OBJECTS_BYTES = 2000
"""The approximate size of the objects of a key or an explanation, without their texts."""


@frozen(eq=False)
class Explained:
    """Why a request has no answer: its operation, the nearest recordings, and both in words.

    ``short`` is for a log line, ``text`` for people, ``data`` for programs.
    """

    operation: str | None
    nearest: tuple[NearMiss, ...]
    short: str
    text: str
    data: list[dict[str, Any]]


class Explainer:
    """Finds the recordings of a store that are nearest to a request.

    Its index is made in small steps between other work, and follows the store.
    While recordings are replayed it rests, unless a miss waits for it: making
    it takes as long as replaying all of them, and they may never be needed.
    ``playhead`` tells that.
    ``first`` is the number of the store's first place when the index was made.
    Explanations are remembered, within limits, until the store changes.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        store: Store,
        matcher: Matcher,
        redaction: RedactionRules,
        playhead: Playhead | None = None,
    ) -> None:
        self.first = 0
        self.playhead = playhead
        self._replayed = 0
        """How many turns were taken when it last looked."""
        self._reactor = reactor
        self._store = store
        self._matcher = matcher
        self._redaction = redaction
        self._next = 0
        self._waiting = 0
        self._catching_up = DeferredLock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._index = NearIndex()
        self._broken: dict[bytes, tuple[int, str]] = {}
        self._unended: dict[bytes, list[int]] = {}
        self._calls: dict[bytes, list[int]] = {}
        self._keys: Memo[int, MatchKey] = Memo(entries=4096, size_bytes=_KEYS_BYTES)
        self._forget()

    def _forget(self) -> None:
        self._explained: Memo[tuple[Request, bytes], Explained] = Memo(
            entries=4096, size_bytes=_EXPLAINED_BYTES
        )

    def begin(self) -> None:
        """Make the index before it is needed, while there is no other work."""
        deferLater(self._reactor, _SOON_S, _get_ready, ref(self)).addErrback(_not_ready)

    async def get_ready(self) -> None:
        """Make the index."""
        await self._caught_up()
        if len(self._index) >= _MANY:
            say(LogLevel.debug, "misses can be explained", recordings=str(len(self._index)))

    async def catch_up(self) -> None:
        """Add what the store has and the index does not."""
        self._waiting += 1
        try:
            await self._caught_up()
        finally:
            self._waiting -= 1

    async def _caught_up(self) -> None:
        if self._is_level(await self._store.places()):
            return
        await self._catching_up.acquire()
        try:
            await self._catch_up()
        finally:
            self._catching_up.release()

    def _is_level(self, places: range) -> bool:
        return places.start == self.first and places.stop == self._next

    async def _catch_up(self) -> None:
        while not self._is_level(places := await self._store.places()):
            self._forget()
            if places.start != self.first or places.stop < self._next:
                self.first = self._next = places.start
                self._begin_anew()
            await self._step(places.stop)
            if self._next < places.stop:
                await deferLater(self._reactor, 0 if self._waiting else self._rest_s())

    def _rest_s(self) -> float:
        """How long others go first."""
        taken = 0 if self.playhead is None else self.playhead.taken
        is_busy, self._replayed = taken != self._replayed, taken
        return _BUSY_S if is_busy else _REST_S

    async def _step(self, stop: int) -> None:
        """Add a few: as many as one turn has time for."""
        size_bytes = 0
        for place in range(self._next, min(self._next + _STEP, stop)):
            (found,) = await self._store.entries((place,))
            size_bytes += await self._take(place, found)
            self._next = place + 1
            if size_bytes > AT_ONCE_BYTES:
                return

    async def _take(self, place: int, found: IndexEntry | BrokenInteraction | None) -> int:
        """Add the interaction at a place. Returns the size of the body that was read."""
        match found:
            case None:
                return 0
            case IndexEntry(request):
                self._index.add(place, await self._recorded(request))
                await self._file_call(place, request, found.begins_after)
            case BrokenInteraction(request, why, unended):
                digest = (await self._recorded(request)).digest
                if unended:
                    self._unended.setdefault(digest, []).append(place)
                hint = _UNENDED if unended else ""
                self._broken[digest] = (place, why[:_MOST_WHY] + hint)
            case other:
                assert_never(other)
        return request.body.size_bytes

    async def _recorded(self, request: RecordedRequest) -> MatchKey:
        size_bytes = self._matcher.recorded_work_bytes(request)
        return await aside(self._reactor, size_bytes, self._matcher.recorded, request)

    async def _file_call(
        self, place: int, request: RecordedRequest, begins_after: int | None
    ) -> None:
        """File a call by what it begins with, if it consists of messages."""
        if not is_enveloped(media_type(request.headers)):
            return
        try:
            asked = content(request.body, IN_MEMORY)
        except CassetteError:
            return  # a lookup that needs the file says so
        for first in beginnings(request, asked, begins_after):
            digest = (await self._recorded(first)).digest
            self._calls.setdefault(digest, []).append(place)

    async def calls(self, keys: Sequence[MatchKey]) -> Sequence[int]:
        """The recordings of calls that begin with a message, given by its keys.

        If the keys are those of no message: those whose answers begin before
        the first.
        """
        await self.catch_up()
        found = [place for key in keys for place in self._calls.get(key.digest, ())]
        return sorted(set(found))

    async def explained(
        self,
        request: Request,
        body: bytes | None,
        identity: Identity,
        variants: Sequence[Matches] = (),
    ) -> Explained:
        """Why a request has no answer; ``variants`` are as in ``nearest``.

        ``body`` is ``None`` if it is too long to be in memory.
        """
        await self.catch_up()
        remembered = self._explained
        if body is None or variants:
            return await self._explain(request, body or b"", identity, variants)
        known = remembered.get((request, body))
        if known is None:
            known = await self._explain(request, body, identity)
            size_bytes = len(body) + 4 * len(known.text) + _OBJECTS_BYTES
            remembered.put((request, body), known, size_bytes)
        return known

    async def _explain(
        self, request: Request, body: bytes, identity: Identity, variants: Sequence[Matches] = ()
    ) -> Explained:
        operation = await self.operation(request, body)
        nearest, first = await self.nearest(identity, variants), self.first
        words = in_short(nearest, first), as_text(nearest, first)
        return Explained(operation, nearest, *words, as_data(nearest, first))

    async def operation(self, request: Request, body: bytes) -> str | None:
        """What a request asks for, where all have the same URL."""
        named = request.target, request.headers, body, self._redaction
        return await aside(self._reactor, len(body), operation_in, *named)

    async def unended(self, keys: Sequence[MatchKey]) -> Matches | None:
        """The recordings of a request that were cut off by their clients only."""
        await self.catch_up()
        for key in keys:
            if key.digest in self._unended:
                return Matches(recording_name(key.digest, None), self._unended[key.digest])
        return None

    def _broken_one(self, keys: Sequence[MatchKey]) -> tuple[NearMiss, ...]:
        """The latest recording of the same request that was cut off."""
        for key in keys:
            if key.digest in self._broken:
                place, why = self._broken[key.digest]
                return (NearMiss(place, 1.0, (), None, why or "no reason is given"),)
        return ()

    async def nearest(
        self, identity: Identity, variants: Sequence[Matches] = ()
    ) -> tuple[NearMiss, ...]:
        """The recordings nearest to a request, the nearest one first.

        ``variants`` are those with its key that answer other variants of it.
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
            (place, key) for place in near if (key := await self._key_at(place)) is not None
        ]
        # Only recordings whose differences are shown are searched for credentials.
        sizes = sorted([_size_of(key) for _, key in recorded], reverse=True)[:MOST]
        size_bytes = sum(sizes) + _size_of(keys[0])
        misses = await aside(
            self._reactor, size_bytes, near_misses, keys, recorded, self._redaction
        )
        return (*self._broken_one(keys), *misses)

    async def _key_at(self, place: int) -> MatchKey | None:
        keys = self._keys
        key = keys.get(place)
        if key is None:
            (found,) = await self._store.entries((place,))
            if isinstance(found, IndexEntry):
                key = await self._recorded(found.request)
                keys.put(place, key, _size_of(key) + _OBJECTS_BYTES)
        return key


def _get_ready(explainer: ref[Explainer]) -> Deferred[None] | None:
    """A route that was released meanwhile needs no index, and is not kept for it."""
    alive = explainer()
    return None if alive is None else Deferred.fromCoroutine(alive.get_ready())


def _not_ready(failure: Failure) -> None:
    # The next miss tries again, and its error reports a failure.
    say(LogLevel.warn, "misses cannot be explained yet", err=failure.getErrorMessage())


def _size_of(key: MatchKey) -> int:
    return sum([len(value) for _, value in key.parts])


def as_data(nearest: tuple[NearMiss, ...], first: int) -> list[dict[str, Any]]:
    """For programs; ``index`` counts the cassette's interactions from 0."""
    return [
        {
            "index": miss.place - first,
            "score": miss.score,
            "differences": [difference.data for difference in miss.differences],
            "rule": None if miss.rule is None else miss.rule.yaml(),
            "rule_is_enough": miss.rule is not None and not miss.rule.partial,
            **({"broken": miss.broken} if miss.broken else {}),
            **({"variant": True} if miss.variant else {}),
        }
        for miss in nearest
    ]


def as_json(nearest: Sequence[NearMiss], data: Sequence[Mapping[str, Any]]) -> str:
    """``data`` as ``json.dumps`` writes it: differences that many have are written once."""
    return "[" + ", ".join(map(_as_json, nearest, data)) + "]"


def _as_json(miss: NearMiss, data: Mapping[str, Any]) -> str:
    around = json.dumps({**data, "differences": []})
    differences = ", ".join([difference.json for difference in miss.differences])
    # Only numbers come before it, and inside a string its quotation marks are escaped.
    return around.replace(_NO_DIFFERENCES, f"{_NO_DIFFERENCES[:-1]}{differences}]", 1)


def as_text(nearest: tuple[NearMiss, ...], first: int) -> str:
    """Lines for people."""
    lines: list[str] = []
    for miss in nearest:
        if not miss.differences:
            lines.append(_same(miss, first))
            continue
        relation = _VARIANT if miss.variant else f"comes near (score {miss.score:.2f})"
        lines.append(f"interaction {miss.place - first} {relation}:")
        lines += ["  " + difference.text for difference in miss.differences]
        if miss.rule is not None:
            lines.append(_PARTIAL if miss.rule.partial else _ENOUGH)
            lines += [f"    {line}" for line in miss.rule.yaml().splitlines()]
    return "".join(f"{line}\n" for line in lines)


def in_short(nearest: tuple[NearMiss, ...], first: int) -> str:
    """For a log line."""
    if not nearest:
        return "the cassette contains nothing similar"
    miss = nearest[0]
    if not miss.differences:
        return _same(miss, first)
    places = ", ".join(difference.where for difference in miss.differences[:3])
    relation = f"{_VARIANT}: it differs in" if miss.variant else "differs in"
    return f"interaction {miss.place - first} {relation} {places}"


def _same(miss: NearMiss, first: int) -> str:
    """The explanation for a recording in which nothing differs."""
    why = f"{_BROKEN}: {miss.broken}" if miss.broken else _USED_UP
    return f"interaction {miss.place - first} {why}"
