"""Flights: one upstream call and its followers, which may be slow, leave, or fail."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from buffr.errors import BodyCutShort, BuffrError, ClientGone, StoreFailed, UpstreamFailed
from buffr.exchanges.flight import Flight
from buffr.message import CHUNKED, UNTIL_CLOSE, Headers, Piece, ResponseHead
from buffr.recording.tape import Tape
from buffr.transport.spool import Spool
from buffr.transport.streams import BodyStream, Signal, WholeBody
from buffr.upstream.connection import Response

TRIAL = unittest.SynchronousTestCase()
HEAD = ResponseHead(200, b"OK", ((b"X-A", b"1"),))
TRAILERS: Headers = ((b"X-T", b"1"),)
LINGER_S = 5.0
UNBEGUN_S = 0.25
BLOCK = b"x" * 65536
AHEAD_BLOCKS = 5
"""So many blocks are taken from the upstream before it is held: one more than 256 KiB."""


class Sink:
    """A client that records what it receives, and can stop reading or leave."""

    def __init__(self, *, full: bool = False) -> None:
        self.begun = 0
        self.data = b""
        self.flushed = 0
        self.informed: list[int] = []
        self.ended: Headers | None = None
        self.aborted = False
        self.reset: int | None = None
        self.full = full
        self.gone = False
        self._room = Signal()

    def inform(self, head: ResponseHead) -> None:
        self.informed.append(head.status)

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        self.begin(head)
        self.data = body
        self.ended = trailers

    def begin(self, head: ResponseHead) -> None:
        assert head is HEAD
        self.begun += 1

    def write(self, piece: Piece) -> None:
        assert self.begun == 1
        assert not self.over()
        self.data += piece.data

    def flush(self) -> None:
        self.flushed += 1

    def end(self, trailers: Headers) -> None:
        assert not self.over()
        self.ended = trailers

    def abort(self, reset: int | None = None) -> None:
        assert not self.over()
        self.reset = reset
        self.aborted = True

    def over(self) -> bool:
        return self.aborted or self.ended is not None

    def seen(self) -> tuple[bytes, Headers | None]:
        """The body as the client has it, and its trailers if it has ended."""
        return self.data, self.ended

    async def drain(self) -> None:
        while self.full:
            if self.gone:
                raise ClientGone("gone")
            await self._room.wait()

    def drained(self, *, gone: bool = False) -> None:
        self.full, self.gone = gone, gone
        self._room.notify()


class FullSpool(Spool):
    """A spool on a disk that has room for so many bytes."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__(1 << 24, Path("/missing"))
        self._room_bytes = room_bytes

    def write(self, data: bytes) -> None:
        if self.size_bytes + len(data) > self._room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(data)


class Call:
    """A call whose upstream and store are played by the test.

    ``room`` is the space on the disk; with ``None`` nothing is kept. The
    upstream is asked at once unless ``departed`` says otherwise.
    """

    departed = True

    def __init__(self, room: int | None) -> None:
        self.opened: Deferred[Response] = Deferred(self._give_up)
        self.given_up = False
        self.stream = BodyStream(self._pause, self._resume)
        self.held = False
        self.aborted = False
        self.kept: list[tuple[bytes | None, str | None]] = []
        self.keeping: Deferred[None] | None = None
        self.closed = False
        self._room = room
        self._tape: Tape | None = None

    def _pause(self) -> None:
        self.held = True

    def _resume(self) -> None:
        self.held = False

    def _give_up(self, _: Deferred[Response]) -> None:
        self.given_up = True

    def _abort(self) -> None:
        self.aborted = True

    async def open(self, inform: Callable[[ResponseHead], None]) -> Response:
        self.inform = inform
        return await self.opened

    def tape(self, head: ResponseHead) -> Tape:
        self._tape = Tape(None if self._room is None else FullSpool(self._room), 0.0)
        return self._tape

    async def keep(self, head: ResponseHead, tape: Tape, truncated: str | None) -> None:
        self.kept.append((tape.read_all() if tape.kept else None, truncated))
        if self.keeping is not None:
            await self.keeping

    def close(self) -> None:
        self.closed = True

    def answers(self, length: int) -> None:
        self.opened.callback(Response(HEAD, length, self.stream, self._abort))

    def answers_at_once(self, body: bytes) -> None:
        self.opened.callback(Response(HEAD, len(body), WholeBody(body), self._abort))

    def sends(self, *parts: bytes) -> None:
        for part in parts:
            self.stream.feed([Piece(part)])


