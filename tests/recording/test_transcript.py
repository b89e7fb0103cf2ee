"""A recorded session is played: in any order that it allows, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import (
    BINARY,
    CLIENT,
    CLOSE,
    SERVER,
    TEXT,
    closes,
    hears,
    rules,
    says,
    session,
)

from buffr.interaction import Body, Frame, FrameKind, SessionEnd, WebSocketInteraction
from buffr.matching.body import BodyDigest
from buffr.matching.rules import IgnoreRule
from buffr.recording.transcript import MessageClock, ReplayEnd, Transcript
from buffr.stores.cassette.format import decode

INTEROP = Path(__file__).parents[1] / "stores" / "interop" / "go-reverse.json"
REALTIME = session(
    says('{"type": "hello"}'),
    hears('{"type": "ask", "n": 1}'),
    says('{"type": "delta"}'),
    says('{"type": "done"}'),
    closes(CLIENT),
    closes(SERVER),
)


def due(transcript: Transcript) -> list[str]:
    """What the server sends now, in words."""
    said = []
    while isinstance(step := transcript.next(), Frame):
        data = step.data.data.decode("latin-1")
        said.append(f"close {step.close_code}" if step.kind is CLOSE else data)
    if step is not None:
        said.append(step.value)
    return said


class TestOrder:
    def test_the_server_may_speak_first(self) -> None:
        transcript = Transcript(rules(), REALTIME)
        assert due(transcript) == ['{"type": "hello"}']
        assert transcript.receive(TEXT, b'{"type": "ask", "n": 1}') is None
        assert due(transcript) == ['{"type": "delta"}', '{"type": "done"}']
        transcript.receive_close(1000)
        assert due(transcript) == ["close 1000", "closed"]
        assert (transcript.left, transcript.passed) == (0, 6)

    def test_a_client_may_be_earlier_than_recorded(self) -> None:
        transcript = Transcript(rules(), REALTIME)
        assert transcript.receive(TEXT, b'{"type": "ask", "n": 1}') is None
        assert len(due(transcript)) == 3

    def test_pings_of_the_server_are_sent_and_count_for_nothing(self) -> None:
        ping = Frame(SERVER, FrameKind.PING, Body.of(b"p"), 5)
        pongs = [Frame(side, FrameKind.PONG, Body.of(b"p"), 7) for side in (CLIENT, SERVER)]
        recorded = session(ping, *pongs, says("a", 3), hears("b"), says("c"))
        transcript = Transcript(rules(), recorded)
        first, second = transcript.next(), transcript.next()
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        assert (first.kind, first.delay_ms) == (FrameKind.PING, 5)
        assert (second.data.data, second.delay_ms) == (b"a", 17)
        assert transcript.next() is None
        assert transcript.receive(TEXT, b"b") is None
        assert due(transcript) == ["c"]

    @given(st.lists(st.booleans(), max_size=12), st.data())
    def test_every_order_that_respects_precedence_is_played_whole(
        self, sides: list[bool], data: st.DataObject
    ) -> None:
        frames = [(says if mine else hears)(f"m{n}") for n, mine in enumerate(sides)]
        transcript = Transcript(rules(), session(*frames))
        waiting = [frame for frame in frames if frame.direction is CLIENT]
        heard: list[Frame] = []
        while True:
            step = None
            if not waiting or data.draw(st.booleans()):
                step = transcript.next()
            if isinstance(step, Frame):
                heard.append(step)
                before = frames[: frames.index(step)]
                assert not [frame for frame in before if frame in waiting]
            elif waiting:
                assert transcript.receive(TEXT, waiting.pop(0).data.data) is None
            elif step is None and transcript.left == 0:
                break
        assert heard == [frame for frame in frames if frame.direction is SERVER]

    @given(st.lists(st.booleans(), min_size=1, max_size=10), st.data())
    def test_any_other_message_drifts(self, sides: list[bool], data: st.DataObject) -> None:
        frames = [(says if mine else hears)(f"m{n}") for n, mine in enumerate(sides)]
        asked = [n for n, mine in enumerate(sides) if not mine]
        transcript = Transcript(rules(), session(*frames))
        at = data.draw(st.integers(0, len(asked)))
        for number in asked[:at]:
            assert transcript.receive(TEXT, b"m%d" % number) is None
        drift = transcript.receive(TEXT, b"another")
        assert drift is not None
        assert drift.number == (asked[at] if at < len(asked) else len(frames))


class TestEnd:
    @pytest.mark.parametrize("code", [None, 1000, 1001, 4000])
    def test_a_client_that_closes_early_gets_its_own_code(self, code: int | None) -> None:
        transcript = Transcript(rules(), REALTIME)
        transcript.receive_close(code)
        assert due(transcript) == [f"close {code}", "closed"]
        assert transcript.left > 0

    def test_a_recorded_answer_that_is_not_an_echo_is_sent(self) -> None:
        recorded = session(closes(CLIENT, 1000), closes(SERVER, 4001, "bye"))
        transcript = Transcript(rules(), recorded)
        transcript.receive_close(1001)
        step = transcript.next()
        assert isinstance(step, Frame)
        assert (step.close_code, step.reason) == (4001, "bye")

    @pytest.mark.parametrize("code", [1001, 1008, 1011, 4042])
    def test_the_server_closes(self, code: int) -> None:
        transcript = Transcript(rules(), session(closes(SERVER, code, "why"), closes(CLIENT, code)))
        step = transcript.next()
        assert isinstance(step, Frame)
        assert (step.close_code, step.reason) == (code, "why")
        assert transcript.next() is None
        assert transcript.receive(TEXT, b"crossing") is None
        transcript.receive_close(code)
        assert transcript.next() is ReplayEnd.CLOSED

    def test_an_upstream_that_dropped_the_connection(self) -> None:
        recorded = session(hears("a"), says("b"), end=SessionEnd("gone", SERVER))
        transcript = Transcript(rules(), recorded)
        assert due(transcript) == []
        assert transcript.receive(TEXT, b"a") is None
        assert due(transcript) == ["b", "dropped"]

    def test_a_client_that_dropped_it_is_waited_for(self) -> None:
        recorded = session(says("b"), end=SessionEnd("gone", CLIENT))
        assert due(Transcript(rules(), recorded)) == ["b"]


class TestDrift:
    def test_it_reports_which_frame_and_where(self) -> None:
        transcript = Transcript(rules(), REALTIME)
        drift = transcript.receive(TEXT, b'{"n": 2, "type": "ask"}')
        assert drift is not None
        assert drift.number == 1
        (difference,) = drift.differences
        assert (difference.pointer, difference.recorded, difference.live) == ("/n", "1", "2")
        assert drift.close_reason.startswith("cassette drift: frame 1: expected text of 23 bytes")
        assert str(drift).endswith("got text of 23 bytes; frame /n: recorded '1', live '2'")
        assert drift.close_reason.endswith("; frame /n: recorded '1', live '2'")

    def test_it_shows_no_credential(self) -> None:
        recorded = session(hears('{"api_key": "REDACTED-api-key", "n": 1}'))
        drift = Transcript(rules(), recorded).receive(TEXT, b'{"api_key": "sk-live-1", "n": 2}')
        assert drift is not None
        assert "sk-live-1" not in str(drift)
        assert "frame /n: recorded '1', live '2'" in str(drift)

    def test_text_that_is_not_json_is_shown_around_the_difference(self) -> None:
        recorded = session(hears(f"{'x' * 200} tea please"))
        drift = Transcript(rules(), recorded).receive(TEXT, f"{'x' * 200} coffee".encode())
        assert drift is not None
        (difference,) = drift.differences
        assert difference.recorded is not None
        assert difference.recorded.endswith("x tea please")
        assert difference.live is not None
        assert difference.live.endswith("x coffee")

    def test_many_differences_are_reported_in_two_parts(self) -> None:
        """The first three are in the log, the rest is for other reports."""
        recorded = session(hears(json.dumps(dict.fromkeys("abcde", 1))))
        drift = Transcript(rules(), recorded).receive(
            TEXT, json.dumps(dict.fromkeys("abcde", 2)).encode()
        )
        assert drift is not None
        assert str(drift).count("recorded") == 3
        assert [line.split(":")[0] for line in drift.lines()] == ["  frame /d", "  frame /e"]

    @given(st.text(min_size=1, max_size=200))
    def test_its_reason_fits_a_close_frame(self, name: str) -> None:
        recorded = session(hears(json.dumps({name: 1})))
        drift = Transcript(rules(), recorded).receive(TEXT, json.dumps({name: 2}).encode())
        assert drift is not None
        assert len(drift.close_reason.encode()) <= 123

    def test_a_message_too_many(self) -> None:
        drift = Transcript(rules(), session(says("a"))).receive(BINARY, b"xx")
        assert str(drift) == (
            "frame 1: expected no more messages, got binary of 2 bytes;"
            " frame: recorded nothing, live 'xx'"
        )

    def test_json_too_many_is_shown_without_credentials(self) -> None:
        live = b'{"type": "ask", "api_key": "sk-live-1"}'
        drift = Transcript(rules(), session(says("a"))).receive(TEXT, live)
        assert """frame /type: recorded nothing, live '"ask"'""" in str(drift)
        assert "sk-live-1" not in str(drift)

    def test_a_message_instead_of_the_close_frame(self) -> None:
        drift = Transcript(rules(), session(closes(CLIENT))).receive(TEXT, b"xx")
        assert str(drift) == (
            "frame 0: expected a close frame, got text of 2 bytes;"
            " frame: recorded nothing, live 'xx'"
        )

    def test_text_is_not_binary(self) -> None:
        drift = Transcript(rules(), session(hears("a"))).receive(BINARY, b"a")
        assert drift is not None
        assert drift.differences[0].part == "opcode"


class TestComparing:
    def test_json_is_compared_by_its_meaning(self) -> None:
        recorded = session(hears('{"a": 1, "b": "\u00e9"}'))
        assert Transcript(rules(), recorded).receive(TEXT, b'{"b":"\\u00e9","a":1}') is None
        assert Transcript(rules("strict"), recorded).receive(TEXT, b'{"b":"\\u00e9","a":1}')

    def test_rules_leave_out(self) -> None:
        recorded = session(hears('{"id": "run-1", "at": 1}'))
        ignore = IgnoreRule(part="websocket.frame", pattern="run-[0-9]+", replace_with="run")
        found = rules("json", ignore, json=("$.at",))
        assert Transcript(found, recorded).receive(TEXT, b'{"id": "run-2", "at": 2}') is None
        assert Transcript(rules(), recorded).receive(TEXT, b'{"id": "run-2", "at": 2}')

    def test_by_type(self) -> None:
        recorded = session(hears('{"type": "ask", "n": 1}'))
        assert Transcript(rules("type"), recorded).receive(TEXT, b'{"type": "ask"}') is None
        drift = Transcript(rules("type"), recorded).receive(TEXT, b'{"type": "tell"}')
        assert drift is not None
        assert [each.pointer for each in drift.differences] == ["/type"]
        named = rules("type", type_field="n")
        assert Transcript(named, recorded).receive(TEXT, b'{"type": "x", "n": 1}') is None

    def test_any(self) -> None:
        assert Transcript(rules("any"), session(hears("a"))).receive(BINARY, b"b") is None

    def test_large_messages_are_compared_by_their_digest(self, tmp_path: Path) -> None:
        whole = b"x" * (3 << 20)
        digest = BodyDigest(None)
        digest.update(whole)
        name, _ = digest.end()
        file = tmp_path / name.decode().removeprefix("sha256:")
        recorded = Frame(CLIENT, BINARY, Body(size_bytes=len(whole), file=file))
        live = BodyDigest(None)
        for _ in range(3):
            live.update(b"x" * (1 << 20))
        assert Transcript(rules(), session(recorded)).receive(BINARY, live) is None
        live = BodyDigest(None)
        live.update(b"y" * (3 << 20))
        assert Transcript(rules(), session(recorded)).receive(BINARY, live)


class TestLiveValues:
    SYNC = IgnoreRule(
        part="websocket.frame", pattern="id-[0-9]{4}", replace_with="id", sync_response=True
    )

    def test_a_value_from_a_message_is_echoed(self) -> None:
        recorded = session(
            hears("ask id-0001"), says("ok id-0001"), hears("ask id-0002"), says("id-0001 id-0002")
        )
        transcript = Transcript(rules("json", self.SYNC), recorded)
        assert transcript.receive(TEXT, b"ask id-7771") is None
        assert due(transcript) == ["ok id-7771"]
        assert transcript.receive(TEXT, b"ask id-7772") is None
        assert due(transcript) == ["id-7771 id-7772"]

    def test_a_value_from_the_handshake_is_echoed(self) -> None:
        transcript = Transcript(rules(), session(says("run-1")), ((b"run-1", b"run-9"),))
        assert due(transcript) == ["run-9"]


class TestTakingOver:
    def test_another_recording_continues(self) -> None:
        """Concurrent clients connect in any order."""
        first = session(says("hi"), hears("a"), says("for a"))
        second = session(says("hi"), hears("b"), says("for b"))
        transcript = Transcript(rules(), first)
        assert due(transcript) == ["hi"]
        assert transcript.receive(TEXT, b"b")
        assert transcript.switch(second)
        assert due(transcript) == ["for b"]

    def test_not_one_with_other_messages(self) -> None:
        transcript = Transcript(rules(), session(says("hi"), hears("x"), hears("a")))
        assert due(transcript) == ["hi"]
        assert transcript.receive(TEXT, b"x") is None
        assert transcript.receive(TEXT, b"b")
        for other in (
            session(says("ho"), hears("x"), hears("b")),
            session(says("hi"), hears("y"), hears("b")),
            session(hears("x"), hears("b")),
            session(says("hi"), hears("x"), hears("c")),
            session(says("hi"), hears("x")),
            session(says("hi"), hears("x"), closes(CLIENT)),
        ):
            assert not transcript.switch(other)
        assert transcript.switch(session(says("hi"), hears("x"), hears("b")))

    def test_live_values_come_along(self) -> None:
        sync = rules("json", TestLiveValues.SYNC)
        first = session(hears("id-0001"), hears("a"))
        second = session(hears("id-0002"), hears("b"), says("id-0002"))
        transcript = Transcript(sync, first)
        assert transcript.receive(TEXT, b"id-9999") is None
        assert transcript.receive(TEXT, b"b")
        assert transcript.switch(second)
        assert due(transcript) == ["id-9999"]


class TestGoSession:
    def test_it_replays_whole(self) -> None:
        element = json.loads(INTEROP.read_bytes())["interactions"][10]
        recorded = decode(json.dumps(element).encode(), Path("api.d"))
        assert isinstance(recorded, WebSocketInteraction)
        transcript = Transcript(rules(), recorded)
        heard = due(transcript)
        for frame in element["websocket"]["frames"]:
            if frame["direction"] == "client_to_server" and frame["opcode"] == "text":
                assert transcript.receive(TEXT, frame["data"].encode()) is None
                heard += due(transcript)
        assert [text.encode("latin-1").decode() for text in heard] == [
            frame["data"]
            for frame in element["websocket"]["frames"]
            if frame["direction"] == "server_to_client" and frame["opcode"] == "text"
        ]
        transcript.receive_close(1000)
        assert due(transcript) == ["close 1000", "closed"]


class TestClock:
    """Messages say what they would say now; a client may send that back."""

    CLOCK = MessageClock(
        lambda text: text.replace(b"old", b"new"), lambda text: text.replace(b"new", b"old")
    )

    def test_there_and_back(self) -> None:
        recorded = session(says('{"at": "old"}'), hears('{"since": "old"}'), says("old"))
        transcript = Transcript(rules(), recorded, clock=self.CLOCK)
        assert due(transcript) == ['{"at": "new"}']
        assert transcript.receive(TEXT, b'{"since": "new"}') is None
        assert due(transcript) == ["new"]

    def test_without_it_and_in_binary(self) -> None:
        binary = Frame(SERVER, BINARY, Body.of(b"old"))
        assert due(Transcript(rules(), session(binary), clock=self.CLOCK)) == ["old"]
        assert due(Transcript(rules(), session(says("old")))) == ["old"]

    def test_another_message_is_no_match(self) -> None:
        recorded = session(hears('{"since": "old"}'))
        transcript = Transcript(rules(), recorded, clock=self.CLOCK)
        assert transcript.receive(TEXT, b'{"since": "newer"}') is not None
