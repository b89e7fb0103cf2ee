"""Everything that passes in a session is on the tape, however it was split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sessions import BINARY, CLIENT, CLOSE, SERVER, TEXT, UPGRADE

from buffr.interaction import Direction, Frame, FrameKind, SessionEnd, WebSocketInteraction
from buffr.message import ResponseHead
from buffr.recording.session import SessionTape, mark_of
from buffr.wire.websocket_frames import Control, Data

HEAD = ResponseHead(101, b"Switching Protocols", ())
MIB = 1 << 20


def taken(tape: SessionTape, end: SessionEnd | None = None) -> WebSocketInteraction:
    return tape.session(UPGRADE, HEAD, recorded_at="2026-11-21T22:02:42Z", end=end)


def whole(payload: bytes, kind: FrameKind = TEXT) -> Data:
    return Data(kind, payload, ends_frame=True, ends_message=True, compressed=False)


def part(payload: bytes, *, ends: str = "") -> Data:
    """A piece that ends nothing, its "frame", or its "message"."""
    return Data(
        BINARY, payload, ends_frame=bool(ends), ends_message=ends == "message", compressed=True
    )


@pytest.fixture
def tape(tmp_path: Path) -> Iterator[SessionTape]:
    made = SessionTape(tmp_path, 10.0, memory_bytes=MIB, session_bytes=16 * MIB)
    yield made
    made.close()


def payload(frame: Frame) -> bytes:
    return frame.data.file.read_bytes() if frame.data.file else frame.data.data


class TestFrames:
    def test_both_directions_in_order_with_delays(self, tape: SessionTape) -> None:
        tape.add(SERVER, whole(b"hello"), 10.25)
        tape.add(CLIENT, Control(FrameKind.PING, b"p"), 10.25)
        tape.add(CLIENT, whole(b"\xff", BINARY), 11.0)
        tape.add(CLIENT, Control(CLOSE, b"\x0f\xa1no more"), 11.0)
        tape.add(SERVER, Control(CLOSE, b""), 11.001)
        session = taken(tape)
        assert session.end is None
        assert [
            (frame.direction, frame.kind, frame.data.data, frame.delay_ms, frame.close_code)
            for frame in session.frames
        ] == [
            (SERVER, TEXT, b"hello", 250, None),
            (CLIENT, FrameKind.PING, b"p", 0, None),
            (CLIENT, BINARY, b"\xff", 750, None),
            (CLIENT, CLOSE, b"", 0, 4001),
            (SERVER, CLOSE, b"", 1, None),
        ]
        assert session.frames[3].reason == "no more"
        assert tape.frames == 5

    @pytest.mark.parametrize("session_bytes", [MIB, 200])
    def test_a_plain_message_is_taken_as_any_other(
        self, tmp_path: Path, session_bytes: int
    ) -> None:
        sent = [(SERVER, TEXT, b"hello"), (CLIENT, BINARY, b""), (CLIENT, TEXT, b"\xc3\xa4" * 20)]
        tapes = [
            SessionTape(tmp_path, 1.0, memory_bytes=MIB, session_bytes=session_bytes)
            for _ in range(2)
        ]
        for number, (sender, kind, data) in enumerate(sent):
            tapes[0].add(sender, whole(data, kind), 2.0 + number)
            tapes[1].message(mark_of(sender, kind), data, 2.0 + number)
        sessions = [taken(tape) for tape in tapes]
        assert (sessions[0].frames, sessions[0].end) == (sessions[1].frames, sessions[1].end)
        assert tapes[0].frames == tapes[1].frames == len(sent)
        for tape in tapes:
            tape.close()

    def test_a_message_has_its_place_where_it_ends(self, tape: SessionTape) -> None:
        """So the reply to it comes after it, and control frames within it before it."""
        tape.add(SERVER, part(b"one", ends="frame"), 10)
        tape.add(SERVER, Control(FrameKind.PING, b""), 10)
        tape.add(CLIENT, whole(b"between"), 10)
        tape.add(SERVER, part(b"tw"), 11)
        tape.add(SERVER, part(b"o", ends="frame"), 11)
        tape.add(SERVER, part(b"", ends="message"), 12)
        session = taken(tape)
        assert [frame.kind for frame in session.frames] == [FrameKind.PING, TEXT, BINARY]
        message = session.frames[2]
        assert (message.data.data, message.fragments) == (b"onetwo", (3, 3, 0))
        assert message.compressed
        assert message.delay_ms == 2000

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        messages=st.lists(
            st.tuples(st.sampled_from((CLIENT, SERVER)), st.lists(st.binary(max_size=9))),
            max_size=8,
        ),
        memory_bytes=st.integers(0, 40),
    )
    def test_messages_survive_any_cut(
        self,
        messages: list[tuple[Direction, list[bytes]]],
        memory_bytes: int,
        tmp_path: Path,
    ) -> None:
        tape = SessionTape(tmp_path, 0, memory_bytes=memory_bytes, session_bytes=MIB)
        for side, pieces in messages:
            for piece in pieces:
                tape.add(side, part(piece), 0)
            tape.add(side, part(b"", ends="message"), 0)
        session = taken(tape)
        expected = [(side, b"".join(pieces)) for side, pieces in messages]
        assert [(frame.direction, payload(frame)) for frame in session.frames] == expected
        tape.close()

    def test_a_large_message_has_its_own_file(self, tape: SessionTape) -> None:
        for _ in range(40):
            tape.add(SERVER, part(b"x" * 100_000), 10)
        tape.add(SERVER, part(b"", ends="message"), 10)
        (frame,) = taken(tape).frames
        assert frame.data.file is not None
        assert frame.data.size_bytes == 4_000_000
        assert frame.data.file.read_bytes() == b"x" * 4_000_000


class TestEnd:
    def test_beyond_its_bound_nothing_is_kept(self, tmp_path: Path) -> None:
        tape = SessionTape(tmp_path, 0, memory_bytes=MIB, session_bytes=1000)
        for _ in range(20):
            tape.add(CLIENT, whole(b""), 0)
        session = taken(tape)
        assert len(session.frames) == 15
        assert tape.frames == 20
        assert session.end == SessionEnd("it is over 1000 bytes long", truncated=True)
        assert not session.whole
        tape.close()

    def test_one_that_breaks_within_a_message_is_truncated(self, tape: SessionTape) -> None:
        tape.add(SERVER, part(b"half"), 10)
        assert taken(tape).end == SessionEnd("it ended within a message", truncated=True)
        gone = SessionEnd("the upstream left", SERVER)
        assert taken(tape, gone).end == SessionEnd("the upstream left", SERVER, truncated=True)

    def test_one_that_breaks_between_messages_is_whole(self, tape: SessionTape) -> None:
        tape.add(SERVER, whole(b"all"), 10)
        assert taken(tape, SessionEnd("the upstream left", SERVER)).whole

    def test_a_full_disk_is_reported(self, tmp_path: Path) -> None:
        tape = SessionTape(tmp_path / "gone", 0, memory_bytes=3, session_bytes=MIB)
        tape.add(SERVER, whole(b"more than three"), 0)
        end = taken(tape).end
        assert end is not None
        assert end.truncated
        assert end.reason == "it could not be kept: No such file or directory"
        tape.close()
