"""Plays a recorded session to a client, and checks whether the client deviates from it.

Both sides keep their own order. Between the two there is one rule: a server's
frame is sent once all client messages before it in the recording have arrived.
Client messages may arrive earlier than they were recorded, so frames that the
sides sent independently may interleave in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum

from attrs import Factory, define, field, frozen

from buffr.interaction import Body, Direction, Frame, FrameKind, WebSocketInteraction
from buffr.matching.body import BodyDigest
from buffr.matching.captures import Captured, pairs
from buffr.matching.frames import FrameRules
from buffr.matching.near_miss import Difference
from buffr.recording.live_values import Replacements

__all__ = ["Deviation", "MessageClock", "ReplayEnd", "Transcript", "named"]

_LONGEST_REASON = 123
"""The payload of a close frame is up to 125 bytes, two of them its code (RFC 6455 5.5)."""


_MOST_SHOWN = 3


@frozen
class Deviation:
    """A client's message that does not match the recording.

    ``number`` counts the frames of the cassette's ``frames`` from 0, or the
    client's messages of a call; ``unit`` says which.
    ``expected`` and ``got`` describe the messages in a few words;
    ``differences`` are where they differ. Nothing here contains a credential.
    """

    number: int
    expected: str
    got: str
    differences: tuple[Difference, ...] = ()
    unit: str = "frame"

    def __str__(self) -> str:
        """The part for a log line; there is no answer for the rest."""
        message = f"{self.unit} {self.number}: expected {self.expected}, got {self.got}"
        return "; ".join([message, *map(str, self.differences[:_MOST_SHOWN])])

    @property
    def close_reason(self) -> str:
        """The part that fits into a close frame with code 1011: up to 123 bytes of UTF-8."""
        text = f"cassette drift: {self}".encode()
        if len(text) > _LONGEST_REASON:
            text = text[: _LONGEST_REASON - 3] + b"..."
        return text.decode("utf-8", "ignore")

    def lines(self) -> list[str]:
        """The lines that ``str`` leaves out."""
        return [f"  {difference}" for difference in self.differences[_MOST_SHOWN:]]


def named(kind: FrameKind, data: bytes | BodyDigest | Body) -> str:
    """A description of a message in a few words, without its content."""
    match data:
        case bytes():
            return f"{kind.value} of {len(data)} bytes"
        case Body():
            return f"{kind.value} of {data.size_bytes} bytes"
    return f"{kind.value} of many bytes"


_CONTROL = frozenset((FrameKind.PING, FrameKind.PONG))


@frozen(eq=False)
class MessageClock:
    """Moves the instants in a text: in a server's message, and back in a client's."""

    moved: Callable[[bytes], bytes]
    moved_back: Callable[[bytes], bytes]


class ReplayEnd(Enum):
    """How a replay ends."""

    CLOSED = "closed"
    """Both sides have sent their close frame."""

    DROPPED = "dropped"
    """The recorded upstream left without one."""


@frozen(eq=False)
class _Step:
    """A frame, its number in ``frames``, and the number of client steps before it."""

    frame: Frame
    number: int
    after: int
    delay_ms: int


@define(eq=False)
class _Script:
    """What a recorded session expects of each side.

    Neither side's pongs nor a client's pings are part of it: live pings are
    answered independently of the script.
    """

    client: list[_Step] = Factory(list)
    server: list[_Step] = Factory(list)
    size: int = 0

    @classmethod
    def of(cls, session: WebSocketInteraction) -> _Script:
        script = cls()
        skipped_ms = 0
        for frame in session.frames:
            delay_ms = skipped_ms + frame.delay_ms
            step = _Step(frame, script.size, len(script.client), delay_ms)
            control = frame.kind in _CONTROL
            script.size += not control
            skipped_ms = 0
            if frame.direction is Direction.CLIENT and not control:
                script.client.append(step)
            elif frame.direction is Direction.SERVER and frame.kind is not FrameKind.PONG:
                script.server.append(step)
            else:
                skipped_ms = delay_ms
        return script

    def data_steps(self) -> list[_Step]:
        """What the server sends, except pings."""
        return [step for step in self.server if step.frame.kind is not FrameKind.PING]


@define(eq=False)
class Transcript:
    """A session during its replay.

    ``pairs`` are recorded values and their live ones, from the upgrade
    request; what the rules capture in messages is added to them. With a
    ``clock``, messages say what they would say now.
    """

    rules: FrameRules
    session: WebSocketInteraction
    pairs: tuple[tuple[bytes, bytes], ...] = ()
    clock: MessageClock | None = None
    received: int = field(init=False, default=0)
    """Messages and close frames of the client that matched so far."""
    _script: _Script = field(init=False)
    _sent: int = field(init=False, default=0)
    _refused: tuple[FrameKind, bytes | BodyDigest] | None = field(init=False, default=None)
    _client_code: int | None = field(init=False, default=None)
    _client_closed: bool = field(init=False, default=False)
    _server_closed: bool = field(init=False, default=False)
    _captured: list[Captured] = field(init=False, factory=list)
    _replacements: Replacements | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._script = _Script.of(self.session)

    @property
    def passed(self) -> int:
        """The number of frames played so far, of both sides."""
        return self.received + self._sent

    @property
    def left(self) -> int:
        """The number of frames not yet played."""
        return len(self._script.client) + len(self._script.server) - self.passed

    def next(self) -> Frame | ReplayEnd | None:
        """What the server does now; ``None`` while it is the client's turn.

        A frame must be sent before the next call and, if the recorded cadence
        is kept, ``delay_ms`` after this call.
        """
        if self._client_closed:
            if self._server_closed:
                return ReplayEnd.CLOSED
            self._server_closed = True
            return self._closing_answer()
        if self._server_closed:
            return None
        script = self._script
        if self._sent < len(script.server):
            step = script.server[self._sent]
            if step.after > self.received:
                return None
            self._sent += 1
            self._server_closed = step.frame.kind is FrameKind.CLOSE
            return self._as_sent(step)
        if self.received < len(script.client):
            return None
        end = self.session.end
        dropped = end is not None and end.by is Direction.SERVER
        return ReplayEnd.DROPPED if dropped else None

    def expects(self, kind: FrameKind, data: bytes | BodyDigest) -> bool:
        """Whether a message is the next one byte for byte, so that ``receive`` takes no time."""
        client = self._script.client
        if self.received >= len(client):
            return False
        frame = client[self.received].frame
        return frame.kind is kind and frame.data.file is None and data == frame.data.data

    def receive(self, kind: FrameKind, data: bytes | BodyDigest) -> Deviation | None:
        """Take a client's message; a large one as its digest. Returns the deviation, if any.

        A message that crosses a close frame is ignored. Raises
        ``CassetteError`` if a recorded message's file cannot be read.
        """
        if self._server_closed or self._client_closed:
            return None
        client = self._script.client
        if self.received == len(client):
            self._refused = kind, data
            number, expected = self._script.size, "no more messages"
            return Deviation(number, expected, named(kind, data), self.rules.shown(data))
        step = client[self.received]
        if step.frame.kind is FrameKind.CLOSE:
            self._refused = kind, data
            expected = "a close frame"
            return Deviation(step.number, expected, named(kind, data), self.rules.shown(data))
        if self.rules.same(step.frame, kind, data):
            self._accept(data)
            return None
        if self.clock is not None and isinstance(data, bytes):
            data = self.clock.moved_back(data)
            if self.rules.same(step.frame, kind, data):
                self._accept(data)
                return None
        self._refused = kind, data
        return Deviation(
            step.number,
            named(step.frame.kind, step.frame.data),
            named(kind, data),
            self.rules.differences(step.frame, kind, data),
        )

    def receive_close(self, code: int | None) -> None:
        """Take a client's close frame: it ends the session at any position in the recording."""
        self._client_closed = True
        self._client_code = code
        client = self._script.client
        if self.received < len(client) and client[self.received].frame.kind is FrameKind.CLOSE:
            self.received += 1

    def switch(self, other: WebSocketInteraction) -> bool:
        """Continue with another recording, if it matches everything sent and received so far.

        The message that was refused last then counts as received.
        """
        script = _Script.of(other)
        if self._refused is None or len(script.client) <= self.received:
            return False
        kind, data = self._refused
        step = script.client[self.received]
        sent = self._data_sent()
        expected_steps = script.data_steps()
        if (
            step.frame.kind is FrameKind.CLOSE
            or not self.rules.same(step.frame, kind, data)
            or len(expected_steps) < len(sent)
            or not self._alike(sent, expected_steps)
            or not self._alike(self._script.client[: self.received], script.client)
        ):
            return False
        self._script, self.session = script, other
        self._sent = script.server.index(expected_steps[len(sent) - 1]) + 1 if sent else 0
        self._refused = None
        self._replacements = None
        self._accept(data)
        return True

    def _data_sent(self) -> list[_Step]:
        sent = self._script.server[: self._sent]
        return [step for step in sent if step.frame.kind is not FrameKind.PING]

    def _alike(self, ours: Iterable[_Step], theirs: Iterable[_Step]) -> bool:
        return all(
            self.rules.alike(one.frame, other.frame)
            for one, other in zip(ours, theirs, strict=False)
        )

    def _accept(self, data: bytes | BodyDigest) -> None:
        self.received += 1
        if self.rules.sync:
            captured = self.rules.sync.frame(data) if isinstance(data, bytes) else ()
            self._captured.append(captured)
            self._replacements = None

    def _closing_answer(self) -> Frame:
        """The recorded answer to a close frame, else the client's own code (RFC 6455 5.5.1)."""
        echo = Frame(Direction.SERVER, FrameKind.CLOSE, close_code=self._client_code)
        place = self._recorded_close()
        if place is None:
            return echo
        self._sent = place + 1
        answer = self._script.server[place].frame
        asked = [step.frame for step in self._script.client if step.frame.kind is FrameKind.CLOSE]
        echoed = any(frame.close_code == answer.close_code for frame in asked)
        return echo if echoed and answer.close_code != self._client_code else answer

    def _recorded_close(self) -> int | None:
        """The position of the server's close frame, if nothing else is to be sent before it."""
        for place in range(self._sent, len(self._script.server)):
            step = self._script.server[place]
            if step.after > self.received:
                return None
            if step.frame.kind is FrameKind.CLOSE:
                return place
            if step.frame.kind is not FrameKind.PING:
                return None
        return None

    def _as_sent(self, step: _Step) -> Frame:
        frame = step.frame
        data = frame.data
        if self.rules.sync or self.pairs:
            data = self._with_live_values(frame)
        if self.clock is not None and frame.kind is FrameKind.TEXT and data.file is None:
            moved = self.clock.moved(data.data)
            data = data if moved == data.data else Body.of(moved)
        if data is frame.data and step.delay_ms == frame.delay_ms:
            return frame
        return Frame(
            frame.direction,
            frame.kind,
            data,
            step.delay_ms,
            frame.close_code,
            frame.reason,
            frame.fragments if data is frame.data else (),
            frame.compressed,
        )

    def _with_live_values(self, frame: Frame) -> Body:
        if frame.kind is not FrameKind.TEXT or frame.data.file is not None:
            return frame.data
        if self._replacements is None:
            self._replacements = Replacements.of(self._all_pairs())
        replaced = self._replacements.whole(frame.data.data)
        return frame.data if replaced == frame.data.data else Body.of(replaced)

    def _all_pairs(self) -> list[tuple[bytes, bytes]]:
        """The latest first, since the number of values is bounded."""
        found: list[tuple[bytes, bytes]] = []
        for step, live in zip(self._script.client, self._captured, strict=False):
            if live:
                found += pairs(self.rules.sync.frame(step.frame.data.data), live)
        return [*reversed(found), *self.pairs]
