"""A WebSocket session survives the way through JSON, and the Go program reads its part."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from go_schema import check_element
from hypothesis import given
from hypothesis import strategies as st

from buffr.errors import CassetteError
from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import ResponseHead
from buffr.stores.cassette.format import decode, decode_index, encode, index_entry

BODIES = Path("api.d")
INTEROP = Path(__file__).parent / "interop"
UPGRADE = (b"Upgrade", b"websocket")
CLIENT, SERVER = Direction.CLIENT, Direction.SERVER

directions = st.sampled_from(Direction)
delays = st.integers(0, 5000)
payloads = st.one_of(st.binary(max_size=20), st.text(max_size=20).map(str.encode))
codes = st.none() | st.sampled_from((1000, 1001, 1011, 4000))


def is_text(data: bytes) -> bool:
    return data.decode(errors="ignore").encode() == data


@st.composite
def messages(draw: st.DrawFn) -> Frame:
    parts = draw(st.lists(payloads, max_size=3))
    data = b"".join(parts)
    return Frame(
        draw(directions),
        draw(st.sampled_from((FrameKind.TEXT, FrameKind.BINARY)))
        if is_text(data)
        else FrameKind.BINARY,
        Body.of(data),
        draw(delays),
        fragments=tuple(map(len, parts)) if len(parts) > 1 else (),
        compressed=draw(st.booleans()),
    )


controls = st.builds(
    Frame,
    directions,
    st.sampled_from((FrameKind.PING, FrameKind.PONG)),
    payloads.map(Body.of),
    delays,
)
closes = st.builds(
    lambda side, delay, code, reason: Frame(
        side, FrameKind.CLOSE, Body(), delay, code, reason if code else ""
    ),
    directions,
    delays,
    codes,
    st.text(max_size=10),
)
heads = st.just(ResponseHead(101, b"Switching Protocols", ())) | st.just(
    ResponseHead(101, b"Sure", ((b"sec-websocket-protocol", b"realtime"),))
)
sessions = st.builds(
    WebSocketInteraction,
    st.just(RecordedRequest(b"GET", b"/v1/live?m=a", (UPGRADE, (b"b", b"\xff")), port=8443)),
    heads,
    st.lists(st.one_of(messages(), controls, closes), max_size=8).map(tuple),
    st.none() | st.builds(SessionEnd, st.text(max_size=5), st.none() | directions, st.booleans()),
    st.none() | st.just("2026-11-21T22:02:42.5Z"),
)


def shape(session: object) -> tuple[object, ...]:
    assert isinstance(session, WebSocketInteraction)
    request, response = session.request, session.response
    return (
        (request.method, request.target, request.headers, request.body),
        (request.scheme, request.host, request.port),
        (response.status, response.reason, response.headers),
        (session.frames, session.end, session.recorded_at),
    )


class TestRoundTrip:
    @given(sessions)
    def test_every_part_survives(self, kept: WebSocketInteraction) -> None:
        assert shape(decode(encode(kept), BODIES)) == shape(kept)

    @given(sessions)
    def test_the_index_reads_the_request_of_whole_ones(self, kept: WebSocketInteraction) -> None:
        entry = index_entry(decode_index(encode(kept)), BODIES)
        assert (entry is not None) is kept.whole
        if entry is not None:
            request = entry.request
            assert request.target == kept.request.target
            assert request.headers == kept.request.headers

    @given(sessions)
    def test_the_go_program_reads_the_same_messages(self, kept: WebSocketInteraction) -> None:
        element = json.loads(encode(kept))
        check_element(element)
        known = [
            (frame.direction, frame.kind.value, frame.data.data)
            for frame in kept.frames
            if frame.kind not in (FrameKind.PING, FrameKind.PONG)
        ]
        assert [go_frame(frame) for frame in element["websocket"]["frames"]] == known
        spent = sum(frame["delay_ms"] for frame in element["websocket"]["frames"])
        assert spent <= sum(frame.delay_ms for frame in kept.frames)

    @given(sessions)
    def test_an_element_ends_at_the_first_line_of_its_own_indentation(
        self, kept: WebSocketInteraction
    ) -> None:
        element = encode(kept)
        assert element.find(b"\n    }") == len(element) - 6


class TestWhatIsWritten:
    def test_a_close_frame_without_a_code_has_the_one_for_none(self) -> None:
        """The Go program would put a missing one on the wire as 0."""
        kept = WebSocketInteraction(
            RecordedRequest(b"GET", b"/", (UPGRADE,)), frames=(Frame(CLIENT, FrameKind.CLOSE),)
        )
        (frame,) = json.loads(encode(kept))["websocket"]["frames"]
        assert frame == {
            "direction": "client_to_server",
            "opcode": "close",
            "delay_ms": 0,
            "close_code": 1005,
        }

    def test_a_large_payload_is_named_by_its_file(self) -> None:
        digest = "ab" * 32
        data = Body(size_bytes=3 << 20, file=BODIES / digest)
        kept = WebSocketInteraction(
            RecordedRequest(b"GET", b"/", (UPGRADE,)),
            frames=(Frame(SERVER, FrameKind.BINARY, data),),
        )
        (frame,) = json.loads(encode(kept))["websocket"]["frames"]
        assert (frame["data_file"], frame["data_size"]) == (digest, 3 << 20)
        assert shape(decode(encode(kept), BODIES)) == shape(kept)


class TestWhatIsRead:
    def test_the_go_programs_session(self) -> None:
        element = json.loads((INTEROP / "go-reverse.json").read_bytes())["interactions"][10]
        loaded = decode(json.dumps(element).encode(), BODIES)
        assert isinstance(loaded, WebSocketInteraction)
        assert loaded.request.target == b"/openai/v1/realtime?model=gpt-realtime"
        assert loaded.request.headers[-1] == UPGRADE
        assert loaded.response.status == 101
        assert len(loaded.frames) == 21
        assert loaded.frames[-1].close_code == 1000
        assert loaded.end is None

    @pytest.mark.parametrize(
        ("codes", "frames", "by"),
        [([1006, 1006], 0, SERVER), ([1000, 1006], 1, None), ([1005], 1, None), ([], 0, None)],
    )
    def test_the_go_programs_1006_is_an_end_and_no_frame(
        self, codes: list[int], frames: int, by: Direction | None
    ) -> None:
        session: dict[str, Any] = {
            "request": {"path": "/"},
            "frames": [
                {"direction": "server_to_client", "opcode": "close", "close_code": code}
                for code in codes
            ],
        }
        loaded = decode(json.dumps({"type": "websocket", "websocket": session}).encode(), BODIES)
        assert isinstance(loaded, WebSocketInteraction)
        assert len(loaded.frames) == frames
        assert all(frame.close_code in (1000, None) for frame in loaded.frames)
        assert (loaded.end and loaded.end.by) == by

    def test_a_message_that_was_edited_is_sent_in_one_frame(self) -> None:
        frame = Frame(SERVER, FrameKind.TEXT, Body.of(b"abc"), fragments=(1, 2))
        kept = WebSocketInteraction(RecordedRequest(b"GET", b"/", (UPGRADE,)), frames=(frame,))
        loaded = decode(encode(kept).replace(b'"abc"', b'"abcd"'), BODIES)
        assert isinstance(loaded, WebSocketInteraction)
        assert loaded.frames == (Frame(SERVER, FrameKind.TEXT, Body.of(b"abcd")),)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"opcode": "ping"}, "Invalid enum value 'ping'"),
            ({"direction": "up"}, "Invalid enum value 'up'"),
            ({"data_file": "../x"}, "data_file: '../x' is not a SHA-256"),
        ],
    )
    def test_a_wrong_field_is_named(self, change: dict[str, Any], said: str) -> None:
        frame = {"direction": "server_to_client", "opcode": "text"} | change
        session = {"request": {"path": "/"}, "frames": [frame]}
        with pytest.raises(CassetteError, match=said):
            decode(json.dumps({"type": "websocket", "websocket": session}).encode(), BODIES)


def go_frame(frame: dict[str, Any]) -> tuple[str, str, bytes]:
    """A frame as the Go program replays it."""
    assert set(frame) <= {
        "direction", "opcode", "data", "data_b64", "delay_ms", "close_code",
        "reason", "fragments", "compressed",
    }  # fmt: skip
    encoded = frame.get("data_b64", "")
    data = base64.b64decode(encoded) if encoded else frame.get("data", "").encode()
    return frame["direction"], frame["opcode"], data