class Bench:
    """A flight, its call and its clock."""

    def __init__(self, room: int | None = 1 << 24) -> None:
        self.clock = Clock()
        self.call = Call(room)
        self.ended: list[Flight[Call]] = []
        self.flight = Flight(self.clock, self.call, LINGER_S, self.ended.append)

    def follow(self, sink: Sink) -> Deferred[tuple[ResponseHead, str | None]]:
        return Deferred.fromCoroutine(self.flight.follow(sink))

    def over(self) -> bool:
        """Whether nothing is left: no call, no spool, no timer."""
        done = self.ended == [self.flight] and self.call.closed and not self.flight.joinable
        return done and self.clock.getDelayedCalls() == []


def failing(following: Deferred[tuple[ResponseHead, str | None]]) -> BuffrError:
    error = TRIAL.failureResultOf(following, BuffrError).value
    assert isinstance(error, BuffrError)
    return error


class TestOne:
    @pytest.mark.parametrize("room", [None, 1 << 24])
    def test_pieces_as_they_come(self, room: int | None) -> None:
        """Each is sent at once; when nothing more has arrived, the rest is flushed."""
        bench, sink = Bench(room), Sink()
        following = bench.follow(sink)
        bench.call.answers(CHUNKED)
        assert (sink.begun, sink.flushed) == (1, 1)
        bench.call.sends(b"a", b"b")
        assert (sink.data, sink.flushed) == (b"ab", 3)
        bench.call.stream.finish(TRAILERS)
        assert TRIAL.successResultOf(following) == (HEAD, None)
        assert sink.ended == TRAILERS
        assert bench.over()

    def test_interim_answers(self) -> None:
        """They are passed on before the answer comes."""
        bench, sink = Bench(), Sink()
        bench.follow(sink)
        bench.call.inform(ResponseHead(103, b"", ()))
        assert sink.informed == [103]
        assert sink.begun == 0

    @pytest.mark.parametrize("error", [UpstreamFailed("refused"), ZeroDivisionError("ours")])
    def test_no_answer(self, error: Exception) -> None:
        """What kept it from coming reaches everybody, also a fault of our own."""
        bench, sinks = Bench(), [Sink(), Sink()]
        following = [bench.follow(sink) for sink in sinks]
        bench.call.opened.errback(error)
        late = bench.follow(Sink())
        for each in (*following, late):
            assert (failing(each) is error) is isinstance(error, BuffrError)
        assert [sink.begun for sink in sinks] == [0, 0]
        assert bench.over()


