"""WebSocket sessions under way: begun after the handshake, recorded when they are over."""

from __future__ import annotations

import os
from functools import partial

from twisted.internet.interfaces import IReactorTime

from buffr.exchange import Exchange
from buffr.message import ResponseHead
from buffr.sessions.relay import RelayedSession
from buffr.streams import News
from buffr.upstream.connection import Switched
from buffr.wire.extensions import Deflate
from buffr.wire.upgrade import for_next_hop

__all__ = ["Sessions"]

_MASK_BYTES = 4


class Sessions:
    """Holds the sessions of one engine, and ends them when it stops."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._running: set[RelayedSession] = set()
        self._stopping = False
        self._news = News()

    async def relay(
        self, exchange: Exchange, switched: Switched, deflate: Deflate | None
    ) -> str | None:
        """Relay a session to its end; why it broke off, if it did."""
        session = RelayedSession(
            self._reactor,
            exchange.route.session_limits,
            deflate,
            None,
            partial(os.urandom, _MASK_BYTES),
        )
        self._running.add(session)
        head = switched.head
        passed_on = ResponseHead(head.status, head.reason, for_next_hop(head.headers))
        exchange.frames = 0
        exchange.sink.switch(passed_on, session.client)
        switched.hand_over(session.upstream)
        session.join()
        if self._stopping:
            session.stop("buffr is stopping")
        try:
            end = await session.over
        finally:
            exchange.frames = session.frames
            session.release()
            self._running.discard(session)
            self._news.tell()
        return None if end is None else end.reason

    def stop(self) -> None:
        """Tell both sides of every session that it is over."""
        self._stopping = True
        for session in list(self._running):
            session.stop("buffr is stopping")

    async def ended(self) -> None:
        """Return when every session is over and kept."""
        while self._running:
            await self._news.wait()
