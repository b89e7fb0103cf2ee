"""Sessions of MCP: their ids, their counts, and what waits for its place."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buffr.exchanges.dialogues import Dialogues, Remark
from buffr.message import Request

ANSWER = json.dumps({"id": 1, "result": {}}).encode()
CALL = json.dumps({"id": 1, "method": "m"}).encode()


class Place:
    def __init__(self) -> None:
        self.clock = Clock()
        self.dialogues = Dialogues(self.clock)

    def say(self, body: bytes = b"", method: bytes = b"POST", session: bytes = b"s") -> Remark:
        headers = ((b"mcp-session-id", session),) if session else ()
        return self.dialogues.remark(Request(method, b"/mcp", headers), body, "test")


@pytest.fixture
def place() -> Place:
    return Place()


def held(remark: Remark, after: int | None) -> Deferred[None]:
    return Deferred.fromCoroutine(remark.hold(after))


class TestPlaces:
    def test_a_standing_stream_counts_all_that_the_client_sent(self, place: Place) -> None:
        place.say(CALL)
        stream = place.say(method=b"GET")
        second, end = held(stream, 2), held(stream, None)
        assert stream.count() == 1
        place.clock.advance(1000)
        assert [second.called, end.called] == [False, False]
        place.say(CALL)
        assert [second.called, end.called] == [True, False]
        place.say(method=b"DELETE")
        assert [second.called, end.called] == [True, True]

    def test_a_call_counts_the_answers_since_it_began(self, place: Place) -> None:
        place.say(ANSWER)
        call = place.say(CALL)
        waiting = held(call, 1)
        place.say(CALL)
        assert (call.count(), waiting.called) == (0, False)
        place.say(ANSWER)
        assert (call.count(), waiting.called) == (1, True)
        assert place.clock.getDelayedCalls() == []

    def test_it_does_not_wait_for_ever(self, place: Place) -> None:
        """A client that answers nothing this time gets its answer nevertheless."""
        waiting = held(place.say(CALL), 1)
        place.clock.advance(4)
        assert not waiting.called
        place.clock.advance(2)
        assert waiting.called

    def test_sessions_do_not_wait_for_each_other(self, place: Place) -> None:
        waiting = held(place.say(CALL), 1)
        place.say(ANSWER, session=b"other")
        assert not waiting.called
        place.dialogues.stop()
        assert waiting.called

    def test_without_a_session_there_is_no_place(self, place: Place) -> None:
        remark = place.say(CALL, session=b"")
        place.say(ANSWER, session=b"")
        assert remark.count() == 0
        assert remark.scope == "test"
