"""Answers from a store: replays a recording or a session."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError
from buffr.exchanges.exchange import Counters, Exchange, shown
from buffr.exchanges.lookup import captured
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.registry import Sessions
from buffr.formats.codings import BadCoding
from buffr.interaction import Body, HTTPInteraction, WebSocketInteraction
from buffr.log import say
from buffr.matching.captures import Captured, SyncRules, pairs
from buffr.message import first_value
from buffr.recording.live_answer import LiveBody, with_live_fields, with_live_origin
from buffr.recording.live_values import Replacements
from buffr.recording.player import play, reader
from buffr.transport.spool import Spool

__all__ = ["Replays"]

_MOST_BYTES = 1 << 30
_TURN_BYTES = 128 * 1024


class Replays:
    """Replays recordings to clients. ``key`` is that of a WebSocket handshake, otherwise empty."""

    def __init__(self, reactor: IReactorTime, counters: Counters, sessions: Sessions) -> None:
        self._reactor = reactor
        self._counters = counters
        self._sessions = sessions

    async def answer(
        self, exchange: Exchange, route: Recorded, place: int, key: bytes
    ) -> tuple[int, str | None]:
        """Replay the recording at a place of the store.

        Returns the status, and why it was cut off.
        """
        interaction = await route.store.load(place)
        self._counters.hits += 1
        if isinstance(interaction, WebSocketInteraction):
            values = captured(exchange, route)
            return 101, await self._sessions.replay(exchange, route, interaction, key, values)
        if interaction.echoed_origin is not None:
            live = first_value(exchange.request.headers, b"origin")
            interaction = with_live_origin(interaction, live)
        sleep = self._sleep if route.replay_delays else None
        if not route.matcher.sync:
            await play(interaction, exchange.sink, sleep)
            return interaction.response.status, None
        spool = Spool(route.body_memory_bytes, route.spool_dir)
        try:
            answer = await _with_live_values(
                self._reactor, route.matcher.sync, captured(exchange, route), interaction, spool
            )
            await play(answer, exchange.sink, sleep)
        finally:
            spool.close()
        return interaction.response.status, None

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
        return await self.answer(exchange, route, exchange.too_old, key)

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)


async def _with_live_values(
    reactor: IReactorTime,
    sync: SyncRules,
    live: Captured,
    interaction: HTTPInteraction,
    spool: Spool,
) -> HTTPInteraction:
    """The interaction in the form that answers a request in which the rules captured ``live``.

    Its body may be in the spool, and lives as long as the spool. A body whose
    content coding is unknown or wrong is unchanged, and logged. Raises
    ``CassetteError`` if a body's file cannot be read.
    """
    recorded = sync.recorded(interaction.request, interaction.captures)
    replacements = Replacements.of(pairs(recorded, live))
    if not replacements:
        return interaction
    interaction = with_live_fields(interaction, replacements)
    if not interaction.body.size_bytes:
        return interaction
    answer = LiveBody(interaction, replacements, reader(interaction.body))
    try:
        if not answer.readable:
            raise BadCoding
        await _fill(reactor, spool, answer.pieces())
    except BadCoding:
        codings = answer.codings.decode("latin-1")
        say(LogLevel.warn, "sync_response: a body cannot be decoded", coding=codings)
        return interaction
    path = spool.path
    whole = Body.of(spool.read(0, spool.size_bytes)) if path is None else None
    return answer.answer(whole or Body(size_bytes=spool.size_bytes, file=path))


async def _fill(reactor: IReactorTime, spool: Spool, pieces: Iterator[bytes]) -> None:
    """Write all pieces, letting other work run between them."""
    turn_at = _TURN_BYTES
    for piece in pieces:
        if spool.size_bytes + len(piece) > _MOST_BYTES:
            raise BuffrError("sync_response: the answer is longer than a gigabyte decoded")
        try:
            spool.write(piece)
        except OSError as error:
            raise BuffrError(
                f"cannot store an answer with replaced values: {error.strerror}"
            ) from error
        if spool.size_bytes >= turn_at:
            turn_at = spool.size_bytes + _TURN_BYTES
            await deferLater(reactor, 0)
