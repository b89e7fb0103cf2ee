"""Bodies on their way from a connection to one reader, with back-pressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport

from buffr.errors import BuffrError
from buffr.message import Headers, Piece

__all__ = ["AnswerBody", "BodyReader", "BodyStream", "IStreamTransport", "Signal", "WholeBody"]


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """A transport as connections need it: it writes, pushes, and can be paused."""


class BodyReader(Protocol):
    """A source of a body, piece by piece."""

    trailers: Headers
    """The trailer section; known once ``read`` has returned ``None``."""

    async def read(self) -> Piece | None:
        """The next piece; ``None`` at the end of a whole body.

        Raises a ``BuffrError`` if the body breaks off.
        """


class AnswerBody(BodyReader, Protocol):
    """The body of an upstream's answer."""

    uncertain: str | None
    """Why the body may be incomplete although it has ended; known at its end."""

    @property
    def ready(self) -> bool:
        """Whether ``read`` returns without waiting."""

    def take_whole(self) -> bytes | None:
        """All of a body that has come at once, in place of reading it; otherwise ``None``."""


class WholeBody:
    """A body of known length that has come at once with its head, as most short ones do."""

    __slots__ = ("_left", "trailers", "uncertain")

    ready = True

    def __init__(self, data: bytes) -> None:
        self.trailers: Headers = ()
        self.uncertain: str | None = None
        self._left = data

    async def read(self) -> Piece | None:
        data = self.take_whole()
        return Piece(data) if data else None

    def take_whole(self) -> bytes:
        data, self._left = self._left, b""
        return data


class Signal:
    """Lets coroutines wait for the next change of something."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    async def wait(self) -> None:
        waiter: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiter)
        await waiter

    def _forget(self, cancelled: Deferred[None]) -> None:
        if cancelled in self._waiting:
            self._waiting.remove(cancelled)

    def notify(self) -> None:
        """Wake everyone who waits now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.called:  # a cancelled one
                    waiter.callback(None)


class BodyStream:
    """Pieces that a connection feeds and one reader takes.

    ``pause`` is called when more than ``high_bytes`` are unread, and
    ``resume`` when the reader has caught up.
    """

    def __init__(
        self, pause: Callable[[], None], resume: Callable[[], None], high_bytes: int = 65536
    ) -> None:
        self.trailers: Headers = ()
        self.uncertain: str | None = None
        """Why the body may be incomplete although it has ended; known at its end."""
        self.ended = False
        """Whether the body has come in full, read or not, or has broken off."""
        self.received_bytes = 0
        """How much of the body has come so far."""
        self.awaited_s = 0.0
        """How long its sender was waited for, as far as somebody counts that."""
        self._pause = pause
        self._resume = resume
        self._high_bytes = high_bytes
        self._pieces: deque[Piece] = deque()
        self._size_bytes = 0
        self.paused = False
        """Whether the reader is behind, so that ``pause`` was called."""
        self._error: BuffrError | None = None
        self._abandoned = False
        self._news = Signal()

    @property
    def ready(self) -> bool:
        """Whether ``read`` returns without waiting."""
        return self.ended or bool(self._pieces)

    def feed(self, pieces: Iterable[Piece]) -> None:
        if self._abandoned:
            return
        before = self._size_bytes
        for piece in pieces:
            self._pieces.append(piece)
            self._size_bytes += len(piece.data)
        self.received_bytes += self._size_bytes - before
        if self._size_bytes > self._high_bytes and not self.paused:
            self.paused = True
            self._pause()
        self._news.notify()

    def finish(self, trailers: Headers = (), uncertain: str | None = None) -> None:
        """The body is complete, as far as is known. ``uncertain`` says why it may not be."""
        if not self.ended:
            self.ended = True
            self.trailers = trailers
            self.uncertain = uncertain
            self._news.notify()

    def fail(self, error: BuffrError) -> None:
        """The body breaks off. What has come can still be read."""
        if not self.ended:
            self.ended = True
            self._error = error
            self._news.notify()

    async def read(self) -> Piece | None:
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.ended:
                return None
            await self._news.wait()
        piece = self._pieces.popleft()
        self._size_bytes -= len(piece.data)
        if self.paused and self._size_bytes <= self._high_bytes // 2:
            self.paused = False
            self._resume()
        return piece

    def take_whole(self) -> bytes | None:
        """Its pieces come one after the other."""
        return None

    def abandon(self) -> None:
        """Nobody will read on: drop what has come and what will come."""
        self._abandoned = True
        self._pieces.clear()
        self._size_bytes = 0
        if self.paused:
            self.paused = False
            self._resume()
