"""Streams: news for all who wait, and bodies with back-pressure."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial import unittest

from buffr.errors import BodyCutShort, ClientGone
from buffr.message import Headers, Piece
from buffr.transport.streams import BodyStream, Signal

TRIAL = unittest.SynchronousTestCase()
HIGH = 10
TRAILERS = ((b"X-T", b"1"),)


class Stream(BodyStream):
    """A stream, and what it asked its connection for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(
            lambda: self.asked.append("pause"), lambda: self.asked.append("resume"), HIGH
        )

    def fed(self, *sizes: int) -> Stream:
        self.feed(Piece(b"x" * size) for size in sizes)
        return self

    def taken(self) -> int:
        """The size of the next piece; -1 at the end."""
        piece = TRIAL.successResultOf(self.read())
        return -1 if piece is None else len(piece.data)


class TestNews:
    def test_all_who_wait_hear(self) -> None:
        """Everybody who waits when it is told goes on, in the order of waiting."""
        news, heard = Signal(), list[str]()

        async def hear(name: str) -> None:
            await news.wait()
            heard.append(name)

        for name in "abc":
            Deferred.fromCoroutine(hear(name))
        news.notify()
        assert heard == ["a", "b", "c"]

    def test_old_news_is_no_news(self) -> None:
        """Who waits later, or again, hears only what is told then."""
        news, heard = Signal(), list[int]()
        news.notify()

        async def hear() -> None:
            for number in range(2):
                await news.wait()
                heard.append(number)

        Deferred.fromCoroutine(hear())
        assert heard == []
        news.notify()
        assert heard == [0]
        news.notify()
        assert heard == [0, 1]

    def test_one_waiter_is_cancelled(self) -> None:
        """The others hear all the same, and the cancelled one is forgotten."""
        news = Signal()
        waiting = [Deferred.fromCoroutine(news.wait()) for _ in range(3)]
        waiting[1].cancel()
        TRIAL.failureResultOf(waiting[1], CancelledError)
        assert len(news._waiting) == 2
        news.notify()
        TRIAL.successResultOf(waiting[0])
        TRIAL.successResultOf(waiting[2])

    def test_one_waiter_cancels_another(self) -> None:
        """Whoever hears first may stop the rest; nothing is told twice."""
        news = Signal()
        first, second = (Deferred.fromCoroutine(news.wait()) for _ in range(2))
        first.addCallback(lambda _: second.cancel())
        news.notify()
        TRIAL.failureResultOf(second, CancelledError)


class TestReading:
    def test_pieces_in_order_then_the_end(self) -> None:
        """Each piece is read once; the end comes with the trailers, and stays."""
        stream = Stream().fed(1, 2)
        stream.finish(TRAILERS)
        assert [stream.taken() for _ in range(4)] == [1, 2, -1, -1]
        assert stream.trailers == TRAILERS

    def test_a_reader_waits_for_more(self) -> None:
        """A piece wakes the reader, and so does the end."""
        stream = Stream()
        read = Deferred.fromCoroutine(stream.read())
        TRIAL.assertNoResult(read)
        stream.fed(3)
        assert TRIAL.successResultOf(read) == Piece(b"xxx")
        read = Deferred.fromCoroutine(stream.read())
        stream.finish()
        assert TRIAL.successResultOf(read) is None

    def test_what_came_before_a_break_is_read(self) -> None:
        """The error comes behind the pieces, and stays."""
        stream = Stream().fed(1)
        stream.fail(BodyCutShort("cut"))
        assert stream.taken() == 1
        for _ in range(2):
            TRIAL.failureResultOf(stream.read(), BodyCutShort)

    def test_ready(self) -> None:
        """It says whether reading waits: not for pieces, nor for an end that is here."""
        stream, whole, broken = Stream(), Stream(), Stream()
        whole.finish()
        broken.fail(BodyCutShort("cut"))
        assert not stream.ready
        assert all(each.ready for each in (stream.fed(1), whole, broken))

    def test_a_waiting_reader_hears_of_a_break(self) -> None:
        """Nobody waits for a body that has broken off."""
        stream = Stream()
        read = Deferred.fromCoroutine(stream.read())
        stream.fail(BodyCutShort("cut"))
        TRIAL.failureResultOf(read, BodyCutShort)

    def test_the_first_end_counts(self) -> None:
        """A whole body is not broken later, nor a broken one mended."""
        whole, broken = Stream(), Stream()
        whole.finish()
        whole.fail(ClientGone("late"))
        assert whole.taken() == -1
        broken.fail(BodyCutShort("cut"))
        broken.finish(TRAILERS)
        TRIAL.failureResultOf(broken.read(), BodyCutShort)

    def test_a_cancelled_reader_takes_nothing(self) -> None:
        """The next reader has what came after a cancelled one."""
        stream = Stream()
        read = Deferred.fromCoroutine(stream.read())
        read.cancel()
        TRIAL.failureResultOf(read, CancelledError)
        assert stream.fed(4).taken() == 4


class TestBackPressure:
    @pytest.mark.parametrize(
        ("fed", "taken", "asked"),
        [
            ((10,), 0, []),
            ((11,), 0, ["pause"]),
            ((5, 5, 1), 0, ["pause"]),
            ((5, 5, 1), 1, ["pause"]),
            ((5, 5, 1), 2, ["pause", "resume"]),
            ((11,), 1, ["pause", "resume"]),
            ((0,) * 100, 0, []),
        ],
    )
    def test_bounds(self, fed: Iterable[int], taken: int, asked: list[str]) -> None:
        """Above the bound it pauses once, at half of it it resumes."""
        stream = Stream().fed(*fed)
        for _ in range(taken):
            stream.taken()
        assert stream.asked == asked

    @given(st.lists(st.integers(-1, 20)))
    def test_never_out_of_step(self, moves: list[int]) -> None:
        """Pause and resume take turns, and it is paused whenever more than the bound lies here."""
        stream, here = Stream(), list[int]()
        for move in moves:
            if move >= 0:
                stream.fed(move)
                here.append(move)
            elif here:
                assert stream.taken() == here.pop(0)
            assert stream.paused or sum(here) <= HIGH
            assert not stream.paused or sum(here) > HIGH // 2
            assert (
                stream.asked
                == ["pause", "resume"] * (len(stream.asked) // 2) + ["pause"] * stream.paused
            )

    @pytest.mark.parametrize("trailers", [(), TRAILERS])
    def test_the_end_leaves_it_paused(self, trailers: Headers) -> None:
        """What lies here when the body ends still has to be read before more is taken in."""
        stream = Stream().fed(11)
        stream.finish(trailers)
        assert stream.asked == ["pause"]
        assert [stream.taken(), stream.taken()] == [11, -1]
        assert stream.asked == ["pause", "resume"]


class TestAbandoned:
    def test_it_holds_nobody_back(self) -> None:
        """What is here and what comes is dropped, and the connection reads on."""
        stream = Stream().fed(11)
        stream.abandon()
        assert stream.asked == ["pause", "resume"]
        stream.fed(1000, 1000)
        assert stream.asked == ["pause", "resume"]
        assert not stream._pieces

    def test_it_was_not_paused(self) -> None:
        """Nothing is resumed that was not held."""
        stream = Stream().fed(1)
        stream.abandon()
        stream.abandon()
        assert stream.asked == []
