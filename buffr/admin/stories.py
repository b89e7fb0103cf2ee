"""What is kept of finished exchanges, and how it is read.

An exchange leaves one flat tuple of bytes, texts and numbers, which can be
packed: so there are no objects for the garbage collector to look at, however
many exchanges are kept. What people see is made of it when they look, and
nothing is hidden before: what is kept in memory is what came, for as long as
there is room. Only an exchange that went wrong, was checked, or may have cost
tokens has an object ``Beside`` it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, cast
from weakref import ref

from attrs import define, frozen

from buffr.errors import BuffrError
from buffr.exchanges.exchange import Ended, Exchange
from buffr.exchanges.seen import LiveCheck
from buffr.formats.llm_usage import MAY_HAVE_USAGE, Usage
from buffr.interaction import Body, Chunk, HTTPInteraction
from buffr.message import Headers, Request, ResponseHead

__all__ = [
    "HERE",
    "SHARED",
    "SOURCES",
    "Alike",
    "Answer",
    "Beside",
    "Kept",
    "Kind",
    "Record",
    "Saved",
    "Source",
    "Story",
    "Told",
    "apart",
    "beside_of",
    "bytes_of",
    "early_number_of",
    "kept",
    "kept_tunnel",
    "put_together",
    "source_of",
    "sums_of",
    "values_of_kind",
]

Source = str
"""One of ``SOURCES``."""
SOURCES: tuple[Source, ...] = (
    *("cassette", "cache", "stale", "shared", "upstream"),
    *("miss", "limit", "bypass", "client", "error"),
)
HERE = frozenset(("cassette", "cache", "stale"))
"""Sources that spare a call to an upstream, whatever else happens."""

Kept = tuple[Any, ...]
"""What ``kept`` makes; ``Story.of`` reads it, also when it was packed in between."""
Told = tuple[float, float | None, Kept, Sequence[bytes]]
"""An exchange that is over: when, in seconds since 1970, how long it took in seconds, and the rest.

A hit that was repeated took no time that counts (``None``); all of these share
what is kept, but for the values of their volatile fields, which come last.
Instead of these, ``SHARED`` says that what is kept is also that of another one.
"""
SHARED: Sequence[bytes] = []
"""In the place of values, which there are none of."""

_BY_SRC: dict[str, Source] = {
    "cassette": "cassette",
    "cache": "cache",
    "upstream": "upstream",
    "miss": "miss",
    "limit": "limit",
    "bypass": "bypass",
    "client": "client",
    "fault": "error",
}
_METHODS = {
    **dict.fromkeys((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"), "read"),
    b"CONNECT": "connect",
}


class Kind(NamedTuple):
    """What exchanges are counted by: those that are alike in it are counted together."""

    route_id: str | None
    method: str
    """``read``, ``write``, ``connect`` or ``session``."""
    hundreds: int
    """The hundreds of the status."""
    source: Source
    scope: str
    may_cost: bool
    """Whether the answer may say how many tokens it cost."""


_KINDS = len(Kind._fields)
_SIZES = _KINDS + 4
_SAID = _SIZES + 1
_REQUEST = _SAID + 5
_HEAD = _REQUEST + 7
_BODY = _HEAD - 1
_ANSWER = _HEAD + 3
_EARLY = _HEAD + 7
_FIELDS = _REQUEST + 2
"""Where in a tuple its parts begin."""
_HUNDREDS = Kind._fields.index("hundreds")
_REQUEST_BYTES = _KINDS
_RESPONSE_BYTES = _KINDS + 1
values_of_kind: Callable[[Kept], tuple[Any, ...]] = itemgetter(slice(0, _KINDS))
"""The values of a ``Kind``."""
sums_of: Callable[[Kept], tuple[int, int, int]] = itemgetter(slice(_KINDS, _SIZES - 1))
"""Bytes of the request's body and of the answer's (-1: not known), and ms an upstream took."""
source_of: Callable[[Kept], Source] = itemgetter(Kind._fields.index("source"))
bytes_of: Callable[[Kept], int] = itemgetter(_SIZES - 1)
"""How many bytes of bodies are kept."""
beside_of: Callable[[Kept], Beside | None] = itemgetter(_SIZES)


@define(eq=False)
class Saved:
    """What was not spent, or was. ``usd`` is ``None`` if nothing had a price."""

    upstream_ms: float = 0.0
    bytes: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None

    def add(self, other: Saved, count: int) -> None:
        """Count something so many times."""
        self.upstream_ms += other.upstream_ms * count
        self.bytes += other.bytes * count
        self.input_tokens += other.input_tokens * count
        self.output_tokens += other.output_tokens * count
        if other.usd is not None:
            self.usd = (self.usd or 0.0) + other.usd * count

    def data(self) -> dict[str, Any]:
        """As ``Saved`` of the API's document."""
        has_tokens = self.input_tokens + self.output_tokens > 0
        return {
            "upstream_ms": round(self.upstream_ms, 3),
            "bytes": self.bytes,
            "input_tokens": self.input_tokens if has_tokens else None,
            "output_tokens": self.output_tokens if has_tokens else None,
            "usd": None if self.usd is None else round(self.usd, 9),
        }


