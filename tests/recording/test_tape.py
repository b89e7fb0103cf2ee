"""The tape: pieces in order, kept or not, for readers of any speed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from buffr.errors import BodyCutShort
from buffr.interaction import Body, Chunk
from buffr.message import Headers, Piece
from buffr.recording.http import TeeReader
from buffr.recording.tape import Tape, TapeReader
from buffr.transport.spool import Spool
from buffr.transport.streams import BodyReader, BodyStream

TRIAL = unittest.SynchronousTestCase()
TRAILERS: Headers = ((b"X-T", b"1"),)
PIECES = [Piece(b"ab", 5), Piece(b"cde"), Piece(b"f", 1), Piece(b"ghij", 4)]
LISTS = st.lists(st.builds(Piece, st.binary(min_size=1, max_size=9), st.integers(1, 9) | st.none()))


class FullSpool(Spool):
    """A spool on a disk that has room for so many bytes."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__(1 << 20, Path("/missing"))
        self._room_bytes = room_bytes

    def write(self, data: bytes) -> None:
        if self.size_bytes + len(data) > self._room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(data)


def kept(window_bytes: int = 1 << 18) -> Tape:
    return Tape(Spool(1 << 20, Path("/missing")), 0.0, window_bytes)


def filled(tape: Tape, pieces: list[Piece]) -> Tape:
    for piece in pieces:
        tape.append(piece, 0.0)
    return tape


def read_all(reader: BodyReader) -> list[Piece]:
    pieces: list[Piece] = []
    while (piece := TRIAL.successResultOf(reader.read())) is not None:
        pieces.append(piece)
    return pieces


class TestKept:
    @given(LISTS, st.integers(0, 30))
    def test_every_piece_at_any_time(self, pieces: list[Piece], window_bytes: int) -> None:
        """Inside the window and before it, each piece reads as it was written."""
        tape = filled(kept(window_bytes), pieces)
        assert [tape.piece(number) for number in range(len(tape))] == pieces
        assert [tape.piece(number) for number in reversed(range(len(tape)))] == pieces[::-1]
        assert tape.from_start
        assert tape.read_all() == b"".join(piece.data for piece in pieces)

    @given(LISTS, st.integers(0, 30))
    def test_the_window_bounds_memory(self, pieces: list[Piece], window_bytes: int) -> None:
        """Beside the newest piece no more than the window is held twice."""
        tape = filled(kept(window_bytes), pieces)
        assert sum(len(piece.data) for piece in list(tape._recent)[:-1]) <= window_bytes

    def test_passing_drops_nothing(self) -> None:
        """A late reader still starts from the first piece."""
        tape = filled(kept(), PIECES)
        tape.passed(4)
        assert tape.piece(0) == PIECES[0]
        assert tape.from_start

    def test_offsets(self) -> None:
        """The number of bytes before a piece; after the last one, all."""
        tape = filled(kept(), PIECES)
        assert [tape.offset(number) for number in range(6)] == [0, 2, 5, 6, 10, 10]

    def test_body_in_memory_and_in_a_file(self, tmp_path: Path) -> None:
        """A short body is bytes, a long one a file that lives as long as the tape."""
        assert filled(kept(), PIECES).body() == Body.of(b"abcdefghij")
        tape = filled(Tape(Spool(5, tmp_path), 0.0), PIECES)
        body = tape.body()
        assert (body.data, body.size_bytes) == (b"", 10)
        assert body.file is not None
        assert body.file.read_bytes() == b"abcdefghij"
        tape.close()
        assert not body.file.exists()


class TestUnkept:
    def test_a_piece_stays_until_all_have_passed_it(self) -> None:
        """Without a spool memory holds what a reader still needs, and no more."""
        tape = filled(Tape(None, 0.0), PIECES)
        tape.passed(2)
        assert not tape.from_start
        assert [tape.piece(2), tape.piece(3)] == PIECES[2:]
        assert list(tape._recent) == PIECES[2:]
        tape.passed(1)
        assert list(tape._recent) == PIECES[2:]

    def test_no_window(self) -> None:
        """What was not passed is not dropped, however much it is."""
        tape = filled(Tape(None, 0.0, window_bytes=1), PIECES)
        assert tape.from_start
        assert [tape.piece(number) for number in range(4)] == PIECES


