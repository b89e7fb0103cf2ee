"""A connection whose frames are judged, a bounded part in each turn of the reactor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from buffr.errors import WebSocketFault
from buffr.exchanges.sessions.leg import Leg
from buffr.wire.websocket_frames import FrameReader, Passed

__all__ = ["ReadingLeg"]

_AT_ONCE_BYTES = 262144
"""More than this is not judged in one turn of the reactor: deflated bytes may become many."""


class ReadingLeg(Leg):
    """Feeds its reader, and says what passes and what must not.

    It pushes into another connection, which may hold it back.
    """

    def __init__(
        self,
        reader: FrameReader,
        clock: IReactorTime,
        patience_s: float,
        mask: Callable[[], bytes] = bytes,
    ) -> None:
        super().__init__(clock, patience_s, mask)
        self.reader = reader
        self._feeding: Iterator[Passed] | None = None
        self._pending = b""
        self._paused = False
        self._next: IDelayedCall | None = None

    @property
    def ready(self) -> bool:
        """Whether frames are read already."""
        return True

    @property
    def deaf(self) -> bool:
        """Whether what comes is dropped."""
        return self.finished

    def passed(self, batch: Sequence[Passed]) -> None:
        """Take what has been judged."""

    def fault(self, fault: WebSocketFault) -> None:
        """End the session: what comes now must not pass."""

    def dataReceived(self, data: bytes) -> None:
        if self.deaf:
            return
        if self._feeding is not None or not self.ready:
            self._pending += data
            return
        self._feeding = self.reader.feed(data)
        self._pass_on()

    def begin(self) -> None:
        """Read what came before it was ready."""
        data, self._pending = self._pending, b""
        if data:
            self.dataReceived(data)

    def _pass_on(self) -> None:
        batch: list[Passed] = []
        room = _AT_ONCE_BYTES
        assert self._feeding is not None
        fault = None
        try:
            for passed in self._feeding:
                batch.append(passed)
                room -= len(passed.event.payload)
                if room < 0:
                    break
            else:
                self._feeding = None
        except WebSocketFault as error:
            self._feeding, fault = None, error
        if batch:
            self.passed(batch)
        if fault is not None:
            self.fault(fault)
        elif self._feeding is not None and not self.deaf:
            self.transport.pauseProducing()
            self._next = self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        if self._paused or self.deaf or self.lost:
            return
        if self._feeding is not None:
            self._pass_on()
        if self._feeding is None and not self.deaf:
            self.transport.resumeProducing()
            self.begin()

    def pauseProducing(self) -> None:
        self._paused = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if self._feeding is None:
            super().resumeProducing()
        elif self._next is None:
            self._next = self._clock.callLater(0, self._go_on)
