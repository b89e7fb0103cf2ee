"""A live session in memory: what is forwarded, what is held back, and how it ends."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from attrs import define, field
from duplexes import over
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from buffr.exchanges.route import SessionLimits
from buffr.exchanges.sessions.leg import Leg
from buffr.exchanges.sessions.relay import RelayedSession
from buffr.interaction import Direction, FrameKind, SessionEnd
from buffr.policy.faults import SessionClose
from buffr.recording.session import SessionTape
from buffr.testing.wire import Wire
from buffr.wire.websocket_deflate import Deflate
from buffr.wire.websocket_frames import close_payload, encode_frame, unmask

KEY = b"1234"
TEXT, BINARY, CLOSE = FrameKind.TEXT, FrameKind.BINARY, FrameKind.CLOSE
BYE = close_payload(4001, "so long")


@define(eq=False)
class Bench:
    """A session between two wires, taped."""

    directory: Path
    limits: SessionLimits = SessionLimits(close_s=5)
    deflate: Deflate | None = None
    fault: SessionClose | None = None
    clock: Clock = field(factory=Clock)
    client: Wire = field(factory=Wire)
    upstream: Wire = field(factory=Wire)
    ends: list[SessionEnd | None] = field(factory=list)
    session: RelayedSession = field(init=False)

    def __attrs_post_init__(self) -> None:
        tape = SessionTape(self.directory, 0.0, memory_bytes=1000, session_bytes=1 << 30)
        self.session = RelayedSession(
            self.clock, self.limits, self.deflate, tape, lambda: KEY, self.fault
        )
        self.session.client.open(over(self.client))
        self.session.upstream.open(over(self.upstream))
        self.session.over.addCallback(self.ends.append)
        self.session.join()

    def says(self, kind: FrameKind, payload: bytes = b"") -> bytes:
        """The client sends something."""
        raw = encode_frame(kind, payload, key=KEY)
        self.session.client.received(raw)
        return raw

    def answers(self, kind: FrameKind, payload: bytes = b"") -> bytes:
        """The upstream does."""
        raw = encode_frame(kind, payload)
        self.session.upstream.received(raw)
        return raw

    @staticmethod
    def leaves(leg: Leg) -> None:
        leg.closed(Failure(ConnectionDone()))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class TestRelay:
    def test_frames_go_on_as_they_came(self, bench: Bench) -> None:
        assert bench.says(TEXT, b"one") == bench.upstream.taken()
        assert bench.answers(BINARY, bytes(70_000)) == bench.client.taken()
        assert bench.session.frames == 2

    def test_each_side_is_held_back_by_the_other(self, bench: Bench) -> None:
        producer = bench.client.producer
        assert producer is not None
        producer.pauseProducing()
        assert bench.upstream.producerState == "paused"
        producer.resumeProducing()
        assert bench.upstream.producerState == "producing"

    def test_a_large_inflated_message_takes_many_turns(self, tmp_path: Path) -> None:
        """The frame passes once all of it was judged; nothing is read meanwhile."""
        bench = Bench(tmp_path, deflate=Deflate())
        stream = zlib.compressobj(wbits=-15)
        deflated = (stream.compress(bytes(2 << 20)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
        raw = encode_frame(BINARY, deflated, compressed=True)
        bench.session.upstream.received(raw)
        assert bench.upstream.producerState == "paused"
        assert bench.client.taken() == b""
        after = bench.answers(TEXT, b"")
        for _ in range(10):
            bench.clock.advance(0)
        assert bench.client.taken() == raw + after
        assert bench.upstream.producerState == "producing"


class TestClose:
    def test_the_last_frame_waits_for_the_recording(self, bench: Bench) -> None:
        assert bench.says(CLOSE, BYE) == bench.upstream.taken()
        reply = bench.answers(CLOSE, BYE)
        assert bench.ends == [None]
        assert bench.client.taken() == b""
        bench.session.release()
        assert bench.client.taken() == reply
        assert bench.client.ends == bench.upstream.ends == ["half closed"]

    def test_the_last_frame_does_not_wait_long(self, bench: Bench) -> None:
        """A large session takes its time to be kept; the client must not give up meanwhile."""
        bench.says(CLOSE, BYE)
        reply = bench.answers(CLOSE, BYE)
        bench.clock.advance(0.6)
        assert bench.client.taken() == reply
        assert bench.client.ends == ["half closed"]
        bench.session.release()
        assert bench.client.taken() == b""
        assert bench.client.ends == ["half closed"]

    def test_the_upstream_may_close_first(self, bench: Bench) -> None:
        assert bench.answers(CLOSE, BYE) == bench.client.taken()
        assert bench.says(CLOSE, BYE) == bench.upstream.taken()
        assert bench.ends == [None]

    def test_an_answer_that_does_not_come_is_waited_for_so_long(self, bench: Bench) -> None:
        bench.says(CLOSE, BYE)
        bench.clock.advance(4.9)
        assert bench.ends == []
        bench.clock.advance(0.2)
        (end,) = bench.ends
        assert end is not None
        assert end.by is Direction.SERVER

    def test_a_closed_connection_is_dropped_in_the_end(self, bench: Bench) -> None:
        bench.session.stop("the end")
        bench.session.release()
        bench.clock.advance(5)
        assert bench.client.ends == bench.upstream.ends == ["half closed", "cut"]


class TestBreaks:
    @pytest.mark.parametrize("by", list(Direction))
    def test_a_lost_connection_ends_the_other_without_a_close_frame(
        self, bench: Bench, by: Direction
    ) -> None:
        here, there = bench.session.client, bench.upstream
        if by is Direction.SERVER:
            here, there = bench.session.upstream, bench.client
        bench.leaves(here)
        (end,) = bench.ends
        assert end is not None
        assert (end.by, end.truncated) == (by, False)
        bench.session.release()
        assert there.taken() == b""
        assert there.ends == ["half closed"]

    def test_a_client_that_closes_its_half_still_hears(self, bench: Bench) -> None:
        bench.session.client.ended()
        assert bench.upstream.ends == ["half closed"]
        assert bench.answers(TEXT, b"late") == bench.client.taken()
        bench.leaves(bench.session.upstream)
        assert len(bench.ends) == 1

    @pytest.mark.parametrize(
        ("data", "code"),
        [(encode_frame(TEXT, b"\xff", key=KEY), 1007), (encode_frame(TEXT, b"unmasked"), 1002)],
    )
    def test_a_fault_has_its_code_on_both_sides(self, bench: Bench, data: bytes, code: int) -> None:
        bench.session.client.received(data)
        bench.clock.pump([0.1, 1])
        bench.session.release()
        told = code.to_bytes(2, "big")
        assert bench.client.taken()[2:4] == told
        assert unmask(bench.upstream.taken()[6:], KEY)[:2] == told
        (end,) = bench.ends
        assert end is not None
        assert (end.by, end.truncated) == (Direction.CLIENT, True)

    def test_messages_before_a_clients_fault_are_still_answered(self, bench: Bench) -> None:
        """The upstream has a moment before it is asked to close, and may answer until it does."""
        assert bench.says(TEXT, b"one") == bench.upstream.taken()
        bench.session.client.received(b"\xff\xff")
        assert bench.upstream.taken() == b""
        before = bench.answers(TEXT, b"two")
        bench.clock.advance(0.1)
        assert unmask(bench.upstream.taken()[6:], KEY)[:2] == (1002).to_bytes(2, "big")
        after = bench.answers(TEXT, b"three")
        assert bench.client.taken() == before + after
        assert bench.ends == []
        bench.answers(CLOSE, close_payload(1002, ""))
        assert len(bench.ends) == 1
        bench.session.release()
        assert bench.client.taken()[2:4] == (1002).to_bytes(2, "big")

    def test_messages_sent_before_a_client_learns_of_a_servers_fault_arrive(
        self, bench: Bench
    ) -> None:
        bench.session.upstream.received(b"\xff\xff")
        late = bench.says(TEXT, b"late")
        assert bench.upstream.taken() == late
        bench.clock.advance(0.1)
        assert bench.client.taken()[2:4] == (1002).to_bytes(2, "big")
        bench.says(CLOSE, close_payload(1002, ""))
        bench.session.release()
        assert unmask(bench.upstream.taken()[6:], KEY)[:2] == (1002).to_bytes(2, "big")

    def test_nothing_that_comes_after_a_fault_passes(self, bench: Bench) -> None:
        bench.session.client.received(b"\xff\xff")
        bench.says(TEXT, b"after")
        assert bench.upstream.taken() == b""

    @pytest.mark.parametrize("how", ["close", "fault", "half close", "leave", "stop", "wait"])
    def test_a_fault_ends_the_session_whatever_the_other_side_does(
        self, bench: Bench, how: str
    ) -> None:
        """Within little more than a second, once, and its sender gets its own close code."""
        bench.session.client.received(b"\xff\xff")
        match how:
            case "close":
                bench.answers(CLOSE, BYE)
            case "fault":
                bench.session.upstream.received(b"\xff\xff")
            case "half close":
                bench.session.upstream.ended()
            case "leave":
                bench.leaves(bench.session.upstream)
            case "stop":
                bench.session.stop("the end")
            case "wait":
                bench.clock.pump([0.1, 1])
        (end,) = bench.ends
        assert end is not None
        assert (end.by, end.truncated) == (Direction.CLIENT, True)
        bench.session.release()
        assert bench.client.taken()[2:4] == (1002).to_bytes(2, "big")

    def test_a_client_that_leaves_after_its_fault_is_not_waited_for(self, bench: Bench) -> None:
        bench.session.client.received(b"\xff\xff")
        bench.leaves(bench.session.client)
        assert len(bench.ends) == 1
        assert unmask(bench.upstream.taken()[6:], KEY)[:2] == (1002).to_bytes(2, "big")
        bench.session.release()
        bench.clock.advance(5)
        assert bench.clock.getDelayedCalls() == []

    def test_a_fault_within_a_large_frame_leaves_no_way_to_say_so(self, bench: Bench) -> None:
        """A close frame there would be read as the large one's payload."""
        raw = encode_frame(TEXT, b"a" * 100_000 + b"\xff" + b"a" * 100_000)
        bench.session.upstream.received(raw[:90_000])
        assert bench.client.taken() == raw[:90_000]
        bench.session.upstream.received(raw[90_000:])
        assert bench.client.taken() == b""
        assert bench.upstream.taken().startswith(b"\x88")
        bench.session.release()
        assert bench.client.ends == ["half closed"]

    def test_silence_of_both_ends_it(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, SessionLimits(idle_s=10, close_s=5))
        bench.clock.advance(9)
        bench.says(TEXT, b"still here")
        bench.clock.advance(9)
        assert bench.ends == []
        bench.clock.advance(2)
        assert len(bench.ends) == 1
        assert bench.client.taken()[2:4] == (1001).to_bytes(2, "big")


