"""Calls in turns: what is noted of them, and when which message is due."""

from __future__ import annotations

import pytest
from attrs import evolve

from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead
from buffr.recording.turns import CallScript, CallTurns, TurnLog


def enveloped(*messages: bytes) -> bytes:
    return b"".join([b"\0" + len(each).to_bytes(4, "big") + each for each in messages])


A, B, C = (enveloped(each) for each in (b"a", b"bb", b"ccc"))
HEAD = ResponseHead(200, b"OK", ((b"content-type", b"application/grpc"),))


def recorded(said: bytes, heard: bytes, *turns: int) -> HTTPInteraction:
    request = RecordedRequest(b"POST", b"/a.B/Talk", body=Body.of(said))
    return HTTPInteraction(request, HEAD, Body.of(heard), turns=turns)


def _same(_: RecordedRequest, old: bytes, new: bytes) -> bool:
    return old.lower() == new.lower()


def turns_of(said: bytes, heard: bytes, *turns: int) -> CallTurns:
    return CallTurns(CallScript.of(recorded(said, heard, *turns)), _same)


class TestLog:
    def test_what_came_after_the_whole_request_needs_no_note(self) -> None:
        log = TurnLog()
        for piece in (A[:3], A[3:] + B, None):
            log.said(piece)
        log.begun()
        log.heard(C)
        log.over()
        assert log.turns == ()

    def test_turns_are_counted_in_whole_messages(self) -> None:
        log = TurnLog()
        log.begun()
        log.said(A + B[:4])
        log.heard(A)
        log.said(B[4:])
        log.heard(B + C[:2])
        log.said(C)
        log.heard(C[2:] + A)  # the third began before the client's last
        log.said(None)
        log.heard(B)
        log.over()
        assert log.turns == (0, 1, 2, 2, 3)

    def test_an_answer_may_end_before_its_request(self) -> None:
        log = TurnLog()
        log.said(A)
        log.begun()
        log.over()
        assert log.turns == (1, 1)


class TestReplay:
    def test_each_message_is_due_after_those_that_came_before_it(self) -> None:
        turns = turns_of(A + B, C + A, 1, 1, 2)
        script = turns.script
        assert (script.head_after, script.after, script.end_after) == (1, (1, 2), 3)
        assert not turns.is_due(script.head_after)
        assert turns.receive(A)
        assert turns.is_due(script.after[0])
        assert not turns.is_due(script.after[1])
        assert turns.receive(B)
        assert turns.is_due(script.after[1])
        assert not turns.is_due(script.end_after)
        assert turns.end()
        assert turns.is_due(script.end_after)

    @pytest.mark.parametrize(
        ("said", "drift"), [((C,), 0), ((A, A), 1), ((A, B, C), 2), ((A, None), 1)]
    )
    def test_the_first_message_that_is_not_as_recorded_is_told(
        self, said: tuple[bytes | None, ...], drift: int
    ) -> None:
        turns = turns_of(A + B, C, 1, 1)
        *first, last = said
        assert all(turns.receive(each) for each in first if each is not None)
        assert not (turns.end() if last is None else turns.receive(last))
        assert turns.drift == drift

    def test_what_came_after_an_early_end_does_not_matter(self) -> None:
        turns = turns_of(A, b"", 1, 1)
        assert turns.receive(A)
        assert turns.is_due(turns.script.end_after)
        assert turns.receive(C)
        assert turns.end()

    def test_another_recording_that_fits_so_far_goes_on(self) -> None:
        turns = turns_of(A + B, A + C, 1, 1, 2)
        assert turns.receive(A)
        turns.sent = 1
        assert not turns.receive(C)
        fits = CallScript.of(recorded(A + C, A + B, 1, 1, 2))
        assert turns.fits(fits)
        for other in (
            recorded(A + B, A + B, 1, 1, 2),  # another message than the one that came
            recorded(A + C, B + B, 1, 1, 2),  # another answer than the one that went
            recorded(A, A, 1, 1),
            evolve(fits.interaction, response=evolve(HEAD, status=503)),
        ):
            assert not turns.fits(CallScript.of(other))
        turns.switch(fits)
        assert turns.is_due(fits.after[1])

    def test_a_message_came_when_its_last_chunk_did(self) -> None:
        chunks = (Chunk(4, 5), Chunk(len(A) + len(B) - 4, 20), Chunk(len(C), 7))
        script = CallScript.of(evolve(recorded(A, A + B + C, 1), chunks=chunks))
        assert script.delays_ms == (25, 0, 7)
