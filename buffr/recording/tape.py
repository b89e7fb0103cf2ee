"""A body in transit: its pieces in order, their times, and its bytes if they are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import evolve

from buffr.interaction import Body, Chunk, Searched
from buffr.message import Headers, Piece
from buffr.recording.turns import TurnLog
from buffr.transport.spool import Spool

__all__ = ["Tape", "TapeReader"]


class Tape:
    """Pieces written once and read by number, by readers of different speed.

    With a spool the tape is kept: the last ``window_bytes`` are in memory for
    readers that keep up, older pieces are read back. Without a spool a piece
    is available until every reader has ``passed`` it, and so are pieces after
    ``most_kept_bytes``. Times are seconds of a monotonic clock. ``count``
    returns the ``after`` of a chunk that comes now. ``turns`` notes when the
    messages of the body come. ``follow`` is called as a kept tape outgrows its
    window, and after each later piece.
    """

    def __init__(
        self,
        spool: Spool | None,
        started: float,
        window_bytes: int = 262144,
        most_kept_bytes: int | None = None,
        count: Callable[[], int] | None = None,
        turns: TurnLog | None = None,
        follow: Callable[[Spool], None] | None = None,
    ) -> None:
        self.trailers: Headers = ()
        self.uncertain: str | None = None
        """Same as that of the body."""
        self.size_bytes = 0
        self.failure: OSError | None = None
        """Why the tape is no longer kept: its spool has no space."""
        self._spool = spool
        self._window_bytes = window_bytes
        self._most_kept_bytes = most_kept_bytes
        self._outgrown = False
        self._recent: deque[Piece] = deque()
        self._recent_bytes = 0
        self._first_recent = 0
        self._marks: list[tuple[int, int | None, int]] = []
        self._last = started
        self._left: tuple[int, int] | None = None
        self._count = count
        self._counts: list[int] = []
        self._end = 0
        self._follow = follow
        self.searched: Searched | None = None
        """What a search of the body has found out, once it is whole."""
        self._turns = turns
        if turns is not None:
            turns.begun()

    def __len__(self) -> int:
        return len(self._marks)

    @property
    def kept(self) -> bool:
        return self._spool is not None and self.failure is None and not self._outgrown

    @property
    def from_start(self) -> bool:
        """Whether a new reader can still get every piece."""
        return self.kept or self._first_recent == 0

    @property
    def turns(self) -> tuple[int, ...]:
        """As in ``HTTPInteraction``."""
        return () if self._turns is None else self._turns.turns

    def append(self, piece: Piece, now: float) -> None:
        if self._most_kept_bytes is not None:
            self._outgrown |= self.size_bytes + len(piece.data) > self._most_kept_bytes
        spool = self._spool
        if spool is not None and self.failure is None and not self._outgrown:
            try:
                spool.write(piece.data)
            except OSError as error:
                self.failure = error
        self._marks.append((self.size_bytes, piece.chunk, max(0, round((now - self._last) * 1e3))))
        self._last = now
        if self._count is not None:
            self._counts.append(self._count())
        if self._turns is not None:
            self._turns.heard(piece.data)
        self.size_bytes += len(piece.data)
        self._recent.append(piece)
        self._recent_bytes += len(piece.data)
        if self._recent_bytes > self._window_bytes and self.kept:
            while self._recent_bytes > self._window_bytes and len(self._recent) > 1:
                self._drop_oldest()
            if self._follow is not None and self._spool is not None:
                self._follow(self._spool)

    def finish(self, trailers: Headers, uncertain: str | None) -> None:
        """The body ends now."""
        self.trailers, self.uncertain = trailers, uncertain
        if self._count is not None:
            self._end = self._count()
        if self._turns is not None:
            self._turns.over()

    def passed(self, number: int) -> None:
        """Every reader is past the pieces before this number."""
        if not self.kept:
            while self._first_recent < number:
                self._drop_oldest()

    def left(self, number: int, now: float) -> None:
        """The last reader left after so many pieces."""
        self._left = number, max(0, round((now - self._last) * 1e3))

    def cut(self) -> int:
        """Forget the pieces that the last reader did not take; nobody reads any more.

        Returns how long it stayed after its last piece, in milliseconds. That
        is zero if there was no reader, or if more had come.
        """
        number, stayed_ms = self._left or (len(self), 0)
        if number == len(self):
            return stayed_ms
        self.searched = None
        self.size_bytes = self.offset(number)
        del self._marks[number:]
        if self._spool is not None:
            self._spool.cut(self.size_bytes)
        return 0

    def _drop_oldest(self) -> None:
        self._recent_bytes -= len(self._recent.popleft().data)
        self._first_recent += 1

    def offset(self, number: int) -> int:
        """The number of bytes before this piece."""
        return self._marks[number][0] if number < len(self._marks) else self.size_bytes

    def piece(self, number: int) -> Piece:
        if number >= self._first_recent:
            return self._recent[number - self._first_recent]
        assert self._spool is not None
        start, chunk, _ = self._marks[number]
        return Piece(self._spool.read(start, self.offset(number + 1) - start), chunk)

    def read_all(self) -> bytes:
        """All bytes of a kept tape."""
        assert self._spool is not None
        return self._spool.read(0, self.size_bytes)

    def body(self) -> Body:
        """All bytes of a kept tape; in a file they live as long as the tape is open."""
        assert self._spool is not None
        path = self._spool.path
        if path is not None:
            return Body(size_bytes=self.size_bytes, file=path, searched=self.searched)
        return Body.of(self.read_all())

    def chunks(self, *, chunked: bool) -> tuple[Chunk, ...]:
        """The chunks on the wire if the body is ``chunked``, otherwise what arrived at once."""
        chunks: list[Chunk] = []
        inside_ms = 0
        for number, (start, announced, delay_ms) in enumerate(self._marks):
            size = self.offset(number + 1) - start
            if chunked and announced is None and chunks:
                chunks[-1] = evolve(chunks[-1], size_bytes=chunks[-1].size_bytes + size)
                inside_ms += delay_ms
            else:
                after = self._counts[number] if self._counts else 0
                chunks.append(Chunk(size, inside_ms + delay_ms, after))
                inside_ms = 0
        if self._end > max((chunk.after for chunk in chunks), default=0):
            chunks.append(Chunk(0, after=self._end))
        return tuple(chunks)

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
        self._recent.clear()


class TapeReader:
    """Reads a complete, kept tape from its start, in its original framing."""

    def __init__(self, tape: Tape) -> None:
        self.trailers = tape.trailers
        self._tape = tape
        self._next = 0

    async def read(self) -> Piece | None:
        if self._next == len(self._tape):
            return None
        self._next += 1
        return self._tape.piece(self._next - 1)