def told(code: int) -> bytes:
    """The close frame of a fault."""
    return encode_frame(CLOSE, close_payload(code, "a fault of the settings"))


class TestFault:
    @pytest.mark.parametrize("together", [False, True])
    def test_it_comes_after_so_many_messages(self, tmp_path: Path, *, together: bool) -> None:
        """What came behind them in the same segment does not pass; controls do not count."""
        bench = Bench(tmp_path, fault=SessionClose(1011, after=2))
        frames = [
            encode_frame(FrameKind.PING, b""),
            encode_frame(TEXT, b"o", final=False),
            encode_frame(None, b"ne"),
            encode_frame(TEXT, b"two"),
            encode_frame(TEXT, b"three"),
            encode_frame(CLOSE, BYE),
        ]
        for part in [b"".join(frames)] if together else frames:
            bench.session.upstream.received(part)
        assert bench.client.taken() == b"".join(frames[:4]) + told(1011)
        assert bench.upstream.taken() == encode_frame(CLOSE, close_payload(1001, ""), key=KEY)
        assert bench.ends == [SessionEnd("fault: close-1011", truncated=True)]
        assert bench.session.frames == 3

    def test_at_once(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, fault=SessionClose(4000))
        bench.answers(TEXT, b"one")
        assert bench.client.taken() == told(4000)
        assert bench.ends == [SessionEnd("fault: close-4000", truncated=True)]

    def test_without_a_close_frame(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, fault=SessionClose(1006, after=1))
        one = bench.answers(TEXT, b"one")
        assert bench.client.taken() == one
        assert bench.client.ends == ["cut"]
        assert bench.ends == [SessionEnd("fault: close-1006", truncated=True)]

    def test_what_ends_before_ends_as_it_does(self, tmp_path: Path) -> None:
        bench = Bench(tmp_path, fault=SessionClose(1011, after=5))
        bench.says(CLOSE, BYE)
        bench.answers(CLOSE, BYE)
        assert bench.ends == [None]
