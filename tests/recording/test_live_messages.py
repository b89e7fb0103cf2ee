"""Live ids in the messages of an answer, however it is cut into pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.recording.live_messages import LiveMessages

PROGRESS = b'{"method": "notifications/progress", "params": {"progressToken": 5, "progress": 1}}'
ANSWER = b'{"id": 5, "result": {"id": 5, "said": "recorded"}}'


def live(*, streamed: bool) -> LiveMessages:
    return LiveMessages({b"5": b'"x"'}, {b"5": b"77"}, streamed)


def in_pieces(messages: LiveMessages, data: bytes, cuts: list[int]) -> bytes:
    stream = messages.stream()
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    starts = [0, *ends]
    out = [stream.feed(data[a:b]) for a, b in zip(starts, ends, strict=False)]
    return b"".join([*out, stream.end()])


class TestEvents:
    @given(cuts=st.lists(st.integers(0, 1000)), end=st.sampled_from((b"\n", b"\r\n", b"\r")))
    def test_cut_anywhere(self, cuts: list[int], end: bytes) -> None:
        lines = [b": a comment", b"event: message", b"id: 5", b"data: " + PROGRESS, b""]
        lines += [b"data:" + ANSWER, b"", b"data", b"", b"id: 6", b"data: ", b""]
        data = end.join([*lines, b"retry: 5"])
        said = in_pieces(live(streamed=True), data, cuts)
        expected = data.replace(b'"progressToken": 5', b'"progressToken": 77')
        assert said == expected.replace(b'data:{"id": 5', b'data:{"id": "x"')

    def test_a_message_of_several_lines(self) -> None:
        data = b'data: {"id":\ndata: 5,\nid: 9\ndata: "result": {}}\n\n'
        assert in_pieces(live(streamed=True), data, []) == data.replace(b"data: 5", b'data: "x"')

    def test_an_event_goes_out_when_it_is_complete(self) -> None:
        stream = live(streamed=True).stream()
        assert stream.feed(b"data: " + ANSWER + b"\n") == b""
        assert stream.feed(b"\ndata: {") == b"data: " + ANSWER.replace(b"5", b'"x"', 1) + b"\n\n"
        assert stream.end() == b"data: {"
        assert stream.changed


class TestDocuments:
    @given(cuts=st.lists(st.integers(0, 1000)))
    def test_cut_anywhere(self, cuts: list[int]) -> None:
        said = json.loads(in_pieces(live(streamed=False), ANSWER, cuts))
        assert said == {"id": "x", "result": {"id": 5, "said": "recorded"}}

    def test_a_text_that_is_none(self) -> None:
        stream = live(streamed=False).stream()
        assert stream.feed(b"plain 5") + stream.end() == b"plain 5"
        assert not stream.changed


class TestNothingToDo:
    @pytest.mark.parametrize("ids", [{}, {b"5": b"5"}])
    def test_it_is_said(self, ids: dict[bytes, bytes]) -> None:
        assert not LiveMessages(ids, ids, streamed=True)
        assert LiveMessages(ids, {b"1": b"2"}, streamed=True)
