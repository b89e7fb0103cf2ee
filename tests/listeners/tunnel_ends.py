"""Ends of tunnels in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from attrs import define, field
from twisted.internet.protocol import Protocol

from buffr.errors import BuffrError
from buffr.listeners.client import ClientConnection, ClientSink, ConnectionLimits, Handler
from buffr.listeners.hit_memo import HitMemo
from buffr.message import Request
from buffr.testing.wire import Wire
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyStream
from buffr.wire.http1_requests import HeadMemo

__all__ = ["Listener", "Wire", "connected"]


def connected(protocol: Protocol) -> Wire:
    """Give a protocol a transport."""
    wire = Wire()
    protocol.makeConnection(wire)
    return wire


async def _nobody(request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
    raise NotImplementedError


@define(eq=False)
class Listener:
    """What connections ask of a listener; ``known`` are those that it watches."""

    limits: ConnectionLimits = ConnectionLimits(head_s=20, idle_s=70)
    memo: HeadMemo = field(factory=HeadMemo)
    hits: HitMemo = field(factory=lambda: HitMemo(1 << 20))
    requests: Memo[Hashable, Request] = field(factory=lambda: Memo(entries=8, size_bytes=8192))
    stopping: bool = False
    now: float = 1000.0
    known: list[ClientConnection] = field(factory=list)
    refusals: list[BuffrError] = field(factory=list)
    handle: Handler = field(default=_nobody)

    def soon(self, call: Callable[[], None]) -> None:
        raise NotImplementedError

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        raise NotImplementedError

    def refused(self, error: BuffrError) -> None:
        self.refusals.append(error)

    def came(self, connection: ClientConnection) -> None:
        self.known.append(connection)

    def gone(self, connection: ClientConnection) -> None:
        if connection in self.known:
            self.known.remove(connection)

    def later(self, seconds: float) -> None:
        """Time goes by, and the listener looks after its connections."""
        self.now += seconds
        for one in list(self.known):
            one.check(self.now)
