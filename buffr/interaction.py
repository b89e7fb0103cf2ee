"""One recorded exchange: the value that recorders produce and play, and stores keep."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Self

from attrs import evolve, field, frozen

from buffr.message import Headers, ResponseHead, first_value

__all__ = [
    "CLIENT_LEFT",
    "LEFT_OPEN",
    "Body",
    "BodyKey",
    "BrokenInteraction",
    "Chunk",
    "Direction",
    "Frame",
    "FrameKind",
    "HTTPInteraction",
    "IndexEntry",
    "Interaction",
    "RecordedRequest",
    "Searched",
    "SessionEnd",
    "WebSocketInteraction",
    "choosing_fields",
]


CLIENT_LEFT = "every client left"
"""Why an answer is incomplete if nobody wanted the rest, as cassettes have it."""

_CHOOSING = frozenset((b"vary", b"content-type"))
_FOR_ONE_CLIENT = frozenset(
    (b"content-encoding", b"retry-after", b"retry-after-ms", b"x-ms-retry-after-ms")
)

LEFT_OPEN = "the client left the stream open"
"""The ``uncertain`` of an answer that would have gone on."""


@frozen
class Chunk:
    """A stretch of a body that arrived at once.

    ``delay_ms`` is the time since the previous chunk, or since the head for
    the first one. ``after`` counts the client's messages that came before it,
    if the answer is part of a dialogue (MCP): a replay holds it until then. A
    chunk without bytes is the end of an answer that had to wait.
    """

    size_bytes: int
    delay_ms: int = 0
    after: int = 0


@frozen
class BodyKey:
    """The value of a long request body in match keys: a SHA-256 in lower-case hex.

    ``rules`` identifies the rules under which it was computed.
    """

    rules: str
    sha256: str


@frozen(eq=False)
class Searched:
    """What is known about a body since it was searched for credentials while it arrived.

    ``sha256`` is that of its ``size_bytes``, in lower-case hex. ``manner`` says
    how it was searched if nothing was found: a search in an equal manner finds
    nothing.
    """

    sha256: str
    size_bytes: int
    manner: Hashable | None


@frozen
class Body:
    """A body's bytes: in memory, or in a separate file if they are many.

    ``file`` has the bytes if ``data`` is empty and ``size_bytes`` is not zero;
    its name is the lower-case hex SHA-256 of the bytes. ``key`` is set if it
    is known for a long body, so that the body need not be read again;
    ``searched`` likewise.
    """

    data: bytes = b""
    size_bytes: int = 0
    file: Path | None = None
    key: BodyKey | None = field(default=None, eq=False)
    searched: Searched | None = field(default=None, eq=False, repr=False)

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(data, len(data))


@frozen(eq=False)
class RecordedRequest:
    """A request in its stored form: redacted, and without hop-by-hop fields.

    ``scheme``, ``host`` and ``port`` are absent behind a reverse port, where
    they say nothing about the request. ``target`` is the client's. ``major``
    is the version of HTTP in which it came; it answers requests in any.
    """

    method: bytes
    target: bytes
    headers: Headers = ()
    body: Body = Body()
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    major: int = 1

    def with_bodies(self, changed: Callable[[Body], Body]) -> Self:
        body = changed(self.body)
        return self if body is self.body else evolve(self, body=body)


@frozen(eq=False)
class IndexEntry:
    """The part of a whole interaction that a store needs for lookups.

    ``choosing`` are the fields of the answer that say which requests it is
    for: ``Vary`` and ``Content-Type``. ``begins_after`` is the first of its
    ``turns``, if it has any.
    """

    request: RecordedRequest
    choosing: Headers = ()
    begins_after: int | None = None

    @classmethod
    def of(cls, interaction: Interaction) -> Self:
        """The part of this one."""
        choosing = choosing_fields(interaction.response.headers)
        return cls(interaction.request, choosing, interaction.begins_after)


def choosing_fields(answer: Headers) -> Headers:
    """The ``choosing`` of an ``IndexEntry``, from all fields of an answer."""
    return tuple([each for each in answer if each[0].lower() in _CHOOSING])


@frozen(eq=False)
class HTTPInteraction:
    """A request and its answer.

    ``chunks`` divide the response body as it was divided on the wire or in
    time; empty means whole. ``truncated`` says why the answer is incomplete;
    such an interaction is kept, and not replayed, unless it is ``unended``.
    ``left_after_ms`` is then how long its last client stayed after the last
    chunk. ``uncertain`` says why the answer may be incomplete although clients
    accept it as complete. ``recorded_at`` is RFC 3339 in UTC; ``recorded_by``
    is the program with its version, and the settings that shaped the recording.
    ``took_ms`` is how long the upstream took from the request to the end of its
    answer. ``note`` is a user's.

    ``turns`` are those of a call in which both sides sent messages (gRPC,
    Connect): how many of the client's came before the answer's head, each of
    its messages, and its end. Those that the whole request came before are left
    out, so most recordings have none.
    """

    request: RecordedRequest
    response: ResponseHead
    body: Body = Body()
    chunks: tuple[Chunk, ...] = ()
    trailers: Headers = ()
    truncated: str | None = None
    recorded_at: str | None = None
    captures: tuple[tuple[str, str], ...] = field(default=())
    uncertain: str | None = None
    left_after_ms: int = 0
    took_ms: int | None = None
    note: str | None = None
    recorded_by: str | None = None
    turns: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it may be replayed."""
        return self.truncated is None

    @property
    def begins_after(self) -> int | None:
        """How many of the client's messages came before the answer, if not all had."""
        return self.turns[0] if self.turns else None

    @property
    def unended(self) -> bool:
        """Whether it was cut off by its client, and has all that the client took."""
        return self.truncated == CLIENT_LEFT

    @cached_property
    def is_for_one_client(self) -> bool:
        """Whether it has a field that does not suit every client that may get a replay."""
        return not _FOR_ONE_CLIENT.isdisjoint(self.response.names)

    @cached_property
    def echoed_origin(self) -> bytes | None:
        """The request's ``Origin``, if the answer allows just that one."""
        origin = first_value(self.request.headers, b"origin")
        allowed = first_value(self.response.headers, b"access-control-allow-origin")
        return origin if origin == allowed else None

    @property
    def broke_off(self) -> str | None:
        """Why it is incomplete."""
        return self.truncated

    @property
    def bodies(self) -> tuple[Body, ...]:
        """All bodies, those of requests first."""
        return self.request.body, self.body

    def with_bodies(self, changed: Callable[[Body], Body]) -> Self:
        """A copy with each body replaced by the result of ``changed``.

        Returns itself if nothing changes.
        """
        request, body = self.request.with_bodies(changed), changed(self.body)
        if request is self.request and body is self.body:
            return self
        return evolve(self, request=request, body=body)


