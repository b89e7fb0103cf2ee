"""Replays a recorded session to a client, in place of the upstream."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from buffr.errors import BuffrError, WebSocketFault
from buffr.exchanges.route import SessionLimits
from buffr.exchanges.sessions.leg import FAULT_REASON, ReadingLeg
from buffr.interaction import Frame, FrameKind, WebSocketInteraction
from buffr.log import say
from buffr.matching.body import IN_MEMORY, BodyDigest
from buffr.policy.faults import SessionClose
from buffr.recording.player import reader
from buffr.recording.transcript import Deviation, ReplayEnd, Transcript
from buffr.transport.duplex import Duplex
from buffr.transport.eager import AT_ONCE_BYTES, aside
from buffr.wire.websocket_deflate import Deflate, Deflater, Inflater
from buffr.wire.websocket_frames import (
    WHOLE_TEXT,
    Control,
    Data,
    FrameReader,
    Passed,
    close_payload,
    encode_frame,
    frame_head,
)

__all__ = ["FrameWriter", "ReplayedSession"]

_BLOCK_BYTES = 65536
_AT_ONCE_BYTES = 1 << 20
"""Larger messages are sent in blocks, as fast as the client reads them."""
_NO_STATUS = b""


class FrameWriter:
    """Writes a server's frames: in the recorded fragments, compressed if they were.

    ``deflater`` is given if the client accepted permessage-deflate.
    """

    def __init__(self, deflater: Deflater | None) -> None:
        self._deflater = deflater

    def encoded(self, frame: Frame) -> bytes | Iterator[bytes]:
        """A frame's bytes, or the blocks of a large one. Raises ``CassetteError``."""
        if frame.kind is FrameKind.CLOSE:
            code = frame.close_code
            payload = _NO_STATUS if code is None else close_payload(code, frame.reason)
            return encode_frame(frame.kind, payload)
        body = frame.data
        if body.file is not None or body.size_bytes > _AT_ONCE_BYTES:
            return _blocks(frame)
        data = body.data
        compressed = frame.compressed and self._deflater is not None
        if not (compressed or frame.fragments):
            return encode_frame(frame.kind, data)
        return b"".join(self._fragments(frame, data, compressed=compressed))

    def _fragments(self, frame: Frame, data: bytes, *, compressed: bool) -> Iterator[bytes]:
        kind: FrameKind | None = frame.kind
        sizes = _sizes(frame)
        at = 0
        for number, size in enumerate(sizes, 1):
            piece, final = data[at : at + size], number == len(sizes)
            at += size
            if compressed:
                assert self._deflater is not None
                piece = self._deflater.deflate(piece, final=final)
            first = compressed and number == 1
            yield encode_frame(kind, piece, final=final, compressed=first)
            kind = None


def _sizes(frame: Frame) -> tuple[int, ...]:
    """The fragments, or a single one if they no longer fit the message."""
    size_bytes = frame.data.size_bytes
    return frame.fragments if sum(frame.fragments) == size_bytes else (size_bytes,)


def _blocks(frame: Frame) -> Iterator[bytes]:
    """A large message, never compressed: its compressed size would be known too late."""
    read = reader(frame.data)
    at = 0
    kind: FrameKind | None = frame.kind
    sizes = _sizes(frame)
    for number, size in enumerate(sizes, 1):
        yield frame_head(kind, size, final=number == len(sizes))
        kind = None
        end = at + size
        while at < end:
            block = read(at, min(_BLOCK_BYTES, end - at))
            at += len(block)
            yield block


_TOGETHER_BYTES = 65536
_MESSAGES = (FrameKind.TEXT, FrameKind.BINARY)
_GOING_AWAY = 1001
_INTERNAL_ERROR = 1011
_LEFT = "the client closed the connection without a close frame"


