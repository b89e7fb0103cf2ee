"""The beginning of a call whose request is still coming: gRPC's streams, and Connect's.

Such a call need not have its whole request before its answer begins: the sides
may talk in turns. So it is decided message by message whether a recording
answers, or the upstream must be asked, or the whole request is needed first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field, frozen

from buffr.exchanges.exchange import Exchange
from buffr.exchanges.lookup import in_turn
from buffr.exchanges.route import Recorded
from buffr.formats.envelopes import Splitter, is_enveloped, split
from buffr.interaction import HTTPInteraction, IndexEntry
from buffr.matching.body import IN_MEMORY
from buffr.matching.calls import CallRules, beginning
from buffr.matching.key import recording_name
from buffr.message import Headers, Piece, Request, media_type
from buffr.policy.mode import Mode, may_substitute
from buffr.recording.readable import content
from buffr.stores.base import Matches
from buffr.transport.eager import aside
from buffr.transport.streams import BodyStream

__all__ = ["CallBody", "Opened", "call_opened", "identify_call", "is_open_call"]

_MOST_ALIKE = 100
"""So many recordings of calls that begin alike are looked at."""


def is_open_call(route: Recorded, request: Request, body: bytes | BodyStream) -> bool:
    """Whether a request's messages are still coming, so that its answer may have to begin.

    Not in HTTP/1.1, whose clients send their request first; nor if a function
    of the user's looks at whole requests.
    """
    if isinstance(body, bytes) or body.ended or request.major < 2:
        return False
    hooked = route.hooks is not None and route.hooks.before_match is not None
    return not hooked and is_enveloped(media_type(request.headers))


class CallBody:
    """A request's body. What was looked at, to decide about it, is still to be ``read``."""

    def __init__(self, stream: BodyStream) -> None:
        self.trailers: Headers = ()
        self.looked_at_bytes = 0
        self._stream = stream
        self._looked_at: list[Piece] = []

    @property
    def ended(self) -> bool:
        """Whether the client has sent all of it."""
        return self._stream.ended

    async def look(self) -> Piece | None:
        """The next piece, as ``read`` returns it."""
        piece = await self._stream.read()
        if piece is not None:
            self._looked_at.append(piece)
            self.looked_at_bytes += len(piece.data)
        return piece

    async def read(self) -> Piece | None:
        """As in ``BodyReader``."""
        if self._looked_at:
            return self._looked_at.pop(0)
        piece = await self._stream.read()
        if piece is None:
            self.trailers = self._stream.trailers
        return piece


@frozen(eq=False)
class Opened:
    """A call of which enough has come to decide.

    Unless the whole request is needed, ``place`` is that of the recording which
    answers; ``None`` if none does. ``said`` are the messages so far.
    """

    body: CallBody
    needs_whole: bool
    place: int | None = None
    said: bytes = b""


async def call_opened(
    reactor: Any,
    exchange: Exchange,
    route: Recorded,
    stream: BodyStream,
    wall: Callable[[], float],
) -> Opened:
    """Read a call until it is clear what answers it. Raises what reading it raises.

    The exchange's identity is then that of the messages so far.
    """
    body = CallBody(stream)
    if route.mode is Mode.RECORD:
        return Opened(body, needs_whole=False)
    opening = _Opening(reactor, exchange, route, wall)
    splitter = Splitter()
    decided = await opening.start()
    while not decided and body.looked_at_bytes <= IN_MEMORY:
        piece = await body.look()
        if piece is None:
            break
        for message in splitter.feed(piece.data):
            decided = decided or await opening.take(message, last=body.ended)
    said = b"".join(opening.messages)
    return Opened(body, needs_whole=not decided, place=opening.place, said=said)


async def identify_call(
    reactor: Any, exchange: Exchange, route: Recorded, recorded: HTTPInteraction
) -> None:
    """Give the exchange of a call the identity under which its recording is counted.

    That is the part of its request with which the answer began. A request that
    is too long to be compared has none.
    """
    if not route.identifies:
        return
    body, after = recorded.request.body, recorded.begins_after
    asked = await aside(reactor, body.size_bytes, content, body, IN_MEMORY + 1)
    if after is not None:
        asked = beginning(recorded.request, asked, after).body.data
    exchange.identity = (
        evolve(exchange.identity, keys=())
        if len(asked) > IN_MEMORY
        else await aside(
            reactor, len(asked), route.matcher.live, exchange.request, asked, route.origin
        )
    )


