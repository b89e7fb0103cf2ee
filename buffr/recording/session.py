"""Turns a WebSocket session in progress into an interaction."""

from __future__ import annotations

from pathlib import Path

from attrs import define, evolve, field, frozen

from buffr.interaction import (
    Body,
    Direction,
    Frame,
    FrameKind,
    RecordedRequest,
    SessionEnd,
    WebSocketInteraction,
)
from buffr.message import ResponseHead
from buffr.transport.spool import Spool
from buffr.wire.websocket_frames import Control, Data

__all__ = ["SessionTape"]

_LARGE_BYTES = 1 << 20
"""A message over this size gets its own file, from which a store can copy it."""

_MOST_FILES = 64
"""Files that stay open for one session; further large messages go to the common file."""

_FRAME_BYTES = 64
"""The size of a frame in addition to its payload, which bounds the number of empty frames."""


@frozen(eq=False)
class _TapedFrame:
    """A frame without its payload, which is in its own spool or in the common one."""

    frame: Frame
    start: int
    size_bytes: int
    own: Spool | None


@define(eq=False)
class _OpenMessage:
    """A message that has begun."""

    kind: FrameKind
    compressed: bool
    spool: Spool
    fragments: list[int] = field(factory=list)
    frame_bytes: int = 0

    def fragment_sizes(self) -> tuple[int, ...]:
        return tuple(self.fragments) if len(self.fragments) > 1 else ()


class SessionTape:
    """Takes the frames of both directions, in the order in which they are passed on.

    A message has its place where it ends, so that the reply to it comes after
    it; control frames within it come before it. ``now`` and ``started`` (the
    handshake's end) are seconds of the same monotonic clock. Up to
    ``memory_bytes`` of payload are in memory, the rest in unnamed files in
    ``directory``, as in ``Spool``. After ``session_bytes`` nothing more is
    kept.
    """

    def __init__(
        self, directory: Path | None, started: float, *, memory_bytes: int, session_bytes: int
    ) -> None:
        self.frames = 0
        """Messages and control frames that passed, kept or not."""
        self.shortened: str | None = None
        """Why nothing more is kept."""
        self._directory = directory
        self._started = started
        self._at_ms = 0
        self._left = session_bytes
        self._limit = session_bytes
        self._spool = Spool(memory_bytes, directory)
        self._taped: list[_TapedFrame] = []
        self._open: dict[Direction, _OpenMessage] = {}
        self._files = 0

    @property
    def on_disk(self) -> bool:
        """Whether ``session`` has to read files, and should be called on a thread."""
        return self._spool.path is not None

    def add(self, sender: Direction, event: Data | Control, now: float) -> None:
        """Take what was just passed on."""
        whole = isinstance(event, Control) or event.ends_message
        self.frames += whole
        if self.shortened is not None:
            return
        self._left -= len(event.payload) + (_FRAME_BYTES if whole else 0)
        if self._left < 0:
            self._shorten(f"it is over {self._limit} bytes long")
            return
        try:
            if isinstance(event, Control):
                self._add_control(sender, event, now)
            else:
                self._add_data(sender, event, now)
        except OSError as error:
            self._shorten(f"it could not be kept: {error.strerror}")

    def _shorten(self, why: str) -> None:
        self.shortened = why
        for message in self._open.values():
            message.spool.close()
        self._open.clear()

    def _add_control(self, sender: Direction, event: Control, now: float) -> None:
        if event.kind is FrameKind.CLOSE:
            code = int.from_bytes(event.payload[:2]) if event.payload else None
            reason = event.payload[2:].decode("utf-8", "replace")
            frame = Frame(sender, event.kind, close_code=code, reason=reason)
            self._put(frame, b"", now)
        else:
            self._put(Frame(sender, event.kind), event.payload, now)

    def _add_data(self, sender: Direction, event: Data, now: float) -> None:
        message = self._open.get(sender)
        if message is None:
            if event.ends_message:
                frame = Frame(sender, event.kind, compressed=event.compressed)
                self._put(frame, event.payload, now)
                return
            spool = Spool(_LARGE_BYTES, self._directory)
            message = self._open[sender] = _OpenMessage(event.kind, event.compressed, spool)
        message.spool.write(event.payload)
        message.frame_bytes += len(event.payload)
        if event.ends_frame:
            message.fragments.append(message.frame_bytes)
            message.frame_bytes = 0
        if event.ends_message:
            self._end_message(sender, message, now)

    def _end_message(self, sender: Direction, message: _OpenMessage, now: float) -> None:
        frame = Frame(
            sender,
            message.kind,
            fragments=message.fragment_sizes(),
            compressed=message.compressed,
        )
        size_bytes = message.spool.size_bytes
        if message.spool.path is not None and self._files < _MOST_FILES:
            self._files += 1
            self._put_own(frame, message.spool, now)
        else:
            self._put_spooled(frame, message.spool, size_bytes, now)
        del self._open[sender]

    def _put_own(self, frame: Frame, spool: Spool, now: float) -> None:
        self._taped.append(_TapedFrame(self._timed(frame, now), 0, spool.size_bytes, spool))

    def _put_spooled(self, frame: Frame, spool: Spool, size_bytes: int, now: float) -> None:
        start = self._spool.size_bytes
        for offset in range(0, size_bytes, _LARGE_BYTES):
            self._spool.write(spool.read(offset, min(_LARGE_BYTES, size_bytes - offset)))
        spool.close()
        self._taped.append(_TapedFrame(self._timed(frame, now), start, size_bytes, None))

    def _put(self, frame: Frame, payload: bytes, now: float) -> None:
        start = self._spool.size_bytes
        if payload:
            self._spool.write(payload)
        self._taped.append(_TapedFrame(self._timed(frame, now), start, len(payload), None))

    def _timed(self, frame: Frame, now: float) -> Frame:
        at_ms = max(self._at_ms, round((now - self._started) * 1e3))
        delay_ms, self._at_ms = at_ms - self._at_ms, at_ms
        return evolve(frame, delay_ms=delay_ms) if delay_ms else frame

    def session(
        self,
        request: RecordedRequest,
        response: ResponseHead,
        *,
        recorded_at: str,
        recorded_by: str | None = None,
        end: SessionEnd | None = None,
    ) -> WebSocketInteraction:
        """The interaction; payloads in files live as long as the tape is open.

        ``end`` says how the session ended if not by a close handshake. The
        interaction is truncated if the tape has less than what passed.
        """
        return WebSocketInteraction(
            request,
            response,
            tuple([self._frame(taped) for taped in self._taped]),
            self._end(end),
            recorded_at,
            recorded_by=recorded_by,
        )

    def _frame(self, taped: _TapedFrame) -> Frame:
        if taped.own is not None:
            data = Body(size_bytes=taped.size_bytes, file=taped.own.path)
        elif taped.size_bytes:
            data = Body.of(self._spool.read(taped.start, taped.size_bytes))
        else:
            return taped.frame
        return evolve(taped.frame, data=data)

    def _end(self, end: SessionEnd | None) -> SessionEnd | None:
        if self.shortened is not None:
            return SessionEnd(self.shortened, truncated=True)
        if not self._open or (end is not None and end.truncated):
            return end
        if end is None:
            return SessionEnd("it ended within a message", truncated=True)
        return evolve(end, truncated=True)

    def close(self) -> None:
        self._spool.close()
        for taped in self._taped:
            if taped.own is not None:
                taped.own.close()
        for message in self._open.values():
            message.spool.close()
