"""A live session: frames pass unchanged from one connection to the other, and are observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from buffr.errors import WebSocketFault
from buffr.exchanges.route import SessionLimits
from buffr.exchanges.sessions.leg import FAULT_REASON, ReadingLeg
from buffr.interaction import Direction, FrameKind, SessionEnd
from buffr.policy.faults import SessionClose
from buffr.recording.session import SessionTape, mark_of
from buffr.upstream.failures import reason_of
from buffr.wire.websocket_deflate import Deflate, Inflater
from buffr.wire.websocket_frames import (
    WHOLE_BINARY,
    WHOLE_TEXT,
    Control,
    Data,
    FrameReader,
    Passed,
)

__all__ = ["RelayedSession"]

_GOING_AWAY = 1001
_HELD_S = 0.5
"""How long a close frame waits for its session to be recorded: a client may wait only a second."""
_GRACE_S = 0.05
"""After a fault, the wait for answers to what came before it.

Many peers drop them on a close frame.
"""
_AFTER_FAULT_S = 1.0
"""The longest wait for the other side after a fault."""
_WORDS = {Direction.CLIENT: "the client", Direction.SERVER: "the upstream"}
_OTHER = {Direction.CLIENT: Direction.SERVER, Direction.SERVER: Direction.CLIENT}


class RelayedSession:
    """Two legs, and what they negotiated.

    ``over`` is called back with how the session ended; then ``release`` lets
    the last bytes go, and closes. ``end`` is ``None`` after a close handshake.
    ``fault`` is how the client sees the session end before it does.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: SessionLimits,
        deflate: Deflate | None,
        tape: SessionTape | None,
        mask: Callable[[], bytes],
        fault: SessionClose | None = None,
    ) -> None:
        self.over: Deferred[SessionEnd | None] = Deferred()
        self.frames = 0
        self.ended = False
        self.joined = False
        self._clock = clock
        self._limits = limits
        self._tape = tape
        self._fault = fault
        self._left = 0 if fault is None else fault.after
        """How many messages of the upstream pass before the fault."""
        self._held: list[tuple[RelayLeg, bytes]] = []
        self._holding: IDelayedCall | None = None
        self.broken: _Broken | None = None
        """Set once one side has sent what must not pass."""
        self._closing: IDelayedCall | None = None
        self._idle: IDelayedCall | None = None
        self._active_at = clock.seconds()

        def inflater(takeover: bool) -> Inflater | None:  # noqa: FBT001  # as it was agreed on
            return None if deflate is None else Inflater(takeover=takeover)

        client = FrameReader(
            masked=True,
            inflater=inflater(deflate is None or deflate.client_takeover),
            message_bytes=limits.message_bytes,
        )
        server = FrameReader(
            masked=False,
            inflater=inflater(deflate is None or deflate.server_takeover),
            message_bytes=limits.message_bytes,
        )
        self.client = RelayLeg(self, Direction.CLIENT, client, clock, limits.close_s, bytes)
        self.upstream = RelayLeg(self, Direction.SERVER, server, clock, limits.close_s, mask)

    def join(self) -> None:
        """Begin, once both legs are open."""
        self.joined = True
        if self._fault is not None and not self._left:
            self._suffer(self._fault)
            return
        if self._limits.idle_s:
            self._check_idle()
        for leg in (self.upstream, self.client):
            leg.begin()

    def peer(self, leg: RelayLeg) -> RelayLeg:
        return self.upstream if leg is self.client else self.client

    def message(self, leg: RelayLeg, raw: bytes, payload: bytes) -> None:
        """Relay a whole message in a plain frame, then record it."""
        now = self._active_at = self._clock.seconds()
        peer = self.upstream if leg is self.client else self.client
        peer.write(raw)
        self.frames += 1
        if self._tape is not None:
            self._tape.message(leg.marks[raw[0]], payload, now)
        if self._fault is not None and leg is self.upstream:
            self._left -= 1
            if not self._left:
                self._suffer(self._fault)

    def passed(self, leg: RelayLeg, batch: Sequence[Passed]) -> None:
        """Relay what has been judged, then record it."""
        fault = self._fault if leg is self.upstream and self.broken is None else None
        if fault is not None:
            batch = self._before_fault(batch)
            if not self._left:
                self.client.write(b"".join([passed.raw for passed in batch]))
                self._note(leg.direction, batch)
                self._suffer(fault)
                return
        peer = self.peer(leg)
        raw = b"".join([passed.raw for passed in batch])
        if leg.reader.closed:
            last = batch[-1].raw
            if self.broken is not None:
                raw = raw[: len(raw) - len(last)]
            elif peer.reader.closed and peer is self.client:
                # Once a client has its close frame, its recording cannot be lost.
                raw = raw[: len(raw) - len(last)]
                self._held.append((peer, last))
        if raw:
            peer.write(raw)
        self._note(leg.direction, batch)
        if leg.reader.closed:
            self._closed(leg)

    def _note(self, direction: Direction, batch: Sequence[Passed]) -> None:
        """Count and record what has passed."""
        now = self._active_at = self._clock.seconds()
        tape = self._tape
        for _, event in batch:
            if isinstance(event, Control) or event.ends_message:
                self.frames += 1
            if tape is not None:
                tape.add(direction, event, now)

    def _before_fault(self, batch: Sequence[Passed]) -> Sequence[Passed]:
        """What passes before the fault; counts the messages."""
        for number, (_, event) in enumerate(batch, 1):
            if isinstance(event, Data) and event.ends_message:
                self._left -= 1
                if not self._left:
                    return batch[:number]
        return batch

    def _suffer(self, fault: SessionClose) -> None:
        """Close: to the client as the fault has it, to the upstream like a client that leaves.

        What was recorded is not the whole session.
        """
        if self.ended:
            return
        if not fault.sendable:
            self.client.cut()
        elif not self.client.reader.closed:
            self.client.send_close(fault.code, FAULT_REASON)
        if not (self.client.reader.inside or self.client.reader.closed):
            self.upstream.send_close(_GOING_AWAY, "")
        self._finish(SessionEnd(f"fault: {fault.name}", truncated=True))

    def _closed(self, leg: RelayLeg) -> None:
        """A close frame has passed."""
        if self.broken is not None:
            self._end_broken(self.broken)
        elif self.peer(leg).reader.closed:
            self._finish(None)
        else:
            self._await_close(_OTHER[leg.direction], "did not answer the close frame")

    def _await_close(self, by: Direction, what: str) -> None:
        if self._closing is None:
            end = SessionEnd(f"{_WORDS[by]} {what}", by)
            self._closing = self._clock.callLater(self._limits.close_s, self._finish, end)

    def fault(self, leg: RelayLeg, fault: WebSocketFault) -> None:
        """A frame must not pass: the other side is asked to close, then its sender is notified.

        What the other side sends until then still passes: it answers what came
        before the fault.
        """
        if self.ended:
            return
        if self.broken is not None:
            self._end_broken(self.broken)
            return
        words = f"{_WORDS[leg.direction]} sent {fault.message}"
        end = SessionEnd(words, leg.direction, truncated=True)
        if leg.reader.inside or self._closing is not None:
            self._close_both(fault.close_code, fault.message, end)
            return
        self.broken = _Broken(leg, fault, end)
        grace_s = min(_GRACE_S, self._limits.close_s)
        self._closing = self._clock.callLater(grace_s, self._ask_to_close, self.broken)

    def _ask_to_close(self, broken: _Broken) -> None:
        broken.asked = True
        self.peer(broken.leg).send_close(broken.fault.close_code, broken.fault.message)
        patience_s = min(_AFTER_FAULT_S, self._limits.close_s)
        self._closing = self._clock.callLater(patience_s, self._end_broken, broken)

    def breaks(self, leg: RelayLeg) -> bool:
        """Whether this leg's data does not count any more."""
        return self.broken is not None and self.broken.leg is leg

    def _end_broken(self, broken: _Broken) -> None:
        leg, fault = broken.leg, broken.fault
        if not broken.asked:
            self.peer(leg).send_close(fault.close_code, fault.message)
        if not self.peer(leg).reader.inside:
            self._held.append((leg, leg.close_frame(fault.close_code, fault.message)))
        self._finish(broken.end)

    def stop(self, why: str) -> None:
        """End a session in progress.

        Its recording is complete, except for an unfinished message.
        """
        if self.broken is not None:
            self._end_broken(self.broken)
        elif not self.ended:
            self._close_both(_GOING_AWAY, why, SessionEnd(why))

    def _close_both(self, code: int, reason: str, end: SessionEnd) -> None:
        for leg in (self.client, self.upstream):
            sender = self.peer(leg).reader
            # A close frame within another frame would be read as its payload.
            if not (sender.inside or sender.closed):
                leg.send_close(code, reason)
        self._finish(end)

    def half_closed(self, leg: RelayLeg) -> None:
        """One side sends no more; data from the other side still reaches it."""
        if leg.reader.closed or self.ended or self.breaks(leg):
            return
        if self.broken is not None:
            self._end_broken(self.broken)
            return
        what = "closed its side without a close frame"
        if self.peer(leg).close_sending():
            self._await_close(leg.direction, what)
        else:
            self._finish(SessionEnd(f"{_WORDS[leg.direction]} {what}", leg.direction))

    def gone(self, leg: RelayLeg, reason: Failure) -> None:
        """A connection is over."""
        if self.ended:
            return
        if self.broken is not None:
            self._end_broken(self.broken)
            return
        if leg.reader.closed:
            self._finish(None)
            return
        words = "closed the connection without a close frame"
        if reason_of(reason.value) is not None:
            words = "broke the connection off"
        self._finish(SessionEnd(f"{_WORDS[leg.direction]} {words}", leg.direction))

    def _finish(self, end: SessionEnd | None) -> None:
        if self.ended:
            return
        self.ended = True
        for timer in (self._closing, self._idle):
            if timer is not None and timer.active():
                timer.cancel()
        if self._held:
            self._holding = self._clock.callLater(_HELD_S, self.release)
        self.over.callback(end)

    def release(self) -> None:
        """Send what was retained, and close both connections."""
        if self._holding is not None and self._holding.active():
            self._holding.cancel()
        for leg, data in self._held:
            leg.write(data)
        self._held.clear()
        for leg in (self.client, self.upstream):
            leg.finish()

    def hurry(self) -> None:
        """Close connections soon that the other ends leave open."""
        self.client.hurry()
        self.upstream.hurry()

    def _check_idle(self) -> None:
        left = self._active_at + self._limits.idle_s - self._clock.seconds()
        if left <= 0:
            self._idle = None
            self.stop(f"nothing came for {self._limits.idle_s:g} s")
        else:
            self._idle = self._clock.callLater(left, self._check_idle)


