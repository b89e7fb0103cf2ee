"""Turns a WebSocket session in progress into an interaction."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
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

__all__ = ["SessionTape", "mark_of"]

_LARGE_BYTES = 1 << 20
"""A message over this size gets its own file, from which a store can copy it."""

_MOST_FILES = 64
"""Files that stay open for one session; further large messages go to the common file."""

_FRAME_BYTES = 64
"""The size of a frame in addition to its payload, which bounds the number of empty frames."""


_KINDS = tuple(FrameKind)
_KIND, _COMPRESSED, _BY_SERVER = 0x07, 0x08, 0x10


@frozen(eq=False)
class _Rest:
    """What few frames have: fragments, a payload in a file of its own, a close frame's values."""

    fragments: tuple[int, ...] = ()
    own: Spool | None = None
    close_code: int | None = None
    reason: str = ""


_NO_MORE = _Rest()


def mark_of(sender: Direction, kind: FrameKind, *, compressed: bool = False) -> int:
    """A frame's sender and kind in one byte."""
    mark = _KINDS.index(kind) | (_COMPRESSED if compressed else 0)
    return mark | _BY_SERVER if sender is Direction.SERVER else mark


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
        # Of each frame: its mark, its payload's size in bytes, and its delay in milliseconds. A
        # session may have so many frames that an object for each would cost more than the rest.
        self._marks = bytearray()
        self._sizes = array("Q")
        self._delays = array("Q")
        self._rests: dict[int, _Rest] = {}
        self._open: dict[Direction, _OpenMessage] = {}
        self._files = 0

    @property
    def on_disk(self) -> bool:
        """Whether ``session`` has to read files, and should be called on a thread."""
        return self._spool.path is not None

    def message(self, mark: int, payload: bytes, now: float) -> None:
        """Take a whole message in one plain frame, which was just passed on.

        Its ``mark`` is that of its sender and kind.
        """
        self.frames += 1
        size_bytes = len(payload)
        if self.shortened is not None or not self._has_room(size_bytes + _FRAME_BYTES):
            return
        try:
            self._spool.write(payload)
        except OSError as error:
            self._shorten(f"it could not be kept: {error.strerror}")
        else:
            self._note(mark, size_bytes, now)

    def add(self, sender: Direction, event: Data | Control, now: float) -> None:
        """Take what was just passed on."""
        whole = isinstance(event, Control) or event.ends_message
        self.frames += whole
        if self.shortened is not None:
            return
        if not self._has_room(len(event.payload) + (_FRAME_BYTES if whole else 0)):
            return
        try:
            if isinstance(event, Control):
                self._add_control(sender, event, now)
            else:
                self._add_data(sender, event, now)
        except OSError as error:
            self._shorten(f"it could not be kept: {error.strerror}")

    def _has_room(self, size_bytes: int) -> bool:
        """Whether so much more is kept; if not, nothing more is."""
        self._left -= size_bytes
        if self._left < 0:
            self._shorten(f"it is over {self._limit} bytes long")
        return self._left >= 0

    def _shorten(self, why: str) -> None:
        self.shortened = why
        for message in self._open.values():
            message.spool.close()
        self._open.clear()

    def _add_control(self, sender: Direction, event: Control, now: float) -> None:
        mark = mark_of(sender, event.kind)
        if event.kind is FrameKind.CLOSE:
            code = int.from_bytes(event.payload[:2]) if event.payload else None
            reason = event.payload[2:].decode("utf-8", "replace")
            self._rests[len(self._marks)] = _Rest(close_code=code, reason=reason)
            self._put(mark, b"", now)
        else:
            self._put(mark, event.payload, now)

    def _add_data(self, sender: Direction, event: Data, now: float) -> None:
        message = self._open.get(sender)
        if message is None:
            if event.ends_message:
                self._put(
                    mark_of(sender, event.kind, compressed=event.compressed), event.payload, now
                )
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
        fragments, own = message.fragment_sizes(), None
        size_bytes = message.spool.size_bytes
        if message.spool.path is not None and self._files < _MOST_FILES:
            self._files += 1
            own = message.spool
        else:
            self._copy(message.spool, size_bytes)
            message.spool.close()
        if fragments or own is not None:
            self._rests[len(self._marks)] = _Rest(fragments, own)
        self._note(mark_of(sender, message.kind, compressed=message.compressed), size_bytes, now)
        del self._open[sender]

    def _copy(self, spool: Spool, size_bytes: int) -> None:
        for offset in range(0, size_bytes, _LARGE_BYTES):
            self._spool.write(spool.read(offset, min(_LARGE_BYTES, size_bytes - offset)))

    def _put(self, mark: int, payload: bytes, now: float) -> None:
        if payload:
            self._spool.write(payload)
        self._note(mark, len(payload), now)

    def _note(self, mark: int, size_bytes: int, now: float) -> None:
        """Note a frame whose payload is kept."""
        at_ms = max(self._at_ms, round((now - self._started) * 1e3))
        self._marks.append(mark)
        self._sizes.append(size_bytes)
        self._delays.append(at_ms - self._at_ms)
        self._at_ms = at_ms

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
            tuple(self._frames()),
            self._end(end),
            recorded_at,
            recorded_by=recorded_by,
        )

    def _frames(self) -> Iterator[Frame]:
        start = 0
        taped = zip(self._marks, self._sizes, self._delays, strict=True)
        for number, (mark, size_bytes, delay_ms) in enumerate(taped):
            rest = self._rests.get(number, _NO_MORE)
            if rest.own is not None:
                data = Body(size_bytes=size_bytes, file=rest.own.path)
            elif size_bytes:
                data = Body.of(self._spool.read(start, size_bytes))
                start += size_bytes
            else:
                data = Body()
            yield Frame(
                Direction.SERVER if mark & _BY_SERVER else Direction.CLIENT,
                _KINDS[mark & _KIND],
                data,
                delay_ms,
                rest.close_code,
                rest.reason,
                rest.fragments,
                compressed=bool(mark & _COMPRESSED),
            )

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
        for rest in self._rests.values():
            if rest.own is not None:
                rest.own.close()
        for message in self._open.values():
            message.spool.close()