class TestKeeping:
    """An answer that a client has in full is a recording that cannot be lost."""

    @pytest.mark.parametrize(
        ("length", "before"), [(4, b"ab"), (CHUNKED, b"abcd"), (UNTIL_CLOSE, b"abcd")]
    )
    def test_the_end_is_withheld(self, length: int, before: bytes) -> None:
        """The last piece of a known length, or else the end, is sent once the recording is kept."""
        bench, sink = Bench(), Sink()
        bench.call.keeping = Deferred()
        following = bench.follow(sink)
        bench.call.answers(length)
        bench.call.sends(b"ab", b"cd")
        bench.call.stream.finish()
        assert bench.call.kept == [(b"abcd", None)]
        assert sink.seen() == (before, None)
        bench.call.keeping.callback(None)
        assert sink.seen() == (b"abcd", ())
        TRIAL.successResultOf(following)
        assert bench.over()

    def test_a_large_last_piece_holds_nobody(self) -> None:
        """However large it is, the flight does not wait for a client to take what it withholds."""
        bench, sink = Bench(), Sink()
        following = bench.follow(sink)
        last = BLOCK * (AHEAD_BLOCKS + 1)
        bench.call.answers(2 + len(last))
        bench.call.sends(b"ab", last)
        bench.call.stream.finish()
        TRIAL.successResultOf(following)
        assert sink.seen() == (b"ab" + last, ())
        assert bench.over()

    @pytest.mark.parametrize("body", [b"", b"abcd"])
    def test_what_has_come_at_once_goes_out_at_once(self, body: bytes) -> None:
        """To everybody who waits, and once it is kept."""
        bench, sinks = Bench(), [Sink(), Sink()]
        bench.call.keeping = Deferred()
        following = [bench.follow(sink) for sink in sinks]
        bench.call.answers_at_once(body)
        assert bench.call.kept == [(body, None)]
        late = Sink()
        following.append(bench.follow(late))
        assert [sink.seen() for sink in (*sinks, late)] == [(b"", None)] * 3
        bench.call.keeping.callback(None)
        for each, sink in zip(following, (*sinks, late), strict=True):
            assert TRIAL.successResultOf(each) == (HEAD, None)
            assert sink.seen() == (body, ())
        assert bench.over()

    def test_no_body(self) -> None:
        """Then even the head waits."""
        bench, sink = Bench(), Sink()
        bench.call.keeping = Deferred()
        bench.follow(sink)
        bench.call.answers(0)
        bench.call.stream.finish()
        assert sink.begun == 0
        bench.call.keeping.callback(None)
        assert (sink.begun, sink.ended) == (1, ())

    def test_nothing_is_withheld_without_a_recording(self) -> None:
        """What is not kept is sent as it arrives."""
        bench, sink = Bench(room=None), Sink()
        bench.follow(sink)
        bench.call.answers(4)
        bench.call.sends(b"ab", b"cd")
        assert sink.data == b"abcd"

    @pytest.mark.parametrize("error", [StoreFailed("full"), ZeroDivisionError("ours")])
    def test_it_cannot_be_kept(self, error: Exception) -> None:
        """The answer is complete anyway."""
        bench, sink = Bench(), Sink()
        bench.call.keeping = Deferred()
        following = bench.follow(sink)
        bench.call.answers(2)
        bench.call.sends(b"ab")
        bench.call.stream.finish()
        bench.call.keeping.errback(error)
        assert (sink.data, sink.ended) == (b"ab", ())
        TRIAL.successResultOf(following)
        assert bench.over()

    def test_a_client_that_leaves_then(self) -> None:
        """The recording is finished without it."""
        bench, sink = Bench(), Sink()
        bench.call.keeping = Deferred()
        following = bench.follow(sink)
        bench.call.answers(2)
        bench.call.sends(b"ab")
        bench.call.stream.finish()
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        assert not bench.call.closed
        bench.call.keeping.callback(None)
        assert bench.over()


class TestSeveral:
    def test_a_late_one_has_the_beginning(self) -> None:
        """Whoever joins has every piece, in order, and then the same end."""
        bench, first, late = Bench(), Sink(), Sink()
        bench.follow(first)
        bench.call.answers(CHUNKED)
        bench.call.sends(b"a", b"b")
        assert bench.flight.joinable
        bench.follow(late)
        assert late.data == b"ab"
        bench.call.sends(b"c")
        bench.call.stream.finish(TRAILERS)
        assert first.data == late.data == b"abc"
        assert first.ended == late.ended == TRAILERS
        assert len(bench.call.kept) == 1

    def test_one_that_comes_while_it_is_kept(self) -> None:
        """It is not too late yet."""
        bench, late = Bench(), Sink()
        bench.call.keeping = Deferred()
        bench.follow(Sink())
        bench.call.answers(2)
        bench.call.sends(b"ab")
        bench.call.stream.finish()
        assert bench.flight.joinable
        bench.follow(late)
        bench.call.keeping.callback(None)
        assert (late.data, late.ended) == (b"ab", ())

    def test_a_flight_without_its_beginning_cannot_be_joined(self) -> None:
        """Without a recording the first pieces are gone when all have passed them."""
        bench = Bench(room=None)
        bench.follow(Sink())
        assert bench.flight.joinable
        bench.call.answers(CHUNKED)
        assert bench.flight.joinable
        bench.call.sends(b"a")
        assert not bench.flight.joinable

    def test_a_slow_follower_holds_up_no_one(self) -> None:
        """The fast one and the upstream continue; the slow one reads back what it missed."""
        bench, fast, slow = Bench(), Sink(), Sink(full=True)
        bench.follow(fast)
        following = bench.follow(slow)
        bench.call.answers(CHUNKED)
        for number in range(30):
            bench.call.sends(bytes([number]) * 65536)
            assert not bench.call.held
        assert len(fast.data) == 30 * 65536
        assert len(slow.data) == 65536
        bench.call.stream.finish()
        assert fast.ended == ()
        assert not bench.call.closed
        slow.drained()
        assert slow.data == fast.data
        TRIAL.successResultOf(following)
        assert bench.over()

    def test_when_all_are_slow_the_upstream_waits(self) -> None:
        """It is held some pieces ahead, and continues with the first that reads."""
        bench, sinks = Bench(), [Sink(full=True), Sink(full=True)]
        for sink in sinks:
            bench.follow(sink)
        bench.call.answers(CHUNKED)
        for _ in range(AHEAD_BLOCKS + 3):
            bench.call.sends(BLOCK)
        held = [bench.call.held]
        sinks[1].drained()
        assert [*held, bench.call.held] == [True, False]
        assert len(sinks[1].data) == (AHEAD_BLOCKS + 3) * 65536
        assert len(sinks[0].data) == 65536

    def test_the_fast_one_leaves(self) -> None:
        """Then the slow one sets the pace."""
        bench, slow = Bench(), Sink(full=True)
        fast = bench.follow(Sink())
        bench.follow(slow)
        bench.call.answers(CHUNKED)
        bench.call.sends(BLOCK)
        fast.cancel()
        TRIAL.failureResultOf(fast, CancelledError)
        for _ in range(AHEAD_BLOCKS + 3):
            bench.call.sends(BLOCK)
        assert bench.call.held

    def test_a_slow_one_leaves(self) -> None:
        """It holds up no one, and the call is released with the last reader."""
        bench, slow = Bench(), Sink(full=True)
        bench.follow(Sink())
        following = bench.follow(slow)
        bench.call.answers(CHUNKED)
        bench.call.sends(b"a", b"b")
        bench.call.stream.finish()
        slow.drained(gone=True)
        assert isinstance(failing(following), ClientGone)
        assert bench.over()

    def test_without_a_recording_the_slowest_decides(self) -> None:
        """What is not kept is only in memory, so no more than that is read."""
        bench, sink = Bench(room=None), Sink(full=True)
        bench.follow(sink)
        bench.call.answers(CHUNKED)
        for _ in range(AHEAD_BLOCKS + 3):
            bench.call.sends(BLOCK)
        held = [bench.call.held]
        sink.drained()
        assert [*held, bench.call.held] == [True, False]
        assert len(sink.data) == (AHEAD_BLOCKS + 3) * 65536