@define(eq=False)
class Beside:
    """What only few exchanges have.

    ``error`` is what the client got instead of an answer, ``check`` that of
    the recording, ``body`` that of a stored answer if it is in a file, and
    ``recording`` what answered, which is not kept alive. ``saved`` and
    ``usage`` are there once the answer was read for them; ``miss`` is the id
    of the cause of a miss.
    """

    error: BuffrError | None = None
    check: LiveCheck | None = None
    body: Body | None = None
    recording: ref[HTTPInteraction] | None = None
    saved: Saved | None = None
    usage: Usage | None = None
    miss: str | None = None


def kept(where: tuple[str, int], ended: Ended, body_bytes: int) -> Kept:
    """What is kept of an exchange, and of an answer's body that no store has.

    ``where`` is its route's id and number.
    """
    exchange, words, status, level, detail, error = ended
    request, heard, entry = exchange.request, exchange.heard, exchange.entry
    outgoing, recording, src = exchange.body.outgoing, exchange.interaction, exchange.src
    method, target, frames = request.method, request.target, exchange.frames
    body = outgoing if isinstance(outgoing, bytes) else None
    request_bytes = 0 if body is None else len(body)
    size = request_bytes
    pieces, took_ms, response_bytes = 0, 0, -1
    head: ResponseHead | None = None
    trailers: Headers = ()
    head_fields: Headers | bytes = ()
    answer, sizes, whole, number = None, b"", False, 0
    if recording is not None:
        # What answered is in the store; here is what tells of what kind it was.
        head = recording.response
        head_fields = ((b"Content-Type", head.media_type),)
        if isinstance(recording, HTTPInteraction):
            response_bytes = recording.body.size_bytes
            pieces, took_ms = len(recording.chunks), recording.took_ms or 0
    if heard is not None and heard.head is not None:
        head, trailers, response_bytes = heard.head, heard.trailers, heard.size_bytes
        answer = heard.body if heard.rest is None else heard.joined()
        whole, number = heard.whole, heard.number
        if heard.sizes_ms is not None:
            pieces = len(heard.sizes_ms) // 2
            sizes = heard.sizes_ms.tobytes() if pieces > 1 else b""
    elif exchange.passed is not None:
        head, answer = exchange.passed
        response_bytes, whole = len(answer), True
        if response_bytes > body_bytes:
            answer = answer[:body_bytes]
    elif entry is not None:
        head, response_bytes, answer, whole = (
            entry.head,
            entry.body.size_bytes,
            entry.body.data,
            True,
        )
        trailers = entry.trailers
    if head is not None and answer is not None:
        head_fields = head.encoded
        size += len(answer)
    if error is None and not exchange.stale and not exchange.shared:
        source = _BY_SRC.get(src, "upstream")
    else:
        source = _unusual_source(exchange, level, error)
    beside: Beside | None = None
    may_cost = method == b"POST" and MAY_HAVE_USAGE(target) is not None
    if may_cost or error is not None or exchange.check is not None or entry is not None:
        beside = _beside(exchange, error, may_cost=may_cost)
    return (
        where[0],
        "session" if frames is not None else _METHODS.get(method, "write"),
        status // 100,
        source,
        exchange.scope,
        may_cost,
        request_bytes,
        response_bytes,
        took_ms,
        size,
        beside,
        words,
        status,
        level,
        detail,
        where[1],
        method,
        target,
        request.headers,
        request.major,
        request.minor,
        request.upgrade,
        body,
        0 if head is None else head.status,
        b"" if head is None else head.reason,
        head_fields,
        answer,
        trailers,
        sizes,
        whole,
        number,
        pieces,
        exchange.place,
        frames,
        exchange.recorded,
        exchange.age_s,
        exchange.volatile,
    )