class ReplayedSession(ReadingLeg):
    """The server's side of a session, played from a transcript.

    ``over`` is called back with what prevented the client from getting all of
    it: the ``Deviation``, a message, or ``None``. ``delays`` keeps the recorded
    cadence. ``others`` are the recordings with the same key: sessions with the
    same beginning are distinguished where they differ. ``frames`` counts the
    frames of both sides. ``fault`` is how the client sees the session end
    before it does.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: SessionLimits,
        deflate: Deflate | None,
        transcript: Transcript,
        others: Callable[[], Awaitable[Sequence[WebSocketInteraction]]],
        *,
        delays: bool,
        fault: SessionClose | None = None,
    ) -> None:
        inflater = deflater = None
        if deflate is not None:
            inflater = Inflater(takeover=deflate.client_takeover)
            deflater = Deflater(takeover=deflate.server_takeover, window_bits=deflate.server_bits)
        frames = FrameReader(masked=True, inflater=inflater, message_bytes=limits.message_bytes)
        super().__init__(frames, clock, limits.close_s)
        self.over: Deferred[Deviation | str | None] = Deferred()
        self.frames = 0
        self._transcript = transcript
        self._others = others
        self._events: deque[Data | Control] = deque()
        self._busy = False
        self._writer = FrameWriter(deflater)
        self._delays = delays
        self._fault = fault
        self._messages = 0
        """How many the client was sent."""
        self._writable = True
        self._played = False
        self._blocks: Iterator[bytes] | None = None
        self._waiting: IDelayedCall | None = None
        self._closing: IDelayedCall | None = None
        self._pong: bytes | None = None
        self._message: list[bytes] = []
        self._size_bytes = 0
        self._digest: BodyDigest | None = None

    def open(self, duplex: Duplex) -> None:
        self.duplex = duplex
        self._play()  # the server may speak first
        duplex.start(self)

    # The client's frames.

    def received(self, data: bytes) -> None:
        busy = self._feeding is not None or self._events or self._message or self._busy
        payload = None
        if not (busy or self.finished) and len(data) <= AT_ONCE_BYTES:
            payload = self.reader.message(data)
        if payload is None:
            super().received(data)
            return
        self._said(FrameKind.TEXT if data[0] == WHOLE_TEXT else FrameKind.BINARY, payload)
        if not self._busy:
            self._play()

    def passed(self, batch: Sequence[Passed]) -> None:
        self._events.extend([passed.event for passed in batch])
        self._take()

    def _take(self) -> None:
        while self._events and not (self._busy or self.deaf):
            event = self._events.popleft()
            if isinstance(event, Control):
                self._control(event)
            else:
                self._data(event)
        if not self._busy:
            self._play()

    def _control(self, event: Control) -> None:
        self.frames += 1
        if event.kind is FrameKind.PING:
            # Only the latest needs an answer (RFC 6455 5.5.3), so that they cannot pile up.
            self._pong = encode_frame(FrameKind.PONG, event.payload)
        elif event.kind is FrameKind.CLOSE:
            code = int.from_bytes(event.payload[:2], "big") if event.payload else None
            self._transcript.receive_close(code)
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    def _data(self, event: Data) -> None:
        self._size_bytes += len(event.payload)
        if self._digest is None:
            self._message.append(event.payload)
            if not event.ends_message and self._size_bytes <= IN_MEMORY:
                return
        if self._size_bytes > AT_ONCE_BYTES:
            self._until_over(self._long(event))
            return
        message = b"".join(self._message)
        self._message, self._size_bytes = [], 0
        self._said(event.kind, message)

    def _said(self, kind: FrameKind, message: bytes) -> None:
        """The client has sent a whole message, which is short."""
        self.frames += 1
        try:
            drift = self._transcript.receive(kind, message)
        except BuffrError as error:
            self._close_with(_INTERNAL_ERROR, error.message, error.message)
            return
        if drift is not None:
            self._until_over(self._choose(drift))

    def _until_over(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Nothing is received or played before some work is done."""
        self._busy = True
        self.pause_reading()
        Deferred.fromCoroutine(self._go_on_after(work)).addErrback(self._failed)

    async def _go_on_after(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        await work
        self._busy = False
        if not (self.deaf or self.lost):
            self.resume_reading()
            self._take()

    async def _long(self, event: Data) -> None:
        """Take the end of a long message, or a part of one that is too long for memory.

        What is searched is searched on a thread.
        """
        clock = self._clock
        if self._size_bytes > IN_MEMORY:
            data = event.payload
            if self._digest is None:
                self._digest = BodyDigest()
                data, self._message = b"".join(self._message), []
            await aside(clock, len(data), self._digest.update, data)
        if not event.ends_message:
            return
        self.frames += 1
        message: bytes | BodyDigest = self._digest or b"".join(self._message)
        size_bytes = self._size_bytes
        self._message, self._digest, self._size_bytes = [], None, 0
        if self._transcript.expects(event.kind, message):
            size_bytes = 0
        try:
            receive = self._transcript.receive
            drift = await aside(clock, size_bytes, receive, event.kind, message)
        except BuffrError as error:
            self._close_with(_INTERNAL_ERROR, error.message, error.message)
            return
        if drift is not None:
            await self._choose(drift)

    async def _choose(self, drift: Deviation) -> None:
        """Continue with another recording that fits everything so far, or report that none does."""
        try:
            for other in await self._others():
                if self._transcript.switch(other):
                    break
            else:
                if not self.deaf:
                    self._close_with(_INTERNAL_ERROR, drift.close_reason, drift)
        except BuffrError as error:
            self._close_with(_INTERNAL_ERROR, "the recording cannot be read", error.message)

    def _failed(self, failure: Failure) -> None:
        """A defect in buffr must not leave a client waiting."""
        say(LogLevel.error, "defect", err=f"{type(failure.value).__name__}: {failure.value}")
        self._close_with(_INTERNAL_ERROR, "internal error", "internal error")

    def fault(self, fault: WebSocketFault) -> None:
        self._close_with(fault.close_code, fault.message, f"the client sent {fault.message}")

    def stop(self, why: str) -> None:
        """End a session in progress."""
        if not self.deaf:
            self._close_with(_GOING_AWAY, why, why)

    # The recording's frames.

    def _play(self) -> None:
        """Send what is due, as long as the client reads it."""
        together: list[bytes] = []
        size_bytes = 0
        try:
            while self._writable and (data := self._next_bytes()) is not None:
                together.append(data)
                size_bytes += len(data)
                if size_bytes > _TOGETHER_BYTES:
                    self.write(b"".join(together))
                    together.clear()
                    size_bytes = 0
        except BuffrError as error:
            self.write(b"".join(together))
            self._close_with(_INTERNAL_ERROR, "the recording cannot be read", error.message)
            return
        if together:
            self.write(b"".join(together))
        if self._fault is not None and self._is_cut and self._blocks is None:
            self._suffer(self._fault)
        elif self._played:
            self._end(None)

    @property
    def _is_cut(self) -> bool:
        """Whether a fault ends the session here."""
        return self._fault is not None and self._messages >= self._fault.after

    def _suffer(self, fault: SessionClose) -> None:
        if self.deaf or self.lost:
            return
        outcome = f"fault: {fault.name}"
        if fault.sendable:
            self._close_with(fault.code, FAULT_REASON, outcome)
        else:
            self.cut()
            self._end(outcome)

    def _next_bytes(self) -> bytes | None:
        if self.deaf or self.lost:
            return None
        if self._blocks is not None:
            block = next(self._blocks, None)
            if block is not None:
                return block
            self._blocks = None
        if self._pong is not None:
            pong, self._pong = self._pong, None
            return pong
        if self._waiting is not None or self._played or self._busy or self._is_cut:
            return None
        return self._due()

    def _due(self) -> bytes | None:
        match self._transcript.next():
            case None:
                return None
            case ReplayEnd():
                self._played = True
                return None
            case frame:
                if self._delays and frame.delay_ms:
                    self._waiting = self._clock.callLater(
                        frame.delay_ms / 1000, self._after_delay, frame
                    )
                    return None
                return self._frame(frame)

    def _frame(self, frame: Frame) -> bytes | None:
        self.frames += 1
        self._messages += frame.kind in _MESSAGES
        if frame.kind is FrameKind.CLOSE and self._closing is None:
            self._closing = self._clock.callLater(self._patience_s, self._end, None)
        encoded = self._writer.encoded(frame)
        if isinstance(encoded, bytes):
            return encoded
        self._blocks = encoded
        return self._next_bytes()

    def _after_delay(self, frame: Frame) -> None:
        self._waiting = None
        try:
            data = self._frame(frame)
        except BuffrError as error:
            self._close_with(_INTERNAL_ERROR, "the recording cannot be read", error.message)
            return
        if data is not None:
            self.write(data)
        self._play()

    def pause_sending(self) -> None:
        self._writable = False

    def resume_sending(self) -> None:
        self._writable = True
        self._play()

    # The end.

    def _close_with(self, code: int, reason: str, outcome: Deviation | str) -> None:
        # Within another frame it would be read as its payload; a second one would be a fault.
        if self._blocks is None and self._closing is None:
            self.send_close(code, reason)
        self._end(outcome)

    def _end(self, outcome: Deviation | str | None) -> None:
        for timer in (self._waiting, self._closing):
            if timer is not None and timer.active():
                timer.cancel()
        self.finish()
        if not self.over.called:
            self.over.callback(outcome)

    def half_closed(self) -> None:
        self._end(_LEFT)

    def gone(self, reason: Failure) -> None:  # noqa: ARG002
        self._end(None if self.reader.closed else _LEFT)
        # A session and its duplex know each other, so they wait for the garbage collector, which
        # counts objects and not bytes: the deflater's 256 KB are not to wait with them.
        self._writer = FrameWriter(None)