@frozen(eq=False)
class _Candidate:
    """A recording that begins with what the client has sent."""

    place: int
    entry: IndexEntry
    messages: tuple[bytes, ...]

    def begins(self, count: int) -> bool:
        """Whether its answer begins after so many messages."""
        after = self.entry.begins_after
        return after is not None and after <= count

    def started(self, count: int) -> IndexEntry:
        """The recording as if only so many of its messages had come."""
        request = beginning(self.entry.request, b"".join(self.messages), count)
        return evolve(self.entry, request=request)


@define(eq=False)
class _Opening:
    """The messages of a call so far, and the recordings that begin with them."""

    reactor: Any
    exchange: Exchange
    route: Recorded
    wall: Callable[[], float]
    place: int | None = None
    messages: list[bytes] = field(factory=list)
    _candidates: list[_Candidate] = field(factory=list)
    _rules: CallRules = field(init=False)

    @_rules.default
    def _by_route(self) -> CallRules:
        return CallRules(self.route.matcher, self.exchange.request, self.route.origin)

    async def start(self) -> bool:
        """Before any message. Returns whether it is decided what answers."""
        self._candidates = await self._alike()
        return await self._begins()

    async def take(self, message: bytes, *, last: bool) -> bool:
        """The same for the next message. ``last`` says that the whole request has come."""
        self.messages.append(message)
        number = len(self.messages) - 1
        if number == 0:
            self._candidates = await self._alike()
        else:
            await self._identify()
            self._candidates = [
                each for each in self._candidates if await self._has(each, number, message)
            ]
        if last:
            return False  # it is identified by all of it, as any other request
        return not self._candidates or await self._begins()

    async def _has(self, candidate: _Candidate, number: int, message: bytes) -> bool:
        if number >= len(candidate.messages):
            return False
        recorded, old = candidate.entry.request, candidate.messages[number]
        return await aside(self.reactor, len(message), self._rules.same, recorded, old, message)

    async def _begins(self) -> bool:
        """Whether the answer of a recording begins now: that whose turn it is."""
        due = [each for each in self._candidates if each.begins(len(self.messages))]
        if due:
            names = [self._name(each) for each in due]
            places = [each.place for each, name in zip(due, names, strict=True) if name == names[0]]
            found = Matches(names[0], places)
            self.place = await in_turn(self.exchange, self.route, found, self.wall)
        return bool(due)

    def _name(self, candidate: _Candidate) -> bytes:
        """The name under which a playhead counts the recording."""
        key = self.route.matcher.recorded_key(candidate.started(candidate.entry.begins_after or 0))
        return recording_name(key.digest, key.variant)

    async def _identify(self) -> None:
        said = b"".join(self.messages)
        matcher, exchange = self.route.matcher, self.exchange
        exchange.identity = await aside(
            self.reactor, len(said), matcher.live, exchange.request, said, self.route.origin
        )

    async def _alike(self) -> list[_Candidate]:
        """The recordings that begin with the messages so far: the first, or none."""
        await self._identify()
        identity, route = self.exchange.identity, self.route
        places = await route.explainer.calls((*identity.keys, *identity.headerless))
        found, equal = [], []
        entries = await route.store.entries(places[:_MOST_ALIKE])
        for place, entry in zip(places, entries, strict=False):
            if not isinstance(entry, IndexEntry):
                continue
            body = entry.request.body
            asked = await aside(self.reactor, body.size_bytes, content, body)
            found.append(candidate := _Candidate(place, entry, tuple(split(asked))))
            variant = route.matcher.recorded_key(candidate.started(0)).variant
            if not identity.selecting.differences(variant):
                equal.append(candidate)
        return equal or (found if may_substitute(route.mode) else [])