@define(eq=False)
class Alike:
    """What is kept of relayed exchanges that differ in answers and volatile fields alone."""

    _first: Kept

    @property
    def may_share(self) -> bool:
        """Whether those with the same answer may share it: nothing more is kept beside them."""
        return beside_of(self._first) is None

    def of(self, head: ResponseHead, body: bytes, fields: Sequence[bytes], body_bytes: int) -> Kept:
        """What is kept of the one with this answer, whose body no store has.

        ``fields`` are its values of the volatile ones, if it has others than the first.
        """
        values = [*self._first]
        if fields:
            first = Request(b"", b"", values[_FIELDS])
            values[_FIELDS] = first.with_values(self._first[-1], fields).headers
        values[-1] = ()
        answer = body if len(body) <= body_bytes else body[:body_bytes]
        values[_HUNDREDS] = head.status // 100
        values[_RESPONSE_BYTES] = len(body)
        values[_SIZES - 1] = values[_REQUEST_BYTES] + len(answer)
        if values[_SIZES] is not None:
            values[_SIZES] = Beside()
        values[_SAID + 1] = head.status
        values[_HEAD:_ANSWER] = head.status, head.reason, head.encoded
        values[_ANSWER] = answer
        return tuple(values)


def _unusual_source(exchange: Exchange, level: str, error: BuffrError | None) -> Source:
    """Where an answer came from that is no ordinary one."""
    src = exchange.src
    if error is not None and level == "ERROR" and src != "client":
        return "error"
    if exchange.stale:
        return "stale"
    if exchange.shared and src == "upstream":
        return "shared"
    return _BY_SRC.get(src, "upstream")


def _beside(exchange: Exchange, error: BuffrError | None, *, may_cost: bool) -> Beside | None:
    entry, recording = exchange.entry, exchange.interaction
    body = None if entry is None or entry.body.file is None else entry.body
    if not may_cost and error is None and exchange.check is None and body is None:
        return None
    answered = recording if isinstance(recording, HTTPInteraction) else None
    recorded = None if answered is None else ref(answered)
    return Beside(error, exchange.check, body, recorded)


def kept_tunnel(words: str) -> Kept:
    """What is kept of a bypassed tunnel, of which nothing is known but where it leads."""
    kind = (None, "connect", 2, "bypass", "", False)
    sizes = (0, -1, 0, 0)
    return (*kind, *sizes, None, words, 200, "INFO", "", 0, *_NO_SIDES)


_NO_SIDES = (
    *(None, b"", (), 0, 0, b"", None),
    *(0, b"", (), None, (), b"", False, 0),
    *(0, None, None, False, None, ()),
)


def early_number_of(one: Kept) -> int:
    """The number that was given to an exchange while it was under way, or 0."""
    return cast("int", one[_EARLY])


def apart(one: Kept) -> tuple[Kept, tuple[Beside | None, bytes | None, bytes | None]]:
    """The same without what is beside it and without bodies, and these."""
    values = [*one]
    values[_SIZES] = values[_BODY] = None
    if one[_ANSWER] is not None:
        values[_ANSWER] = b""
    return tuple(values), (one[_SIZES], one[_BODY], one[_ANSWER])


def put_together(
    one: Sequence[Any], rest: tuple[Beside | None, bytes | None, bytes | None] | None
) -> Kept:
    """What was taken apart."""
    values = [*one]
    if rest is not None:
        values[_SIZES], values[_BODY], values[_ANSWER] = rest
    return tuple(values)