class TestTruncated:
    @pytest.mark.parametrize("length", [9, CHUNKED, UNTIL_CLOSE])
    def test_all_are_aborted(self, length: int) -> None:
        """They get what has arrived, and see that it is incomplete; it is kept as truncated."""
        bench, sinks = Bench(), [Sink(), Sink()]
        following = [bench.follow(sink) for sink in sinks]
        bench.call.answers(length)
        bench.call.sends(b"ab", b"cd")
        bench.call.stream.fail(BodyCutShort("cut", reset=8))
        for sink, each in zip(sinks, following, strict=True):
            assert (sink.data, sink.aborted, sink.ended) == (b"abcd", True, None)
            assert sink.reset == 8
            assert TRIAL.successResultOf(each) == (HEAD, "cut")
        assert bench.call.kept == [(b"abcd", "cut")]
        assert bench.over()

    def test_nobody_joins_it(self) -> None:
        """While a truncated answer is being kept, the next request starts a new call."""
        bench = Bench()
        bench.call.keeping = Deferred()
        bench.follow(Sink())
        bench.call.answers(9)
        bench.call.stream.fail(BodyCutShort("cut"))
        assert bench.ended == []
        assert not bench.flight.joinable
        bench.call.keeping.callback(None)
        assert bench.over()

    def test_by_a_fault_of_our_own(self) -> None:
        """No answer passes for whole because something unforeseen broke it."""
        bench, sink = Bench(), Sink()

        async def read() -> Piece | None:
            raise ZeroDivisionError

        bench.call.stream.read = read  # type: ignore[method-assign]
        bench.follow(sink)
        bench.call.answers(CHUNKED)
        assert (sink.aborted, sink.ended) == (True, None)
        assert bench.over()


class TestFullDisk:
    @pytest.mark.parametrize("length", [20 * 65536, CHUNKED])
    @pytest.mark.parametrize("room", [0, 65536, 10 * 65536])
    def test_it_breaks_no_answer(self, length: int, room: int) -> None:
        """Fast and slow clients get the whole answer; what could not be kept is not."""
        bench, fast, slow = Bench(room), Sink(), Sink(full=True)
        bench.follow(fast)
        following = bench.follow(slow)
        bench.call.answers(length)
        blocks = [bytes([number]) * 65536 for number in range(20)]
        bench.call.sends(*blocks)
        slow.drained()
        bench.call.stream.finish()
        assert fast.data == slow.data == b"".join(blocks)
        assert fast.ended == slow.ended == ()
        TRIAL.successResultOf(following)
        assert bench.call.kept == [(None, None)]
        assert bench.over()

    def test_it_is_not_joined(self) -> None:
        """Nobody can have the beginning any more."""
        bench = Bench(room=0)
        bench.follow(Sink())
        bench.call.answers(CHUNKED)
        bench.call.sends(b"a")
        assert not bench.flight.joinable

    def test_the_slow_one_sets_the_pace_from_then_on(self) -> None:
        """Memory is all that is left."""
        bench, slow = Bench(room=65536), Sink(full=True)
        bench.follow(Sink())
        bench.follow(slow)
        bench.call.answers(CHUNKED)
        for _ in range(AHEAD_BLOCKS + 3):
            bench.call.sends(BLOCK)
        held = [bench.call.held]
        slow.drained()
        assert [*held, bench.call.held] == [True, False]


