"""Bodies on their way from a connection to one reader, with back-pressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport

from buffr.errors import BuffrError
from buffr.message import Headers, Piece

__all__ = ["BodyReader", "BodyStream", "IStreamTransport", "Signal"]


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """What the connections of both sides ask of a transport: to write, to push and to hold back."""


class BodyReader(Protocol):
    """Where a body is read from, piece by piece."""

    trailers: Headers
    """The trailer section; known once ``read`` has returned ``None``."""

    async def read(self) -> Piece | None:
        """The next piece; ``None`` at the end of a whole body.

        Raises a ``BuffrError`` when the body breaks off.
        """


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

    When more than ``high_bytes`` lie here unread, ``pause`` is called, and
    ``resume`` when the reader has caught up.
    """

    def __init__(
        self, pause: Callable[[], None], resume: Callable[[], None], high_bytes: int = 65536
    ) -> None:
        self.trailers: Headers = ()
        self.uncertain: str | None = None
        """Why its end may not be that of the whole body; known at its end."""
        self.ended = False
        """Whether the body is all here, read or not, or broken."""
        self._pause = pause
        self._resume = resume
        self._high_bytes = high_bytes
        self._pieces: deque[Piece] = deque()
        self._size_bytes = 0
        self.paused = False
        """Whether the reader is behind, so that ``pause`` holds."""
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
        for piece in pieces:
            self._pieces.append(piece)
            self._size_bytes += len(piece.data)
        if self._size_bytes > self._high_bytes and not self.paused:
            self.paused = True
            self._pause()
        self._news.notify()

    def finish(self, trailers: Headers = (), uncertain: str | None = None) -> None:
        """The body is whole, as far as can be told: ``uncertain`` says what speaks against it."""
        if not self.ended:
            self.ended = True
            self.trailers = trailers
            self.uncertain = uncertain
            self._news.notify()

    def fail(self, error: BuffrError) -> None:
        """The body breaks off here. What came before can still be read."""
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

    def abandon(self) -> None:
        """Nobody will read on: drop what is here and what comes."""
        self._abandoned = True
        self._pieces.clear()
        self._size_bytes = 0
        if self.paused:
            self.paused = False
            self._resume()
