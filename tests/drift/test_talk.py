from __future__ import annotations

import json
from typing import Any

from buffr.drift.carrying import Carried, asked_words
from buffr.drift.stand_ins import StandIn
from buffr.drift.talk import Talk
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    WebSocketInteraction,
)

CLIENT, SERVER = Direction.CLIENT, Direction.SERVER


def says(side: Direction, value: Any, delay_ms: int = 0) -> Frame:
    return Frame(side, FrameKind.TEXT, Body.of(json.dumps(value).encode()), delay_ms)


def closes(side: Direction, code: int = 1000) -> Frame:
    return Frame(side, FrameKind.CLOSE, close_code=code)


def talk(*frames: Frame) -> Talk:
    session = WebSocketInteraction(RecordedRequest(b"GET", b"/ws"), frames=frames)
    return Talk(session, Carried(frozenset(asked_words(session))), lambda _: None)


class TestTurns:
    def test_a_message_follows_what_it_answered(self) -> None:
        """As many messages of the kind before it, not the same number of messages."""
        delta, done = {"type": "delta"}, {"type": "done"}
        some = talk(
            says(CLIENT, {"n": 1}),
            says(SERVER, delta),
            says(SERVER, done),
            says(CLIENT, {"n": 2}),
        )
        first, second = some.lines
        assert some.has_come(first.after)
        assert not some.has_come(second.after)
        for _ in range(5):
            some.hear(FrameKind.TEXT, json.dumps(delta).encode())
        assert not some.has_come(second.after)
        some.hear(FrameKind.TEXT, json.dumps(done).encode())
        assert some.has_come(second.after)

    def test_pauses_of_a_client_that_goes_on(self) -> None:
        some = talk(
            says(CLIENT, 1, 50), says(CLIENT, 2, 20), says(SERVER, 3, 5), says(CLIENT, 4, 30)
        )
        assert [line.delay_ms for line in some.lines] == [0, 20, 0]

    def test_what_the_client_library_does_by_itself(self) -> None:
        """It answers pings, and a close frame."""
        ping, pong = Frame(SERVER, FrameKind.PING), Frame(CLIENT, FrameKind.PONG)
        assert talk(ping, pong, closes(SERVER), closes(CLIENT)).lines == ()
        (line,) = talk(closes(CLIENT, 1001), closes(SERVER, 1001)).lines
        assert line.frame.close_code == 1001


class TestPayloads:
    def test_live_identifiers_take_the_recorded_ones_places(self) -> None:
        some = talk(
            says(SERVER, {"type": "hello", "session": "session-aaaa"}),
            says(CLIENT, {"session": "session-aaaa"}),
        )
        some.hear(FrameKind.TEXT, b'{"type": "hello", "session": "session-bbbb"}')
        (line,) = some.lines
        missing: list[StandIn] = []
        assert json.loads(some.payload(line.frame, missing)) == {"session": "session-bbbb"}
        assert missing == []

    def test_a_credential_that_is_missing(self) -> None:
        some = talk(says(CLIENT, {"token": "REDACTED-token-0a1b2c3d"}))
        missing: list[StandIn] = []
        some.payload(some.lines[0].frame, missing)
        assert [one.name for one in missing] == ["token"]
