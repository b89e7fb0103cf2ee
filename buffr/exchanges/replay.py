"""Answers out of a store: a recording is played, or a session is."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError
from buffr.exchanges.exchange import Counters, Exchange, shown
from buffr.exchanges.live_replay import with_live_values
from buffr.exchanges.lookup import captured
from buffr.exchanges.sessions.registry import Sessions
from buffr.interaction import WebSocketInteraction
from buffr.log import say
from buffr.message import first_value
from buffr.recording.live_answer import with_live_origin
from buffr.recording.player import play
from buffr.transport.spool import Spool

__all__ = ["Replays"]


class Replays:
    """Plays recordings to clients. ``key`` is that of a WebSocket handshake, else empty."""

    def __init__(self, reactor: IReactorTime, counters: Counters, sessions: Sessions) -> None:
        self._reactor = reactor
        self._counters = counters
        self._sessions = sessions

    async def answer(self, exchange: Exchange, place: int, key: bytes) -> tuple[int, str | None]:
        """Play what is at a place of the store: the status, and why it broke off if it did."""
        route = exchange.route
        assert route.store is not None
        interaction = await route.store.load(place)
        self._counters.hits += 1
        if isinstance(interaction, WebSocketInteraction):
            values = captured(exchange)
            return 101, await self._sessions.replay(exchange, interaction, key, values)
        if interaction.echoed_origin is not None:
            live = first_value(exchange.request.headers, b"origin")
            interaction = with_live_origin(interaction, live)
        sleep = self._sleep if route.replay_delays else None
        if not route.matcher.sync:
            await play(interaction, exchange.sink, sleep)
            return interaction.response.status, None
        spool = Spool(route.body_memory_bytes, route.spool_dir)
        try:
            answer = await with_live_values(
                self._reactor, route.matcher.sync, captured(exchange), interaction, spool
            )
            await play(answer, exchange.sink, sleep)
        finally:
            spool.close()
        return interaction.response.status, None

    async def answer_with_old(
        self, exchange: Exchange, error: BuffrError, key: bytes
    ) -> tuple[int, str | None]:
        """Play a recording that is too old; raises the error where there is none."""
        if exchange.too_old is None:
            raise error
        words = shown(exchange.request, exchange.route)
        told = "not recorded anew: the old recording answers"
        say(LogLevel.warn, told, request=words, err=error.message)
        exchange.src = "cassette"
        return await self.answer(exchange, exchange.too_old, key)

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)
