"""Answers that differ from their recording: they fit the live request, the client and the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime

from attrs import evolve
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.clock.messages import moved_fields, text_moved_back
from buffr.clock.texts import MovingStream, TextMover, is_text
from buffr.errors import BuffrError, NoMatch
from buffr.exchanges.ages import recorded_s
from buffr.exchanges.exchange import Exchange, shown
from buffr.exchanges.lookup import captured
from buffr.exchanges.route import Recorded
from buffr.formats.codings import BadCoding
from buffr.interaction import Body, HTTPInteraction, Interaction, WebSocketInteraction
from buffr.log import say
from buffr.matching.captures import pairs
from buffr.message import first_value, media_type
from buffr.recording.fitting import retry_after_s, unaccepted_codings, with_retry_after
from buffr.recording.live_answer import LiveBody, Stream, with_live_fields
from buffr.recording.live_values import Replacements
from buffr.recording.player import reader
from buffr.recording.transcript import MessageClock
from buffr.transport.eager import aside
from buffr.transport.spool import Spool

__all__ = ["altered", "at_its_time", "is_altered", "with_allowed_wait"]

_MOST_BYTES = 1 << 30
_TURN_BYTES = 128 * 1024


def is_altered(exchange: Exchange, route: Recorded, interaction: HTTPInteraction) -> bool:
    """Whether an answer may differ from its recording in more than its ``Retry-After``."""
    if route.alters or interaction.unended:
        return True
    if not interaction.is_for_one_client:
        return False
    return bool(unaccepted_codings(interaction, exchange.request.headers))


async def altered(
    reactor: IReactorTime,
    wall: Callable[[], float],
    exchange: Exchange,
    route: Recorded,
    interaction: HTTPInteraction,
    spool: Spool,
) -> HTTPInteraction:
    """The interaction in the form that answers this request now.

    Its body may be in the spool, and lives as long as the spool. A body whose
    content coding is unknown or wrong is unchanged, and logged; but one in a
    coding that the client does not accept raises ``NoMatch``. Raises
    ``CassetteError`` if a body's file cannot be read.
    """
    unaccepted = unaccepted_codings(interaction, exchange.request.headers)
    streams: list[Stream] = []
    replacements = _replacements(exchange, route, interaction)
    if replacements:
        interaction = with_live_fields(interaction, replacements)
        streams.append(replacements.stream())
    if exchange.remark is not None and (live := exchange.remark.live(interaction)):
        streams.append(live.stream())
    mover = _mover(exchange, route, interaction, wall)
    if mover is not None and route.fitting.clock is not None:
        if route.fitting.clock.bodies and is_text(media_type(interaction.response.headers)):
            streams.append(MovingStream(mover))
        interaction = _with_moved_fields(interaction, mover)
    if not (streams or unaccepted) or not interaction.body.size_bytes:
        return interaction
    answer = LiveBody(interaction, streams, reader(interaction.body), coded=not unaccepted)
    try:
        if not answer.readable:
            raise BadCoding
        if exchange.remark is None:
            await _fill(reactor, spool, answer.pieces())
        else:  # whose messages are read whole, however long they are
            await aside(reactor, interaction.body.size_bytes, _fill_all, spool, answer.pieces())
    except BadCoding:
        if unaccepted:
            raise _unacceptable(exchange, unaccepted) from None
        codings = answer.codings.decode("latin-1")
        say(LogLevel.warn, "a recorded body cannot be decoded", coding=codings)
        return interaction
    path = spool.path
    whole = Body.of(spool.read(0, spool.size_bytes)) if path is None else None
    return answer.answer(whole or Body(size_bytes=spool.size_bytes, file=path))


def _replacements(
    exchange: Exchange, route: Recorded, interaction: HTTPInteraction
) -> Replacements | None:
    """The live values for what ``sync_response`` captured."""
    sync = route.matcher.sync
    if not sync:
        return None
    recorded = sync.recorded(interaction.request, interaction.captures)
    return Replacements.of(pairs(recorded, captured(exchange, route)))


def at_its_time(
    wall: Callable[[], float], exchange: Exchange, route: Recorded, session: WebSocketInteraction
) -> tuple[WebSocketInteraction, MessageClock | None]:
    """A session with its handshake as it would be now, and what does the same to its messages."""
    clocks, scope = route.fitting.clock, exchange.scope
    mover = _mover(exchange, route, session, wall)
    if clocks is None or mover is None:
        return session, None
    headers = moved_fields(session.response.headers, mover)
    session = evolve(session, response=evolve(session.response, headers=headers))

    def back(text: bytes) -> bytes:
        given = clocks.back(scope)
        return text if given is None else text_moved_back(text, given)

    return session, MessageClock(mover, back) if clocks.bodies else None


def _mover(
    exchange: Exchange, route: Recorded, interaction: Interaction, wall: Callable[[], float]
) -> TextMover | None:
    """What moves the answer's instants; ``None`` without a clock, and if it has no date."""
    clock = route.fitting.clock
    if clock is None:
        return None
    then_s = recorded_s(interaction.recorded_at) or _date_s(interaction)
    if then_s is None:
        return None
    if route.replay_delays:
        parts = (
            interaction.chunks if isinstance(interaction, HTTPInteraction) else (interaction.frames)
        )
        then_s -= sum([part.delay_ms for part in parts]) / 1000
    # Rounded so that nothing is moved beyond the present.
    return clock.mover(exchange.scope, math.ceil(then_s), int(wall()))


def _date_s(interaction: Interaction) -> float | None:
    """When the upstream answered, by its own clock."""
    try:
        date = first_value(interaction.response.headers, b"date") or b""
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except ValueError:
        return None


def _with_moved_fields(interaction: HTTPInteraction, mover: TextMover) -> HTTPInteraction:
    response = interaction.response
    headers = moved_fields(response.headers, mover)
    trailers = moved_fields(interaction.trailers, mover)
    if (headers, trailers) == (response.headers, interaction.trailers):
        return interaction
    return evolve(interaction, response=evolve(response, headers=headers), trailers=trailers)


def with_allowed_wait(
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


def _write(spool: Spool, piece: bytes) -> None:
    if spool.size_bytes + len(piece) > _MOST_BYTES:
        raise BuffrError("the replayed answer is longer than a gigabyte decoded")
    try:
        spool.write(piece)
    except OSError as error:
        raise BuffrError(
            f"cannot store an answer with replaced values: {error.strerror}"
        ) from error


def _fill_all(spool: Spool, pieces: Iterator[bytes]) -> None:
    """Write all pieces, on a thread if they are many."""
    for piece in pieces:
        _write(spool, piece)


async def _fill(reactor: IReactorTime, spool: Spool, pieces: Iterator[bytes]) -> None:
    """Write all pieces, letting other work run between them."""
    turn_at = _TURN_BYTES
    for piece in pieces:
        _write(spool, piece)
        if spool.size_bytes >= turn_at:
            turn_at = spool.size_bytes + _TURN_BYTES
            await deferLater(reactor, 0)