@define(eq=False)
class _Broken:
    """The leg whose bytes must not pass any more, why, and how the session is recorded.

    ``asked`` says that the other side was asked to close.
    """

    leg: RelayLeg
    fault: WebSocketFault
    end: SessionEnd
    asked: bool = False


class RelayLeg(ReadingLeg):
    """One side of a live session; reading from a side pauses while the other side is full."""

    def __init__(
        self,
        session: RelayedSession,
        direction: Direction,
        reader: FrameReader,
        clock: IReactorTime,
        close_s: float,
        mask: Callable[[], bytes],
    ) -> None:
        super().__init__(reader, clock, close_s, mask)
        self.direction = direction
        self.marks = {
            WHOLE_TEXT: mark_of(direction, FrameKind.TEXT),
            WHOLE_BINARY: mark_of(direction, FrameKind.BINARY),
        }
        """The mark on the tape of a message in one plain frame, by its first byte."""
        self._session = session

    def received(self, data: bytes) -> None:
        session = self._session
        if self._feeding is None and session.joined and not (session.ended or session.broken):
            payload = self.reader.message(data)
            if payload is not None:
                session.message(self, data, payload)
                return
        super().received(data)

    @property
    def ready(self) -> bool:
        return self._session.joined

    @property
    def deaf(self) -> bool:
        return self._session.ended or self._session.breaks(self)

    def pause_sending(self) -> None:
        if self._session.joined:
            self._session.peer(self).pause_reading()

    def resume_sending(self) -> None:
        if self._session.joined:
            self._session.peer(self).resume_reading()

    def passed(self, batch: Sequence[Passed]) -> None:
        self._session.passed(self, batch)

    def fault(self, fault: WebSocketFault) -> None:
        self._session.fault(self, fault)

    def half_closed(self) -> None:
        self._session.half_closed(self)

    def gone(self, reason: Failure) -> None:
        self._session.gone(self, reason)
