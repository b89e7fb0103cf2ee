"""The player: a recording becomes the answer that it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial import unittest

from buffr.errors import CassetteError, ClientGone
from buffr.interaction import Body, Chunk, HTTPInteraction, RecordedRequest
from buffr.message import Headers, Piece, ResponseHead
from buffr.recording.player import play
from buffr.transport.streams import Signal

TRIAL = unittest.SynchronousTestCase()
HEAD = ResponseHead(200, b"OK", ((b"Transfer-Encoding", b"chunked"),))
TRAILERS: Headers = ((b"X-T", b"1"),)
BODY = b"abcdefghij"


class Taken:
    """A sink that records what it receives, and can be full."""

    def __init__(self, *, full: bool = False) -> None:
        self.given: list[object] = []
        self.full = full
        self.lost = False
        self.room = Signal()

    def inform(self, head: ResponseHead) -> None:
        self.given.append(("inform", head))

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        self.given.append(("answer", head, body, list(sizes), trailers))

    def begin(self, head: ResponseHead) -> None:
        self.given.append(("begin", head))

    def write(self, piece: Piece) -> None:
        self.given.append(piece)

    def flush(self) -> None:
        self.given.append("flush")

    def end(self, trailers: Headers) -> None:
        self.given.append(("end", trailers))

    def abort(self, _: int | None = None) -> None:
        self.given.append("abort")

    async def drain(self) -> None:
        while self.full:
            if self.lost:
                raise ClientGone("gone")
            await self.room.wait()


def recorded(body: Body, *chunks: Chunk) -> HTTPInteraction:
    request = RecordedRequest(b"GET", b"/")
    return HTTPInteraction(request, HEAD, body, chunks, TRAILERS)


def filed(directory: Path, data: bytes = BODY) -> Body:
    path = directory / "body"
    path.write_bytes(data)
    return Body(b"", len(data), path)


class TestAtOnce:
    @pytest.mark.parametrize(
        ("chunks", "sizes"), [((), [10]), ((Chunk(3, 100), Chunk(7, 500)), [3, 7])]
    )
    def test_from_memory(self, chunks: tuple[Chunk, ...], sizes: list[int]) -> None:
        """One call, with the recorded chunks and without their delays."""
        sink = Taken()
        TRIAL.successResultOf(play(recorded(Body.of(BODY), *chunks), sink))
        assert sink.given == [("answer", HEAD, BODY, sizes, TRAILERS)]

    def test_from_a_file(self, tmp_path: Path) -> None:
        """Pieces that announce their chunks, none of them over 64 KiB."""
        sink, size = Taken(), 100_000
        body = filed(tmp_path, b"x" * (size + 5))
        TRIAL.successResultOf(play(recorded(body, Chunk(size), Chunk(5)), sink))
        assert sink.given == [
            ("begin", HEAD),
            Piece(b"x" * 65536, size),
            Piece(b"x" * (size - 65536)),
            Piece(b"xxxxx", 5),
            ("end", TRAILERS),
        ]

    def test_a_slow_client_of_a_file(self, tmp_path: Path) -> None:
        """Nothing is read for a client that takes nothing."""
        sink = Taken(full=True)
        body = filed(tmp_path, b"x" * 200_000)
        playing = Deferred.fromCoroutine(play(recorded(body), sink))
        assert len(sink.given) == 2
        sink.full = False
        sink.room.notify()
        TRIAL.successResultOf(playing)
        assert sink.given[-1] == ("end", TRAILERS)

    def test_a_client_that_leaves(self, tmp_path: Path) -> None:
        """The play stops where it is."""
        sink = Taken(full=True)
        playing = Deferred.fromCoroutine(play(recorded(filed(tmp_path)), sink))
        sink.lost = True
        sink.room.notify()
        TRIAL.failureResultOf(playing, ClientGone)


class TestCadence:
    @pytest.mark.parametrize("in_file", [False, True])
    def test_each_chunk_in_its_time(self, tmp_path: Path, *, in_file: bool) -> None:
        """A chunk waits its recorded delay; the head does not wait for the first one."""
        clock, sink = Clock(), Taken()

        async def sleep(seconds: float) -> None:
            await deferLater(clock, seconds)

        body = filed(tmp_path) if in_file else Body.of(BODY)
        chunks = (Chunk(4, 1500), Chunk(5, 0), Chunk(1, 250))
        playing = Deferred.fromCoroutine(play(recorded(body, *chunks), sink, sleep))
        assert sink.given == [("begin", HEAD), "flush"]
        clock.advance(1.4)
        assert len(sink.given) == 2
        clock.advance(0.1)
        assert sink.given[2:] == [Piece(b"abcd", 4), Piece(b"efghi", 5), "flush"]
        clock.advance(0.25)
        TRIAL.successResultOf(playing)
        assert sink.given[5:] == [Piece(b"j", 1), ("end", TRAILERS)]

    def test_no_body(self) -> None:
        """Head and end, with no piece in between."""

        async def sleep(_: float) -> None:
            raise AssertionError

        sink = Taken()
        TRIAL.successResultOf(play(recorded(Body()), sink, sleep))
        assert sink.given == [("begin", HEAD), ("end", TRAILERS)]


class TestUnreadable:
    def test_no_file(self, tmp_path: Path) -> None:
        """A missing file is known before anything went out."""
        sink = Taken()
        body = Body(b"", 10, tmp_path / "missing")
        TRIAL.failureResultOf(play(recorded(body), sink), CassetteError)
        assert sink.given == []

    def test_a_file_that_is_too_short(self, tmp_path: Path) -> None:
        """The replay is cut off, and never claims to be complete."""
        sink = Taken()
        path = filed(tmp_path).file
        body = Body(b"", 20, path)
        TRIAL.failureResultOf(play(recorded(body), sink), CassetteError)
        assert ("end", TRAILERS) not in sink.given


class TestEditedByHand:
    """People edit bodies in a cassette; the framing has to follow."""

    @pytest.mark.parametrize("body", [b"", b"longer than before"])
    def test_the_length_is_that_of_the_body(self, body: bytes) -> None:
        """A wrong Content-Length would put the next answer out of step."""
        head = ResponseHead(200, b"OK", ((b"X-A", b"1"), (b"content-length", b"5")))
        interaction = HTTPInteraction(RecordedRequest(b"GET", b"/"), head, Body.of(body))
        sink = Taken()
        TRIAL.successResultOf(Deferred.fromCoroutine(play(interaction, sink)))
        (given,) = sink.given
        assert isinstance(given, tuple)
        _, sent, data, sizes, _ = given
        assert sent.headers == ((b"X-A", b"1"), (b"content-length", b"%d" % len(body)))
        assert (data, sizes) == (body, [len(body)])

    def test_the_length_in_an_answer_to_head_stays(self) -> None:
        """It is the length of a body that was never sent."""
        head = ResponseHead(200, b"OK", ((b"Content-Length", b"5"),))
        interaction = HTTPInteraction(RecordedRequest(b"HEAD", b"/"), head)
        sink = Taken()
        TRIAL.successResultOf(Deferred.fromCoroutine(play(interaction, sink)))
        assert sink.given[0] == ("answer", head, b"", [0], ())

    def test_chunks_that_no_longer_fit_become_one(self) -> None:
        """No byte of the new body is lost, and none is made up."""
        interaction = HTTPInteraction(
            RecordedRequest(b"GET", b"/"), HEAD, Body.of(BODY), (Chunk(3), Chunk(4))
        )
        sink = Taken()
        TRIAL.successResultOf(Deferred.fromCoroutine(play(interaction, sink)))
        assert sink.given[0] == ("answer", HEAD, BODY, [len(BODY)], ())
