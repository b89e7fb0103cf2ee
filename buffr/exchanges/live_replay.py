"""Replays that answer with values of the live request."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import LogLevel

from buffr.errors import BuffrError
from buffr.formats.codings import BadCoding
from buffr.interaction import Body, HTTPInteraction
from buffr.log import say
from buffr.matching.captures import Captured, SyncRules, pairs
from buffr.recording.live_answer import LiveBody, with_live_fields
from buffr.recording.live_values import Replacements
from buffr.recording.player import reader
from buffr.transport.spool import Spool

__all__ = ["with_live_values"]

_MOST_BYTES = 1 << 30
_TURN_BYTES = 128 * 1024


async def with_live_values(
    reactor: IReactorTime,
    sync: SyncRules,
    live: Captured,
    interaction: HTTPInteraction,
    spool: Spool,
) -> HTTPInteraction:
    """The interaction as it answers a request in which the rules captured ``live``.

    Its body may be in the spool, and lives as long as that. A body whose
    content coding is unknown or wrong stays as it is, and it is said. Raises
    ``CassetteError`` when a body's file cannot be read.
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
    """Write all pieces, with a turn for others between them."""
    turn_at = _TURN_BYTES
    for piece in pieces:
        if spool.size_bytes + len(piece) > _MOST_BYTES:
            raise BuffrError("sync_response: the answer is longer than a gigabyte decoded")
        try:
            spool.write(piece)
        except OSError as error:
            raise BuffrError(f"no room to replace values in an answer: {error.strerror}") from error
        if spool.size_bytes >= turn_at:
            turn_at = spool.size_bytes + _TURN_BYTES
            await deferLater(reactor, 0)
