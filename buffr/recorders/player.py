"""An interaction becomes an answer again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from buffr.errors import CassetteError
from buffr.interaction import Chunk, HTTPInteraction
from buffr.message import Piece
from buffr.sink import Sink

__all__ = ["play"]

_BLOCK_BYTES = 65536


async def play(
    interaction: HTTPInteraction,
    sink: Sink,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> None:
    """Send a recorded answer: at once, or in its recorded cadence with ``sleep`` (seconds).

    Raises ``CassetteError`` when its body's file cannot be read.
    """
    if sleep is None and interaction.body.file is None:
        sizes = [chunk.size_bytes for chunk in interaction.chunks]
        body = interaction.body.data
        sink.answer(interaction.response, body, sizes or [len(body)], interaction.trailers)
        await sink.drain()
        return
    pieces = _pieces(interaction)
    first = next(pieces, None)
    sink.begin(interaction.response)
    while first is not None:
        piece, delay_ms = first
        if sleep is not None and delay_ms:
            sink.flush()
            await sleep(delay_ms / 1000)
        sink.write(piece)
        await sink.drain()
        first = next(pieces, None)
    sink.end(interaction.trailers)


def _pieces(interaction: HTTPInteraction) -> Iterator[tuple[Piece, int]]:
    """Each piece, and the milliseconds to wait before it. Reads ahead of the head's sending."""
    chunks = interaction.chunks or (Chunk(interaction.body.size_bytes),)
    read = _reader(interaction)
    offset = 0
    for chunk in chunks:
        delay_ms, announced = chunk.delay_ms, chunk.size_bytes
        end = offset + chunk.size_bytes
        while offset < end:
            data = read(offset, min(_BLOCK_BYTES, end - offset))
            yield Piece(data, announced or None), delay_ms
            offset += len(data)
            delay_ms = announced = 0


def _reader(interaction: HTTPInteraction) -> Callable[[int, int], bytes]:
    path = interaction.body.file
    if path is None:
        data = interaction.body.data
        return lambda offset, size: data[offset : offset + size]
    return _file_reader(path)


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
