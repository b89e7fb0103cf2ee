"""For modules of hooks, which the setting ``hooks`` names: the types of interactions.

A module has any of these functions::

    def before_match(request: RecordedRequest) -> RecordedRequest
    def before_record(interaction: Interaction) -> Interaction | None
    def before_replay(interaction: Interaction, request: RecordedRequest) -> Interaction

All values are frozen: change them with ``evolve``. ``docs/how-to/hooks.md`` says
when each function is called.
"""

from __future__ import annotations

from attrs import evolve

from buffr.interaction import (
    Body,
    Chunk,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead, first_value

__all__ = [
    "Body",
    "Chunk",
    "Direction",
    "Frame",
    "FrameKind",
    "HTTPInteraction",
    "Headers",
    "Interaction",
    "RecordedRequest",
    "ResponseHead",
    "SessionEnd",
    "WebSocketInteraction",
    "evolve",
    "header",
    "with_answer",
    "with_header",
]


def header(headers: Headers, name: str) -> bytes | None:
    """The value of the first field with this name, in any case; ``None`` if there is none."""
    return first_value(headers, name.lower().encode("latin-1"))


def with_header(headers: Headers, name: str, value: bytes | None) -> Headers:
    """The fields with this one set, or with ``None`` without it."""
    lower = name.lower().encode("latin-1")
    others = tuple([field for field in headers if field[0].lower() != lower])
    return others if value is None else (*others, (name.encode("latin-1"), value))


def with_answer(interaction: HTTPInteraction, body: bytes) -> HTTPInteraction:
    """The interaction with another body in its answer, which is sent in one piece.

    ``Content-Length`` follows; a content coding is the caller's to keep.
    """
    return evolve(interaction, body=Body.of(body), chunks=())
