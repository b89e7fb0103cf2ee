"""Turns an interaction into an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from attrs import evolve

from buffr.errors import CassetteError
from buffr.interaction import LEFT_OPEN, Body, Chunk, HTTPInteraction
from buffr.message import (
    CHUNKED,
    UNTIL_CLOSE,
    Piece,
    ResponseHead,
    response_length,
    with_length,
)
from buffr.transport.sink import Sink

__all__ = ["AT_ONCE", "play", "play_unended", "reader"]

_BLOCK_BYTES = 65536
_AT_ONCE = Chunk(0)
AT_ONCE = 131072
"""Larger bodies are sent in blocks, as fast as the client reads them."""


async def play(
    interaction: HTTPInteraction,
    sink: Sink,
    sleep: Callable[[float], Awaitable[None]] | None = None,
    hold: Callable[[int | None], Awaitable[None]] | None = None,
) -> None:
    """Send a recorded answer: at once, or in its recorded cadence with ``sleep`` (seconds).

    ``hold`` waits for a chunk's ``after``; with ``None`` for the end of a
    stream that was left open. Raises ``CassetteError`` if its body's file
    cannot be read.
    """
    head = _true_head(interaction)
    at_once = sleep is None and hold is None
    if at_once and interaction.body.file is None and interaction.body.size_bytes <= AT_ONCE:
        body = interaction.body.data
        sizes = [chunk.size_bytes for chunk in _true_chunks(interaction)]
        sink.answer(head, body, sizes, interaction.trailers)
        await sink.drain()
        return
    await _play_pieces(interaction, head, sink, sleep, hold)
    if hold is not None and interaction.uncertain == LEFT_OPEN:
        sink.flush()
        await hold(None)
    sink.end(interaction.trailers)


async def play_unended(
    interaction: HTTPInteraction,
    sink: Sink,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> None:
    """Send what was recorded of an answer, like ``play``, but not its end."""
    await _play_pieces(interaction, interaction.response, sink, sleep)
    sink.flush()


async def _play_pieces(
    interaction: HTTPInteraction,
    head: ResponseHead,
    sink: Sink,
    sleep: Callable[[float], Awaitable[None]] | None,
    hold: Callable[[int | None], Awaitable[None]] | None = None,
) -> None:
    pieces = _pieces(interaction)
    first = next(pieces, None)
    sink.begin(head)
    while first is not None:
        piece, chunk = first
        if hold is not None and chunk.after:
            sink.flush()
            await hold(chunk.after)
        if sleep is not None and chunk.delay_ms:
            sink.flush()
            await sleep(chunk.delay_ms / 1000)
        if piece.data:
            sink.write(piece)
        await sink.drain()
        first = next(pieces, None)


def _true_head(interaction: HTTPInteraction) -> ResponseHead:
    """The head with the length of the body, which may have been edited in the cassette."""
    head, size_bytes = interaction.response, interaction.body.size_bytes
    if response_length(interaction.request.method, head) in (size_bytes, CHUNKED, UNTIL_CLOSE):
        return head
    return evolve(head, headers=with_length(head.headers, size_bytes))


def _true_chunks(interaction: HTTPInteraction) -> Sequence[Chunk]:
    """The chunks, or a single one if they no longer fit the body."""
    chunks, size_bytes = interaction.chunks, interaction.body.size_bytes
    if sum([chunk.size_bytes for chunk in chunks]) != size_bytes:
        return (Chunk(size_bytes),)
    return chunks or (Chunk(0),)


def _pieces(interaction: HTTPInteraction) -> Iterator[tuple[Piece, Chunk]]:
    """Each piece, and what to wait for before it. Reads ahead before the head is sent."""
    chunks = _true_chunks(interaction)
    read = reader(interaction.body)
    offset = 0
    for chunk in chunks:
        wait, announced = chunk, chunk.size_bytes
        end = offset + chunk.size_bytes
        if not announced and chunk.after:
            yield Piece(b""), chunk
        while offset < end:
            data = read(offset, min(_BLOCK_BYTES, end - offset))
            yield Piece(data, announced or None), wait
            offset += len(data)
            wait, announced = _AT_ONCE, 0


def reader(body: Body) -> Callable[[int, int], bytes]:
    """Returns a function that reads a body's bytes from an offset on.

    It returns at least one byte, and no more than requested. Raises
    ``CassetteError`` if the body's file cannot be read; so does the function.
    """
    if body.file is None:
        data = body.data
        return lambda offset, size: data[offset : offset + size]
    return _file_reader(body.file)


def _file_reader(path: Path) -> Callable[[int, int], bytes]:
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise CassetteError(f"{path}: the body's file cannot be read: {error.strerror}") from error

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        data = file.read(size)
        if not data:
            raise CassetteError(f"{path}: the body's file is shorter than recorded")
        return data

    return read
