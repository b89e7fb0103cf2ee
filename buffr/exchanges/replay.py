"""Answers from a store: replays a recording or a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError
from buffr.exchanges.altered import altered, at_its_time, is_altered, with_allowed_wait
from buffr.exchanges.exchange import Counters, Exchange, shown
from buffr.exchanges.lookup import captured
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.calls import CallReplays
from buffr.exchanges.sessions.opening import CallBody
from buffr.exchanges.sessions.registry import Sessions
from buffr.interaction import (
    LEFT_OPEN,
    Body,
    HTTPInteraction,
    Interaction,
    WebSocketInteraction,
)
from buffr.log import say
from buffr.message import first_value
from buffr.recording.batches import merged
from buffr.recording.live_answer import with_live_origin
from buffr.recording.player import play, play_unended
from buffr.transport.eager import aside
from buffr.transport.spool import Spool

__all__ = ["Replays"]

_GRACE_S = 2.0
"""How much longer than the recorded client one may stay, since machines differ in speed."""


class Replays:
    """Replays recordings to clients. ``key`` is that of a WebSocket handshake, otherwise empty.

    ``wall`` returns the time since 1970.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        counters: Counters,
        sessions: Sessions,
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._counters = counters
        self._sessions = sessions
        self._calls = CallReplays(reactor)

    async def answer(
        self, exchange: Exchange, route: Recorded, place: int, key: bytes
    ) -> tuple[int, str | None]:
        """Replay the recording at a place of the store.

        Returns the status, and why it was cut off.
        """
        interaction = await self._loaded(exchange, route, place)
        if isinstance(interaction, WebSocketInteraction):
            values = captured(exchange, route)
            interaction, clock = at_its_time(self._wall, exchange, route, interaction)
            replaying = self._sessions.replay(exchange, route, interaction, key, values, clock)
            return 101, await replaying
        if interaction.echoed_origin is not None:
            live = first_value(exchange.request.headers, b"origin")
            interaction = with_live_origin(interaction, live)
        sleep = self._sleep if route.replay_delays else None
        special = route.alters or interaction.is_for_one_client or interaction.truncated is not None
        if interaction.is_for_one_client:
            interaction = with_allowed_wait(exchange, route, interaction)
        remark = exchange.remark
        if remark is not None:
            interaction = remark.with_session(interaction)
        elif not (special and is_altered(exchange, route, interaction)):
            await play(interaction, exchange.sink, sleep)
            return interaction.response.status, None
        spool = Spool(route.body_memory_bytes, route.spool_dir)
        try:
            answer = await altered(self._reactor, self._wall, exchange, route, interaction, spool)
            if interaction.unended:
                return await self._held_open(exchange, answer, sleep)
            await play(answer, exchange.sink, sleep, None if remark is None else remark.hold)
        except CancelledError:
            if interaction.uncertain != LEFT_OPEN:
                raise
            exchange.sink.abort()  # the client left, as it did then
        finally:
            spool.close()
        return interaction.response.status, None

    async def call(
        self, exchange: Exchange, route: Recorded, place: int, body: CallBody
    ) -> tuple[int, str | None]:
        """Replay the recording at a place to a client that takes its turns.

        Returns as ``answer`` does. Raises ``SessionDrift``.
        """
        interaction = await self._loaded(exchange, route, place)
        assert isinstance(interaction, HTTPInteraction)
        return await self._calls.play(exchange, route, interaction, body), None

    async def _loaded(self, exchange: Exchange, route: Recorded, place: int) -> Interaction:
        """The recording at a place as its hooks leave it; counts the hit."""
        interaction = await route.store.load(place)
        if route.hooks is not None:
            request = exchange.recorded_request(exchange.body.shown)
            interaction = await route.hooks.replayed(interaction, request)
        self._counters.hits += 1
        exchange.interaction = interaction
        return interaction

    async def _held_open(
        self,
        exchange: Exchange,
        interaction: HTTPInteraction,
        sleep: Callable[[float], Awaitable[None]] | None,
    ) -> tuple[int, str | None]:
        """Replay a stream that only its client ended: the client has to end it again.

        It has as much time for that as it had then, and a little more.
        """
        sink, status = exchange.sink, interaction.response.status
        await play_unended(interaction, sink, sleep)
        stay_ms = interaction.left_after_ms
        if sleep is None:
            stay_ms += sum([chunk.delay_ms for chunk in interaction.chunks])
        try:
            await self._sleep(stay_ms / 1000 + _GRACE_S)
        except CancelledError:
            sink.abort()
            return status, None
        stayed = not sink.half_closed
        sink.abort()
        return status, "cut off: the client that was recorded left here" if stayed else None

    async def batch(
        self, exchange: Exchange, route: Recorded, parts: Sequence[tuple[Exchange, int]]
    ) -> tuple[int, str | None]:
        """Replay the recordings of the messages of a batch as one answer."""
        answers: list[HTTPInteraction] = []
        exchange.body.close()
        exchange.src = "cassette"
        self._counters.hits += 1
        for part, place in parts:
            interaction = await route.store.load(place)
            if route.hooks is not None:
                request = part.recorded_request(part.body.shown)
                interaction = await route.hooks.replayed(interaction, request)
            if isinstance(interaction, HTTPInteraction) and part.remark is not None:
                interaction = part.remark.with_session(interaction)
                live, data = part.remark.live(interaction), interaction.body.data
                body = await aside(self._reactor, len(data), live.whole, data)
                answers.append(evolve(interaction, body=Body.of(body), chunks=()))
        answer = merged(answers)
        await play(answer, exchange.sink)
        return answer.response.status, None

    async def answer_with_old(
        self, exchange: Exchange, route: Recorded, error: BuffrError, key: bytes
    ) -> tuple[int, str | None]:
        """Replay a recording that is too old; raises the error if there is none."""
        if exchange.too_old is None:
            raise error
        words = shown(exchange.request, exchange.route)
        message = "not recorded again: the old recording answers"
        say(LogLevel.warn, message, request=words, err=error.message)
        exchange.src = "cassette"
        exchange.place, exchange.stale = exchange.too_old, True
        return await self.answer(exchange, route, exchange.too_old, key)

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)