class Direction(StrEnum):
    """The sender of a frame; the values are those of a cassette."""

    CLIENT = "client_to_server"
    SERVER = "server_to_client"


class FrameKind(StrEnum):
    """The kind of a frame; the values are those of a cassette."""

    TEXT = "text"
    BINARY = "binary"
    CLOSE = "close"
    PING = "ping"
    PONG = "pong"


@frozen
class Frame:
    """A message, or a control frame, of a WebSocket session (RFC 6455).

    ``data`` is a message's or a ping's payload, unmasked and inflated; empty
    for a close frame, which has ``close_code`` (``None`` without a payload)
    and ``reason``. ``delay_ms`` is the time since the previous frame, of
    either direction, or since the handshake. ``fragments`` are the payload
    sizes in bytes, inflated, of the frames of a fragmented message; empty for
    a single frame. ``compressed`` means permessage-deflate (RFC 7692).
    """

    direction: Direction
    kind: FrameKind
    data: Body = Body()
    delay_ms: int = 0
    close_code: int | None = None
    reason: str = ""
    fragments: tuple[int, ...] = ()
    compressed: bool = False


@frozen
class SessionEnd:
    """How a session ended, if not by a close handshake.

    ``by`` is the side that left, ``None`` for buffr itself. A ``truncated``
    session lacks what came later: it is kept, and never replayed.
    """

    reason: str
    by: Direction | None = None
    truncated: bool = False


@frozen(eq=False)
class WebSocketInteraction:
    """An upgrade request, its answer, and the session's frames of both directions in order.

    ``request.method`` is ``GET``. ``response`` is the 101; its headers are
    empty if the recording does not have them.
    """

    request: RecordedRequest
    response: ResponseHead = ResponseHead(101, b"Switching Protocols", ())
    frames: tuple[Frame, ...] = ()
    end: SessionEnd | None = None
    recorded_at: str | None = None
    note: str | None = None
    recorded_by: str | None = None
    begins_after: None = field(default=None, init=False)
    """A session begins with its handshake."""

    @property
    def whole(self) -> bool:
        """Whether it may be replayed."""
        return self.end is None or not self.end.truncated

    @property
    def broke_off(self) -> str | None:
        """Why it is incomplete."""
        return None if self.end is None or not self.end.truncated else self.end.reason

    @property
    def bodies(self) -> tuple[Body, ...]:
        """All bodies, those of requests first."""
        return (self.request.body, *[frame.data for frame in self.frames])

    def with_bodies(self, changed: Callable[[Body], Body]) -> Self:
        """A copy with each body replaced by the result of ``changed``.

        Returns itself if nothing changes.
        """
        request = self.request.with_bodies(changed)
        datas = [changed(frame.data) for frame in self.frames]
        same = all(data is old.data for data, old in zip(datas, self.frames, strict=True))
        if same and request is self.request:
            return self
        frames = [
            frame if data is frame.data else evolve(frame, data=data)
            for frame, data in zip(self.frames, datas, strict=True)
        ]
        return evolve(self, request=request, frames=tuple(frames))


Interaction = HTTPInteraction | WebSocketInteraction


@frozen(eq=False)
class BrokenInteraction:
    """An interaction in a store that is not replayed: its request, and the reason.

    It is ``unended`` if it is an exchange that was cut off by its client only.
    """

    request: RecordedRequest
    why: str
    unended: bool = False

    @classmethod
    def off(cls, request: RecordedRequest, reason: str, *, unended: bool = False) -> Self:
        """An interaction whose answer was cut off."""
        why = "it was not recorded whole" + (f": {reason}" if reason else "")
        return cls(request, why, unended)