class TestLeaving:
    def test_before_the_head(self) -> None:
        """The upstream is given up soon after the last client: there is nothing to keep yet."""
        bench = Bench()
        following = bench.follow(Sink())
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.clock.advance(UNBEGUN_S / 2)
        assert bench.flight.joinable
        bench.clock.advance(UNBEGUN_S / 2)
        assert bench.call.given_up
        assert bench.call.kept == []
        assert bench.over()

    def test_before_the_body(self) -> None:
        """Its first byte makes it worth a wait."""
        bench = Bench()
        following = bench.follow(Sink())
        bench.call.answers(CHUNKED)
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.clock.advance(UNBEGUN_S / 2)
        bench.call.sends(b"ab")
        bench.clock.advance(LINGER_S - UNBEGUN_S)
        assert bench.call.kept == []
        bench.clock.advance(UNBEGUN_S)
        assert bench.call.kept == [(b"ab", "every client left")]
        assert bench.over()

    def test_before_the_upstream_was_asked(self) -> None:
        """Whoever waits for a turn has nothing to lose, and others wait for it."""
        bench = Bench()
        bench.call.departed = False
        following = bench.follow(Sink())
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.clock.advance(0)
        assert bench.call.given_up
        assert bench.over()

    def test_inside_the_body(self) -> None:
        """What came so far is kept as truncated."""
        bench = Bench()
        following = bench.follow(Sink())
        bench.call.answers(CHUNKED)
        bench.call.sends(b"ab")
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.call.sends(b"cd")
        bench.clock.advance(LINGER_S)
        assert bench.call.kept == [(b"abcd", "every client left")]
        assert bench.call.aborted
        assert bench.over()

    def test_the_answer_ends_meanwhile(self) -> None:
        """It is whole then, and kept as such."""
        bench = Bench()
        following = bench.follow(Sink())
        bench.call.answers(2)
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.call.sends(b"ab")
        bench.call.stream.finish()
        assert bench.call.kept == [(b"ab", None)]
        assert bench.over()

    def test_another_one_comes_meanwhile(self) -> None:
        """The upstream continues for it."""
        bench, late = Bench(), Sink()
        following = bench.follow(Sink())
        bench.call.answers(CHUNKED)
        bench.call.sends(b"a")
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.clock.advance(LINGER_S - 1)
        bench.follow(late)
        bench.clock.advance(100)
        bench.call.sends(b"b")
        bench.call.stream.finish()
        assert (late.data, late.ended) == (b"ab", ())

    @pytest.mark.parametrize("before_the_head", [False, True])
    def test_when_nothing_is_kept(self, *, before_the_head: bool) -> None:
        """Nobody waits for a client that could have nothing: the upstream is given up at once."""
        bench = Bench(room=None)
        following = bench.follow(Sink())
        if before_the_head:
            following.cancel()
            bench.call.answers(CHUNKED)
        else:
            bench.call.answers(CHUNKED)
            following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.call.sends(b"a")
        bench.clock.advance(0)
        assert bench.call.aborted
        assert bench.over()

    def test_one_of_several(self) -> None:
        """The others go on."""
        bench, other = Bench(), Sink()
        following = bench.follow(Sink())
        bench.follow(other)
        bench.call.answers(CHUNKED)
        following.cancel()
        TRIAL.failureResultOf(following, CancelledError)
        bench.clock.advance(100)
        bench.call.sends(b"ab")
        bench.call.stream.finish()
        assert (other.data, other.ended) == (b"ab", ())

    def test_a_slow_one_that_was_the_last(self) -> None:
        """A paused upstream continues for the recording, until it is given up."""
        bench, slow = Bench(), Sink(full=True)
        following = bench.follow(slow)
        bench.call.answers(CHUNKED)
        for _ in range(AHEAD_BLOCKS + 3):
            bench.call.sends(BLOCK)
        slow.drained(gone=True)
        assert isinstance(failing(following), ClientGone)
        assert not bench.call.held
        bench.clock.advance(LINGER_S)
        assert len(bench.call.kept) == 1
        assert bench.over()


