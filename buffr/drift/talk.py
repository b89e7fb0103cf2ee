"""What a recorded WebSocket client said, and when: the part that is spoken again.

A client's message follows what it answered: it is said when as many messages
of the kind that came before it in the recording have come live.
"""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen

from buffr.drift.carrying import Carried, speller
from buffr.drift.documents import Message, message_of
from buffr.drift.stand_ins import Fill, StandIn, filled
from buffr.interaction import Body, Direction, Frame, FrameKind, WebSocketInteraction
from buffr.recording.player import reader

__all__ = ["Line", "Talk"]

_JSON = b"application/json"


@frozen(eq=False)
class Line:
    """A client's frame, and what must have come before it is sent.

    ``after`` is the kind of the server's message before it, and how many of
    that kind had come; ``None`` if the client spoke first. ``delay_ms`` is the
    time since the client's previous frame, if that was the one before it.
    """

    frame: Frame
    after: tuple[str, int] | None
    delay_ms: int


@define(eq=False)
class Talk:
    """The client's part of a recorded session.

    ``carried`` has the live values, and learns those of this session; ``fill``
    has the credentials.
    """

    session: WebSocketInteraction
    carried: Carried
    fill: Fill
    lines: tuple[Line, ...] = field(init=False)
    ends_after: tuple[str, int] | None = field(init=False)
    """What the server's last message was, as in ``Line.after``."""
    _recorded: dict[str, list[Message]] = field(init=False, factory=dict)
    _heard: Counter[str] = field(init=False, factory=Counter)

    def __attrs_post_init__(self) -> None:
        lines: list[Line] = []
        counts: Counter[str] = Counter()
        after: tuple[str, int] | None = None
        was_client = is_closing = False
        for frame in self.session.frames:
            if frame.direction is Direction.CLIENT:
                # autobahn answers pings and a close frame by itself.
                by_itself = frame.kind is FrameKind.PONG or is_closing
                if not by_itself:
                    lines.append(Line(frame, after, frame.delay_ms if was_client else 0))
                was_client = True
                continue
            was_client = False
            is_closing = is_closing or frame.kind is FrameKind.CLOSE
            if frame.kind in (FrameKind.TEXT, FrameKind.BINARY):
                message = message_of(frame)
                self._recorded.setdefault(message.kind, []).append(message)
                counts[message.kind] += 1
                after = message.kind, counts[message.kind]
        self.lines, self.ends_after = tuple(lines), after

    def has_come(self, after: tuple[str, int] | None) -> bool:
        """Whether so many messages of this kind have come."""
        return after is None or self._heard[after[0]] >= after[1]

    def hear(self, kind: FrameKind, data: bytes) -> None:
        """Take a live message of the server."""
        live = message_of(Frame(Direction.SERVER, kind, Body.of(data)))
        recorded = self._recorded.get(live.kind, [])
        number = self._heard[live.kind]
        self._heard[live.kind] += 1
        if number < len(recorded):
            self.carried.learn_values(recorded[number].value, live.value)

    def payload(self, frame: Frame, missing: list[StandIn]) -> bytes:
        """What a client's frame says now. ``missing`` gets stand-ins without a value."""
        data = _content(frame.data)
        if frame.kind is not FrameKind.TEXT:
            return data
        return filled(self.carried.in_text(data, _JSON), self.fill, missing, speller(_JSON))


def _content(body: Body) -> bytes:
    if body.file is None:
        return body.data
    read, parts, at = reader(body), [], 0
    while at < body.size_bytes:
        parts.append(read(at, body.size_bytes - at))
        at += len(parts[-1])
    return b"".join(parts)
