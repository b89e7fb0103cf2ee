"""One side of a session, from the handshake on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from buffr.errors import WebSocketFault
from buffr.interaction import FrameKind
from buffr.transport.duplex import Duplex
from buffr.wire.websocket_frames import FrameReader, Passed, close_payload, encode_frame

__all__ = ["FAULT_REASON", "Leg", "ReadingLeg"]

FAULT_REASON = "a fault of the settings"
"""Why a client is told that its session is closed, where ``faults`` say so."""
_MOMENT_S = 1.0


class Leg:
    """Writes and closes; subclasses define what is read.

    ``mask`` returns the masking key of each frame that is sent to an upstream;
    frames to a client are not masked. Data received after ``finish`` is
    dropped, and after ``patience_s`` seconds the duplex is closed; zero closes
    it at once.
    """

    duplex: Duplex

    def __init__(
        self, clock: IReactorTime, patience_s: float, mask: Callable[[], bytes] = bytes
    ) -> None:
        self.lost = False
        self.finished = False
        """Whether nothing more is sent."""
        self._clock = clock
        self._patience_s = patience_s
        self._mask = mask
        self._timer: IDelayedCall | None = None
        self._all_read = False

    def open(self, duplex: Duplex) -> None:
        """Begin: the handshake is over."""
        self.duplex = duplex
        duplex.start(self)

    def received(self, data: bytes) -> None:
        """See ``DuplexUser``."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        if not (self.finished or self.lost):
            self.duplex.write(data)

    def close_frame(self, code: int, reason: str) -> bytes:
        return encode_frame(FrameKind.CLOSE, close_payload(code, reason), key=self._mask())

    def send_close(self, code: int, reason: str) -> None:
        self.write(self.close_frame(code, reason))

    def finish(self) -> None:
        """Close once everything is sent.

        Closing while the peer still sends would cause a reset, and the peer
        would lose data: so our side is closed first, and received data is
        dropped.
        """
        if self.finished or self.lost:
            return
        self.finished = True
        self.duplex.resume_reading()
        if self._all_read or not self.close_sending():
            self.duplex.close()
        self._timer = self._clock.callLater(self._patience_s, self._give_up)

    def close_sending(self) -> bool:
        """Send no more. Returns whether the peer can be notified of that, and may continue."""
        return self.duplex.end()

    def hurry(self) -> None:
        """Wait only for a moment from now on."""
        self._patience_s = min(self._patience_s, _MOMENT_S)
        if self._timer is not None and self._timer.getTime() > self._clock.seconds() + _MOMENT_S:
            self._timer.reset(self._patience_s)

    def _give_up(self) -> None:
        self._timer = None
        self.cut()

    def cut(self) -> None:
        """Close now."""
        self.finished = True
        if not self.lost:
            self.duplex.abort()

    def pause_reading(self) -> None:
        """Stop reading: the destination of the peer's bytes is full."""
        if not self.lost:
            self.duplex.pause_reading()

    def resume_reading(self) -> None:
        if not self.lost:
            self.duplex.resume_reading()

    def pause_sending(self) -> None:
        """See ``DuplexUser``."""

    def resume_sending(self) -> None:
        """See ``DuplexUser``."""

    def ended(self) -> None:
        """See ``DuplexUser``."""
        self._all_read = True
        if self.finished:
            self.duplex.close()
        else:
            self.half_closed()

    def half_closed(self) -> None:
        """The peer sends no more, before the session was over."""
        self.duplex.close()

    def closed(self, reason: Failure) -> None:
        """See ``DuplexUser``."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.gone(reason)

    def gone(self, reason: Failure) -> None:
        """The duplex is closed."""


_AT_ONCE_BYTES = 262144
"""No more than this is judged in one turn of the reactor: deflated bytes may become many."""


class ReadingLeg(Leg):
    """Feeds its reader, and reports which frames pass and which must not.

    It writes to another duplex, which may pause it.
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
        """Whether frames are being read."""
        return True

    @property
    def deaf(self) -> bool:
        """Whether received data is dropped."""
        return self.finished

    def passed(self, batch: Sequence[Passed]) -> None:
        """Take what has been judged."""

    def fault(self, fault: WebSocketFault) -> None:
        """End the session: what follows must not pass."""

    def received(self, data: bytes) -> None:
        if self.deaf:
            return
        if self._feeding is not None or not self.ready:
            self._pending += data
            return
        self._feeding = self.reader.feed(data)
        self._pass_on()

    def begin(self) -> None:
        """Read what was received before it was ready."""
        data, self._pending = self._pending, b""
        if data:
            self.received(data)

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
            self.duplex.pause_reading()
            self._next = self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._next = None
        if self._paused or self.deaf or self.lost:
            return
        if self._feeding is not None:
            self._pass_on()
        if self._feeding is None and not self.deaf:
            self.duplex.resume_reading()
            self.begin()

    def pause_reading(self) -> None:
        self._paused = True
        super().pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        if self._feeding is None:
            super().resume_reading()
        elif self._next is None:
            self._next = self._clock.callLater(0, self._go_on)
