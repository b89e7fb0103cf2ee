"""WebSocket sessions for tests."""

from __future__ import annotations

from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.matching.frames import FrameRules
from buffr.matching.matcher import Matcher
from buffr.matching.rules import FrameMatch, IgnoreRule, MatchRules
from buffr.redaction.rules import RedactionRules

CLIENT, SERVER = Direction.CLIENT, Direction.SERVER
TEXT, BINARY, CLOSE = FrameKind.TEXT, FrameKind.BINARY, FrameKind.CLOSE
UPGRADE = RecordedRequest(b"GET", b"/live", ((b"Upgrade", b"websocket"),))


def says(text: str | bytes, delay_ms: int = 0) -> Frame:
    """A text message of the server."""
    return Frame(SERVER, TEXT, Body.of(_bytes(text)), delay_ms)


def hears(text: str | bytes) -> Frame:
    """A text message of the client."""
    return Frame(CLIENT, TEXT, Body.of(_bytes(text)))


def closes(side: Direction, code: int | None = 1000, reason: str = "") -> Frame:
    return Frame(side, CLOSE, close_code=code, reason=reason)


def session(*frames: Frame, end: SessionEnd | None = None) -> WebSocketInteraction:
    return WebSocketInteraction(UPGRADE, frames=frames, end=end)


def rules(
    match: FrameMatch = "json",
    *ignore: IgnoreRule,
    json: tuple[str, ...] = (),
    type_field: str = "type",
) -> FrameRules:
    matching = MatchRules(
        redaction=RedactionRules(),
        ignore=ignore,
        json=json,
        frame=match,
        frame_type=type_field,
    )
    return Matcher(matching, with_origin=False).frames


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