def _fields(packed: Sequence[Sequence[bytes]] | bytes) -> Headers:
    """Fields as they were: they may have become lists, or be those of an encoded head."""
    if isinstance(packed, bytes):
        lines = [line.partition(b": ") for line in packed.split(b"\r\n")[1:-1]]
        return tuple([(name, value) for name, _, value in lines])
    return tuple([(name, value) for name, value in packed])


@frozen(eq=False)
class Answer:
    """What the client got and no store of recordings has: what was kept of it.

    ``body`` may be shorter than ``size_bytes``. ``chunks`` are there if they
    were several. ``number`` is the id that the exchange was given while it was
    under way, or 0.
    """

    body: bytes
    size_bytes: int
    trailers: Headers
    chunks: tuple[Chunk, ...]
    whole: bool
    number: int


@frozen(eq=False)
class Story:
    """Everything about one exchange but its id and when it ended, as it is read.

    ``route_number`` is that of ``RouteIds``. ``request`` is there but for a
    tunnel; ``body`` is the request's, ``None`` if it was not in memory as a
    whole. ``place`` is where the recording that answered is in the route's
    store. ``head`` is the answer's, ``pieces`` the number of its chunks, and
    ``took_ms`` how long the upstream had taken for it. ``age_s`` is the age of
    a stored answer.
    """

    words: str
    status: int
    level: str
    source: Source
    detail: str
    dur_s: float
    scope: str
    route_id: str | None
    route_number: int
    beside: Beside
    request: Request | None
    body: bytes | None
    head: ResponseHead | None
    answer: Answer | None
    response_bytes: int | None
    pieces: int
    took_ms: int
    place: int | None
    frames: int | None
    recorded: bool
    age_s: float | None

    @classmethod
    def of(cls, one: Kept, dur_s: float | None, values: Sequence[bytes] = ()) -> Story:
        """Read what was kept of an exchange that took so long; ``values`` as in ``Told``."""
        route_id, _, _, source, scope, _, _, response_bytes, took_ms, _, beside = one[:_SAID]
        words, status, level, detail, number = one[_SAID:_REQUEST]
        method, target, fields, major, minor, upgrade, body = one[_REQUEST:_HEAD]
        answered, reason, answered_fields, *answer = one[_HEAD : _EARLY + 1]
        pieces, place, frames, recorded, age_s, volatile = one[_EARLY + 1 :]
        request = None
        if method is not None:
            request = Request(
                method, target, _fields(fields), minor=minor, upgrade=upgrade, major=major
            )
            if values:
                request = request.with_values(volatile, values)
        return cls(
            words=words,
            status=status,
            level=level,
            source=source,
            detail=detail,
            dur_s=dur_s or 0.0,
            scope=scope,
            route_id=route_id,
            route_number=number,
            beside=beside or Beside(),
            request=request,
            body=body,
            head=ResponseHead(answered, reason, _fields(answered_fields)) if answered else None,
            answer=None if answer[0] is None else _answer(answer, response_bytes),
            response_bytes=None if response_bytes < 0 else response_bytes,
            pieces=pieces,
            took_ms=took_ms,
            place=place,
            frames=frames,
            recorded=recorded,
            age_s=age_s,
        )

    @property
    def error(self) -> BuffrError | None:
        """What the client got instead of an answer."""
        return self.beside.error

    def spared(self) -> Saved:
        """Time and bytes that its answer has spared, without what the answer says itself."""
        return Saved(float(self.took_ms), self.response_bytes or 0)


def _answer(packed: Sequence[Any], size_bytes: int) -> Answer:
    body, trailers, sizes_ms, whole, number = packed
    flat = iter(array("q", sizes_ms))
    chunks = tuple([Chunk(size, delay_ms) for size, delay_ms in zip(flat, flat, strict=True)])
    return Answer(body, size_bytes, _fields(trailers), chunks, whole, number)


class Record(NamedTuple):
    """One exchange: its id, and what it was ``Told`` as."""

    id: int
    at_s: float
    dur_s: float | None
    kept: Kept
    values: Sequence[bytes]

    @property
    def story(self) -> Story:
        """It is made anew each time."""
        return Story.of(self.kept, self.dur_s, self.values)

    @property
    def began_ms(self) -> int:
        """When it began, in milliseconds since 1970."""
        return int((self.at_s - (self.dur_s or 0.0)) * 1000)
