"""Answers with the faults that a user asked for."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

from attrs import evolve

from buffr.errors import BuffrError
from buffr.exchanges.exchange import SwitchingSink
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.message import Headers, Piece, ResponseHead
from buffr.policy.faults import Fault
from buffr.transport.duplex import Duplex
from buffr.upstream.bound import Client

__all__ = ["FIELD", "FaultInjected", "FaultSink", "fields_of"]

FIELD = b"X-Buffr-Fault"
"""The field that tells a faulty answer from a real one."""

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_EVENT_END_BYTES = 4
_SLICES_A_SECOND = 10
_REASONS = {
    408: b"Request Timeout",
    429: b"Too Many Requests",
    500: b"Internal Server Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    529: b"Overloaded",
}


class FaultInjected(BuffrError):
    """A status in the place of an answer, because a fault of the settings says so."""

    code = "fault_injected"

    def __init__(self, fault: Fault) -> None:
        refusal = fault.refusal
        assert refusal is not None
        super().__init__(
            f"a fault of the settings: {' '.join(fault.names)}", hint="faults: has the rule"
        )
        self.status = refusal.status
        self.reason = _REASONS.get(refusal.status, b"Fault")
        self.headers = fields_of(fault)
        if refusal.retry_after_s is not None:
            self.headers += ((b"Retry-After", b"%d" % refusal.retry_after_s),)
        self.body = refusal.body


def fields_of(fault: Fault) -> Headers:
    """What a faulty answer says of itself, and of the quota that its client has left."""
    fields: Headers = ()
    if fault.names:
        fields += ((FIELD, " ".join(fault.names).encode("ascii")),)
    if fault.quota is not None:
        limit, left = fault.quota
        fields += (
            (b"X-RateLimit-Limit", b"%d" % limit),
            (b"X-RateLimit-Remaining", b"%d" % left),
        )
    return fields


class FaultSink:
    """Passes an answer on to a client with a fault: slower, cut off, or malformed.

    What goes out slower waits here until it is drained, as every writer does.
    ``sleep`` waits for so many seconds.
    """

    memorable = False
    volatile = ()

    def __init__(
        self, sink: SwitchingSink, fault: Fault, sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._sink = sink
        self._fault = fault
        self._sleep = sleep
        self._pending: deque[Piece] = deque()
        self._last: Piece | None = None
        """The last piece so far, if it may be the one to be damaged."""
        self._trailers: Headers | None = None
        """Known once the answer has come in full, but waits to be sent."""
        self._sent = 0
        self._events = 0
        self._tail = b""
        """The end of what was sent, which may be the beginning of an event's end."""
        self._waited = False
        """Whether the body's first byte has waited long enough."""
        self._over = False

    @property
    def half_closed(self) -> bool:
        return self._sink.half_closed

    @property
    def connection(self) -> Client:
        return self._sink.connection

    def remember(self, hit: Hit) -> None:
        """Nothing is remembered: the next answer may have no fault."""

    def remember_relay(self, relay: KnownRelay) -> None:
        """Nothing is remembered."""

    def switch(self, head: ResponseHead) -> Duplex:
        self._over = True
        return self._sink.switch(self._marked(head))

    def inform(self, head: ResponseHead) -> None:
        self._sink.inform(head)

    def _marked(self, head: ResponseHead) -> ResponseHead:
        return head.with_fields(fields_of(self._fault))

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        if not self._fault.is_of_body:
            self._over = True
            self._sink.answer(self._marked(head), body, sizes, trailers)
            return
        self.begin(head)
        at = 0
        for size in sizes or (len(body),):
            if size:
                self.write(Piece(body[at : at + size], size))
            at += size
        self._finish(trailers)

    def begin(self, head: ResponseHead) -> None:
        self._sink.begin(self._marked(head))
        if self._fault.body_delay_s:
            self._sink.flush()

    def write(self, piece: Piece) -> None:
        if self._over:
            return
        if not self._fault.is_of_body:
            self._sink.write(piece)
            return
        if not self._fault.malformed:
            self._pending.append(piece)
            return
        if self._last is not None:
            self._pending.append(self._last)
        self._last = piece

    def flush(self) -> None:
        if not self._over:
            self._sink.flush()

    def end(self, trailers: Headers) -> None:
        if self._over:
            return
        self._finish(trailers)
        if self._pending:
            # Nobody drains after the end: what still waits goes out at once.
            while self._pending:
                for part in self._parts(self._pending.popleft()):
                    self._send(part)
        self._end()

    def _finish(self, trailers: Headers) -> None:
        self._trailers = trailers
        last, self._last = self._last, None
        if last is not None:
            self._pending.append(evolve(last, data=_malformed(last.data)))

    def _end(self) -> None:
        if not self._over and self._trailers is not None:
            self._over = True
            self._sink.end(self._trailers)

    def abort(self, reset: int | None = None) -> None:
        if not self._over:
            self._over = True
            self._sink.abort(reset)

    async def drain(self) -> None:
        if self._fault.body_delay_s and self._pending and not self._waited:
            self._waited = True
            await self._sleep(self._fault.body_delay_s)
        while self._pending and not self._over:
            for part in self._parts(self._pending.popleft()):
                if not await self._goes_on_after(part):
                    break
        if self._trailers is not None and not self._pending:
            self._end()
        await self._sink.drain()

    async def _goes_on_after(self, part: Piece) -> bool:
        """Send a part, and wait as long as the fault has the client wait for the next."""
        fault, events = self._fault, self._events
        self._send(part)
        self._sink.flush()
        await self._sink.drain()
        wait_s = 0.0 if fault.bytes_per_s is None else len(part.data) / fault.bytes_per_s
        if fault.event_delay_s and self._events > events:
            wait_s += fault.event_delay_s
        if wait_s and not self._over:
            await self._sleep(wait_s)
        return not self._over

    def _parts(self, piece: Piece) -> Iterator[Piece]:
        """A piece in the parts that go out one after the other."""
        fault, data, chunk = self._fault, piece.data, piece.chunk
        while data:
            size = len(data)
            if fault.bytes_per_s is not None:
                size = min(size, max(1, fault.bytes_per_s // _SLICES_A_SECOND))
            if fault.event_delay_s or fault.cut_after_events is not None:
                end = _EVENT_END.search(self._tail + data)
                size = size if end is None else min(size, end.end() - len(self._tail))
            yield Piece(data[:size], chunk)
            data, chunk = data[size:], None

    def _send(self, part: Piece) -> None:
        """Send a part, or as much of it as goes out before the answer is cut."""
        if self._over:
            return
        fault, data = self._fault, part.data
        most = fault.cut_after_bytes
        if most is not None and self._sent + len(data) > most:
            data = data[: most - self._sent]
            if data:
                self._sink.write(Piece(data, part.chunk))
            self._cut()
            return
        self._sent += len(data)
        self._sink.write(part)
        self._hear(data)
        if fault.cut_after_events is not None and self._events >= fault.cut_after_events:
            self._cut()

    def _hear(self, data: bytes) -> None:
        """Count the event that a part has ended, if it has."""
        text = self._tail + data
        end = _EVENT_END.search(text)
        if end is not None:
            self._events += 1
            text = text[end.end() :]
        self._tail = text[1 - _EVENT_END_BYTES :]

    def _cut(self) -> None:
        self._sink.flush()
        self.abort()


def _malformed(data: bytes) -> bytes:
    """The same number of bytes without the last one that counts, such as a closing brace."""
    end = len(data.rstrip())
    return data[: end - 1] + b" " + data[end:] if end else data