class TestGivenUp:
    """When the service stops, every flight ends, wherever it is."""

    @pytest.mark.parametrize("stage", ["asking", "streaming", "held", "keeping", "over"])
    @pytest.mark.parametrize("followed", [False, True])
    def test_at_any_stage(self, stage: str, *, followed: bool) -> None:
        """It ends once what arrived is kept; followers learn of it."""
        bench, sink = Bench(), Sink(full=stage == "held")
        bench.call.keeping = None if stage == "over" else Deferred()
        following = bench.follow(sink)
        if stage != "asking":
            bench.call.answers(CHUNKED)
            bench.call.sends(*[BLOCK] * (AHEAD_BLOCKS + 3))
        if stage in ("keeping", "over"):
            bench.call.stream.finish()
        if not followed:
            following.cancel()
        bench.flight.give_up()
        ended = Deferred.fromCoroutine(bench.flight.ended())
        if bench.call.keeping is not None:
            bench.call.keeping.callback(None)
        TRIAL.successResultOf(ended)
        sink.drained()
        assert following.called
        following.addErrback(lambda _: None)
        assert bench.over()
        whole = stage in ("keeping", "over")
        assert [why is None for _, why in bench.call.kept] == ([] if stage == "asking" else [whole])

    def test_twice(self) -> None:
        """Giving up again changes nothing."""
        bench = Bench()
        bench.flight.give_up()
        bench.flight.give_up()
        assert bench.over()


class Play:
    """Events of any kind in any order, as far as each is possible."""

    ACTS = ("join", "full", "drained", "leave", "wait", "head", "piece", "end", "cut")

    def __init__(self, room: int | None, length: int) -> None:
        self.bench = Bench(room)
        self.length = length
        self.sinks: list[Sink] = []
        self.following: list[Deferred[tuple[ResponseHead, str | None]]] = []
        self.sent = b""
        self.headed = False
        self.whole = False

    def act(self, name: str) -> None:
        of_upstream = name in ("head", "piece", "end", "cut")
        if of_upstream and (self.bench.ended or self.bench.call.stream.ended):
            return
        if (name == "head") is not self.headed or not of_upstream:
            getattr(self, name)()

    def join(self) -> None:
        if self.bench.flight.joinable:
            self.sinks.append(Sink())
            self.following.append(self.bench.follow(self.sinks[-1]))

    def full(self) -> None:
        for sink in self.sinks[-1:]:
            sink.full = True

    def drained(self) -> None:
        for sink in self.sinks[-1:]:
            sink.drained()

    def leave(self) -> None:
        for each in self.following[:1]:
            each.cancel()

    def wait(self) -> None:
        self.bench.clock.advance(LINGER_S / 2)

    def head(self) -> None:
        self.headed = True
        self.bench.call.answers(self.length)

    def piece(self) -> None:
        if len(self.sent) < 8:
            self.sent += b"ab"
            self.bench.call.sends(b"ab")

    def end(self) -> None:
        if self.length in (len(self.sent), CHUNKED, UNTIL_CLOSE):
            self.whole = True
            self.bench.call.stream.finish()

    def cut(self) -> None:
        self.bench.call.stream.fail(BodyCutShort("cut"))


class TestAnyHistory:
    @given(
        st.sampled_from([None, 0, 3, 1 << 24]),
        st.sampled_from([8, CHUNKED, UNTIL_CLOSE]),
        st.lists(st.sampled_from(Play.ACTS), max_size=25),
    )
    def test_every_client_ends_and_learns_the_truth(
        self, room: int | None, length: int, history: list[str]
    ) -> None:
        """In any order of events: all that stay get the same bytes, and a truthful end."""
        play = Play(room, length)
        for name in history:
            play.act(name)
        play.bench.flight.give_up()
        for sink in play.sinks:
            sink.drained()
        assert play.bench.over()
        for sink, each in zip(play.sinks, play.following, strict=True):
            assert each.called
            each.addErrback(lambda _: None)
            assert play.sent.startswith(sink.data)
            assert sink.ended is None or (play.whole and sink.data == play.sent)
        for data, why in play.bench.call.kept:
            assert data in (None, play.sent)
            assert (why is None) is play.whole
