"""A recorded session in memory: when its frames are sent, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from weakref import ref

import pytest
from attrs import define, field
from duplexes import over
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buffr.exchanges.route import SessionLimits
from buffr.exchanges.sessions.replay import ReplayedSession
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.matching.matcher import Matcher, MatchRules
from buffr.policy.faults import SessionClose
from buffr.recording.transcript import Deviation, Transcript
from buffr.testing.wire import Wire
from buffr.wire.websocket_frames import close_payload, encode_frame

KEY = b"1234"
TEXT, PING, PONG, CLOSE = FrameKind.TEXT, FrameKind.PING, FrameKind.PONG, FrameKind.CLOSE


def told(data: bytes, delay_ms: int = 0, kind: FrameKind = TEXT) -> Frame:
    return Frame(Direction.SERVER, kind, Body.of(data), delay_ms)


def said(data: bytes) -> Frame:
    return Frame(Direction.CLIENT, TEXT, Body.of(data))


def recorded(*frames: Frame, end: SessionEnd | None = None) -> WebSocketInteraction:
    return WebSocketInteraction(RecordedRequest(b"GET", b"/"), frames=frames, end=end)


async def no_others() -> Sequence[WebSocketInteraction]:
    return ()


@define(eq=False)
class Bench:
    """A client of a recorded session."""

    recording: WebSocketInteraction
    delays: bool = False
    fault: SessionClose | None = None
    clock: Clock = field(factory=Clock)
    wire: Wire = field(factory=Wire)
    ends: list[Deviation | str | None] = field(factory=list)
    session: ReplayedSession = field(init=False)

    def __attrs_post_init__(self) -> None:
        rules = Matcher(MatchRules(), with_origin=False).frames
        transcript = Transcript(rules, self.recording)
        self.session = ReplayedSession(
            self.clock,
            SessionLimits(close_s=5),
            None,
            transcript,
            no_others,
            delays=self.delays,
            fault=self.fault,
        )
        self.session.over.addCallback(self.ends.append)
        self.session.open(over(self.wire))

    def says(self, payload: bytes, kind: FrameKind = TEXT) -> bytes:
        """What the client gets for it."""
        self.session.received(encode_frame(kind, payload, key=KEY))
        return self.wire.taken()


class TestPlay:
    def test_the_server_may_speak_first_and_answers_in_turn(self) -> None:
        bench = Bench(recorded(told(b"hello"), said(b"a"), told(b"b"), told(b"c")))
        assert bench.wire.taken() == encode_frame(TEXT, b"hello")
        assert bench.says(b"a") == encode_frame(TEXT, b"b") + encode_frame(TEXT, b"c")

    def test_delays_are_kept_if_they_are_wanted(self) -> None:
        bench = Bench(recorded(told(b"a", 100), told(b"b", 50)), delays=True)
        heard = []
        for _ in range(4):
            heard.append(bench.wire.taken())
            bench.clock.advance(0.05)
        assert heard == [b"", b"", encode_frame(TEXT, b"a"), encode_frame(TEXT, b"b")]

    def test_live_pings_are_answered_and_advance_nothing(self) -> None:
        bench = Bench(recorded(said(b"a"), told(b"b")))
        assert bench.says(b"p", PING) == encode_frame(PONG, b"p")
        assert bench.says(b"", PONG) == b""
        assert bench.says(b"a") == encode_frame(TEXT, b"b")

    def test_a_slow_client_holds_a_large_message_back(self, tmp_path: Path) -> None:
        """It is read from its file as the client takes it, with no frame within it."""
        data = bytes(range(256)) * 10_000
        (tmp_path / "large").write_bytes(data)
        large = Body(size_bytes=len(data), file=tmp_path / "large")
        frame = Frame(Direction.SERVER, FrameKind.BINARY, large)
        bench = Bench(recorded(said(b"go"), frame))
        bench.session.pause_sending()
        assert bench.says(b"go") == b""
        assert bench.says(b"p", PING) == b""
        bench.session.resume_sending()
        expected = {encode_frame(FrameKind.BINARY, data), encode_frame(PONG, b"p")}
        got = bench.wire.taken()
        assert len(got) == sum(map(len, expected))
        assert all(one in got for one in expected)


class TestEnd:
    @pytest.mark.parametrize("code", [1001, 1008, 1011, 4000])
    def test_a_recorded_close_has_its_code_and_reason(self, code: int) -> None:
        closing = Frame(Direction.SERVER, CLOSE, close_code=code, reason="why")
        bench = Bench(recorded(closing))
        payload = close_payload(code, "why")
        assert bench.wire.taken() == encode_frame(CLOSE, payload)
        assert bench.ends == []
        bench.says(payload, CLOSE)
        assert bench.ends == [None]
        assert bench.wire.ends == ["half closed"]

    def test_a_recorded_break_is_a_break(self) -> None:
        bench = Bench(recorded(told(b"a"), end=SessionEnd("gone", Direction.SERVER)))
        assert bench.wire.taken() == encode_frame(TEXT, b"a")
        assert bench.wire.ends == ["half closed"]

    def test_a_client_that_does_not_answer_the_close_frame_is_left(self) -> None:
        bench = Bench(recorded(Frame(Direction.SERVER, CLOSE, close_code=1000)))
        bench.clock.advance(5)
        bench.clock.advance(5)
        assert bench.wire.ends == ["half closed", "cut"]

    def test_a_deviation_is_reported_in_a_close_frame(self) -> None:
        bench = Bench(recorded(said(b'{"a": 1}')))
        sent = bench.says(b'{"a": 2}')
        assert sent[2:4] == (1011).to_bytes(2, "big")
        assert sent[4:].startswith(b"cassette drift: frame 0")
        (drift,) = bench.ends
        assert isinstance(drift, Deviation)
        assert [one.pointer for one in drift.differences] == ["/a"]

    def test_a_broken_frame_is_closed_with_its_code(self) -> None:
        bench = Bench(recorded(said(b"a")))
        assert bench.says(b"\xff")[2:4] == (1007).to_bytes(2, "big")

    def test_a_missing_message_file_is_reported(self, tmp_path: Path) -> None:
        body = Body(size_bytes=5, file=tmp_path / "none")
        bench = Bench(recorded(Frame(Direction.SERVER, TEXT, body)))
        (end,) = bench.ends
        assert "cannot be read" in str(end)

    def test_a_stop_sends_no_second_close_frame(self) -> None:
        bench = Bench(recorded(Frame(Direction.SERVER, CLOSE, close_code=1000)))
        bench.wire.taken()
        bench.session.stop("the end")
        assert bench.wire.taken() == b""
        assert bench.wire.ends == ["half closed"]

    def test_a_client_that_stays_is_cut_soon_when_there_is_a_hurry(self) -> None:
        bench = Bench(recorded(told(b"a"), end=SessionEnd("gone", Direction.SERVER)))
        bench.session.hurry()
        bench.clock.advance(1)
        assert bench.wire.ends == ["half closed", "cut"]

    def test_a_session_that_is_over_lets_its_deflater_go(self) -> None:
        """It waits for the garbage collector itself, and 256 KB each would be much."""
        bench = Bench(recorded(told(b"a")))
        writer = ref(bench.session._writer)
        bench.session.closed(Failure(ConnectionDone()))
        assert writer() is None
        assert bench.ends


class TestFault:
    RECORDING = recorded(
        told(b"one"), told(b"", kind=PING), told(b"two", 50), said(b"go"), told(b"three")
    )

    @pytest.mark.parametrize("delays", [False, True])
    def test_it_comes_after_so_many_messages(self, *, delays: bool) -> None:
        bench = Bench(self.RECORDING, delays=delays, fault=SessionClose(1011, after=2))
        bench.clock.advance(1)
        closing = encode_frame(CLOSE, close_payload(1011, "a fault of the settings"))
        assert bench.wire.taken() == b"".join(
            (
                encode_frame(TEXT, b"one"),
                encode_frame(PING, b""),
                encode_frame(TEXT, b"two"),
                closing,
            )
        )
        assert bench.ends == ["fault: close-1011"]

    def test_at_once(self) -> None:
        bench = Bench(self.RECORDING, fault=SessionClose(4000))
        assert bench.wire.taken().startswith(b"\x88")
        assert bench.ends == ["fault: close-4000"]

    def test_after_a_message_that_goes_out_in_blocks(self) -> None:
        large = bytes(3 << 20)
        bench = Bench(recorded(told(large), told(b"x")), fault=SessionClose(1011, after=1))
        closing = encode_frame(CLOSE, close_payload(1011, "a fault of the settings"))
        assert bench.wire.taken() == encode_frame(TEXT, large) + closing

    def test_without_a_close_frame(self) -> None:
        bench = Bench(self.RECORDING, fault=SessionClose(1006, after=1))
        assert bench.wire.taken() == encode_frame(TEXT, b"one")
        assert bench.wire.ends == ["cut"]
        assert bench.ends == ["fault: close-1006"]