class TestFailing:
    @given(LISTS, st.integers(0, 60), st.integers(0, 30))
    def test_no_piece_is_lost(self, pieces: list[Piece], room: int, window_bytes: int) -> None:
        """When the disk is full every reader still has every piece."""
        tape = filled(Tape(FullSpool(room), 0.0, window_bytes), pieces)
        fits = sum(len(piece.data) for piece in pieces) <= room
        assert tape.kept is fits
        assert (tape.failure is None) is fits
        for number, piece in enumerate(pieces):
            assert tape.piece(number) == piece
            tape.passed(number + 1)

    def test_it_reports_why(self) -> None:
        """The failure is the platform's, and later pieces are not tried."""
        tape = filled(Tape(FullSpool(3), 0.0), PIECES)
        assert tape.failure is not None
        assert tape.failure.errno == errno.ENOSPC
        assert tape._spool is not None
        assert tape._spool.size_bytes == 2

    def test_it_is_not_kept_from_then_on(self) -> None:
        """What all have passed is dropped, and no reader can start any more."""
        tape = filled(Tape(FullSpool(3), 0.0), PIECES)
        tape.passed(3)
        assert not tape.from_start
        assert list(tape._recent) == PIECES[3:]


class TestChunks:
    def test_in_time(self) -> None:
        """Each piece is a chunk with its delay: since the start, then since the one before."""
        tape = Tape(None, 10.0)
        for now, piece in zip((10.0, 10.25, 10.25, 12.0), PIECES, strict=True):
            tape.append(piece, now)
        times = [(chunk.size_bytes, chunk.delay_ms) for chunk in tape.chunks(chunked=False)]
        assert times == [(2, 0), (3, 250), (1, 0), (4, 1750)]

    def test_on_the_wire(self) -> None:
        """Pieces of one chunk are one; delays count from the beginning of the chunk before."""
        tape = Tape(None, 0.0)
        for now, piece in enumerate(PIECES):
            tape.append(piece, float(now))
        assert tape.chunks(chunked=True) == (Chunk(5, 0), Chunk(1, 2000), Chunk(4, 1000))

    def test_a_clock_that_is_set_back(self) -> None:
        """No delay is negative."""
        tape = Tape(None, 10.0)
        tape.append(PIECES[0], 9.0)
        assert tape.chunks(chunked=False) == (Chunk(2, 0),)


class TestReaders:
    @given(LISTS)
    def test_tape_reader(self, pieces: list[Piece]) -> None:
        """A finished tape reads like the body that it was, and ends for good."""
        tape = filled(kept(window_bytes=4), pieces)
        tape.trailers = TRAILERS
        reader = TapeReader(tape)
        assert read_all(reader) == pieces
        assert read_all(reader) == []
        assert reader.trailers == TRAILERS

    def test_tee(self) -> None:
        """What passes is kept, with its framing and trailers."""
        stream, tape = BodyStream(lambda: None, lambda: None), kept()
        stream.feed(PIECES)
        stream.finish(TRAILERS)
        tee = TeeReader(stream, tape)
        assert read_all(tee) == PIECES
        assert tee.trailers == tape.trailers == TRAILERS
        assert read_all(TapeReader(tape)) == PIECES

    def test_a_body_that_breaks_under_the_tee(self) -> None:
        """The break passes too, after what arrived."""
        stream, tape = BodyStream(lambda: None, lambda: None), kept()
        stream.feed(PIECES[:1])
        stream.fail(BodyCutShort("cut"))
        tee = TeeReader(stream, tape)
        TRIAL.successResultOf(tee.read())
        TRIAL.failureResultOf(tee.read(), BodyCutShort)
        assert tape.read_all() == b"ab"

    @pytest.mark.parametrize("room", [0, 3, 100])
    def test_a_full_disk_does_not_stop_the_tee(self, room: int) -> None:
        """The upstream gets the body although it cannot be kept."""
        stream = BodyStream(lambda: None, lambda: None)
        stream.feed(PIECES)
        stream.finish()
        assert read_all(TeeReader(stream, Tape(FullSpool(room), 0.0))) == PIECES


class TestCut:
    """What the last reader did not take is forgotten."""

    @pytest.mark.parametrize("memory_bytes", [0, 100])
    @pytest.mark.parametrize(("number", "left"), [(0, b""), (1, b"ab"), (2, b"abcd")])
    def test_at_a_piece(self, tmp_path: Path, memory_bytes: int, number: int, left: bytes) -> None:
        tape = Tape(Spool(memory_bytes, tmp_path), 0.0)
        tape.append(Piece(b"ab"), 1.0)
        tape.append(Piece(b"cd"), 2.0)
        tape.left(number, 2.5)
        stayed_ms = tape.cut()
        assert stayed_ms == (500 if number == 2 else 0)
        assert tape.read_all() == left
        assert sum(chunk.size_bytes for chunk in tape.chunks(chunked=False)) == len(left)
        body = tape.body()
        assert body.size_bytes == len(left)
        assert body.file is None or body.file.read_bytes() == left

    def test_nobody_has_left(self) -> None:
        tape = Tape(Spool(100, None), 0.0)
        tape.append(Piece(b"ab"), 1.0)
        assert tape.cut() == 0
        assert tape.read_all() == b"ab"
