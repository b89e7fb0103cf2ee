"""Answers from a store: replays a recording or a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError, NoMatch
from buffr.exchanges.exchange import Counters, Exchange, shown
from buffr.exchanges.lookup import captured
from buffr.exchanges.route import Recorded
from buffr.exchanges.sessions.registry import Sessions
from buffr.formats.codings import BadCoding
from buffr.interaction import LEFT_OPEN, Body, HTTPInteraction, WebSocketInteraction
from buffr.log import say
from buffr.matching.captures import pairs
from buffr.message import first_value
from buffr.recording.fitting import retry_after_s, unaccepted_codings, with_retry_after
from buffr.recording.live_answer import LiveBody, Stream, with_live_fields, with_live_origin
from buffr.recording.live_values import Replacements
from buffr.recording.player import play, play_unended, reader
from buffr.transport.spool import Spool

__all__ = ["Replays"]

_MOST_BYTES = 1 << 30
_TURN_BYTES = 128 * 1024
_GRACE_S = 2.0
"""How much longer than the recorded client one may stay, since machines differ in speed."""


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
        exchange.interaction = interaction
        if isinstance(interaction, WebSocketInteraction):
            values = captured(exchange, route)
            return 101, await self._sessions.replay(exchange, route, interaction, key, values)
        if interaction.echoed_origin is not None:
            live = first_value(exchange.request.headers, b"origin")
            interaction = with_live_origin(interaction, live)
        sleep = self._sleep if route.replay_delays else None
        if interaction.is_for_one_client:
            interaction = _with_retry_after(exchange, route, interaction)
        unaccepted = interaction.is_for_one_client and unaccepted_codings(
            interaction, exchange.request.headers
        )
        remark = exchange.remark
        if remark is not None:
            interaction = remark.with_session(interaction)
        elif not (route.matcher.sync or unaccepted or interaction.unended):
            await play(interaction, exchange.sink, sleep)
            return interaction.response.status, None
        spool = Spool(route.body_memory_bytes, route.spool_dir)
        try:
            answer = await self._altered(exchange, route, interaction, spool, unaccepted or ())
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

    async def _altered(
        self,
        exchange: Exchange,
        route: Recorded,
        interaction: HTTPInteraction,
        spool: Spool,
        unaccepted: Sequence[bytes],
    ) -> HTTPInteraction:
        """The interaction in the form that answers this request.

        Its body may be in the spool, and lives as long as the spool. A body
        whose content coding is unknown or wrong is unchanged, and logged; but
        one in a coding that is ``unaccepted`` raises ``NoMatch``. Raises
        ``CassetteError`` if a body's file cannot be read.
        """
        streams: list[Stream] = []
        sync = route.matcher.sync
        if sync:
            recorded = sync.recorded(interaction.request, interaction.captures)
            replacements = Replacements.of(pairs(recorded, captured(exchange, route)))
            if replacements:
                interaction = with_live_fields(interaction, replacements)
                streams.append(replacements.stream())
        if exchange.remark is not None and (live := exchange.remark.live(interaction)):
            streams.append(live.stream())
        if not (streams or unaccepted) or not interaction.body.size_bytes:
            return interaction
        read = reader(interaction.body)
        answer = LiveBody(interaction, streams, read, coded=not unaccepted)
        try:
            if not answer.readable:
                raise BadCoding
            await _fill(self._reactor, spool, answer.pieces())
        except BadCoding:
            if unaccepted:
                raise _unacceptable(exchange, unaccepted) from None
            codings = answer.codings.decode("latin-1")
            say(LogLevel.warn, "a recorded body cannot be decoded", coding=codings)
            return interaction
        path = spool.path
        whole = Body.of(spool.read(0, spool.size_bytes)) if path is None else None
        return answer.answer(whole or Body(size_bytes=spool.size_bytes, file=path))

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


def _with_retry_after(
    exchange: Exchange, route: Recorded, interaction: HTTPInteraction
) -> HTTPInteraction:
    """The interaction with the longest wait that the route allows; suggests that setting once."""
    most_s = route.fitting.retry_after_s
    if most_s is not None:
        return with_retry_after(interaction, most_s)
    wait_s = retry_after_s(interaction.response.headers)
    if wait_s and route.fitting.is_first_wait():
        words = shown(exchange.request, route)
        message = "a replayed Retry-After makes clients wait; replay_retry_after: 0 cuts it"
        say(LogLevel.info, message, request=words, wait=f"{wait_s:g}s")
    return interaction


def _unacceptable(exchange: Exchange, codings: Sequence[bytes]) -> NoMatch:
    """The error for an answer that the client could not read."""
    accepted = first_value(exchange.request.headers, b"accept-encoding")
    said = "nothing" if accepted is None else accepted.decode("latin-1")
    names = b", ".join(codings).decode("latin-1")
    return NoMatch(
        f"the recorded body is encoded as {names}, which buffr cannot decode, and the client "
        f"accepts {said} (Accept-Encoding)",
        hint="record it again with this client",
    )


async def _fill(reactor: IReactorTime, spool: Spool, pieces: Iterator[bytes]) -> None:
    """Write all pieces, letting other work run between them."""
    turn_at = _TURN_BYTES
    for piece in pieces:
        if spool.size_bytes + len(piece) > _MOST_BYTES:
            raise BuffrError("the replayed answer is longer than a gigabyte decoded")
        try:
            spool.write(piece)
        except OSError as error:
            raise BuffrError(
                f"cannot store an answer with replaced values: {error.strerror}"
            ) from error
        if spool.size_bytes >= turn_at:
            turn_at = spool.size_bytes + _TURN_BYTES
            await deferLater(reactor, 0)
