"""The chunks of a body after something in it was replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from buffr.interaction import Chunk
from buffr.redaction.spans import Edit, new_offsets

__all__ = ["recut", "rescaled"]


def recut(chunks: Sequence[Chunk], edits: Iterable[Edit]) -> tuple[Chunk, ...]:
    """The chunks of the new body, divided where the old one was.

    A stand-in goes whole into the chunk in which the secret began. A chunk
    that becomes empty is dropped, and its delay is added to the next one.
    """
    return tuple(_at(chunks, new_offsets(_ends(chunks), edits)))


def rescaled(chunks: Sequence[Chunk], old_bytes: int, new_bytes: int) -> tuple[Chunk, ...]:
    """The same for a body that was encoded again: divided in the old proportions."""
    if not old_bytes:
        return tuple(chunks)
    return tuple(_at(chunks, (end * new_bytes // old_bytes for end in _ends(chunks))))


def _ends(chunks: Sequence[Chunk]) -> Iterator[int]:
    return accumulate(chunk.size_bytes for chunk in chunks)


def _at(chunks: Sequence[Chunk], ends: Iterable[int]) -> Iterator[Chunk]:
    start = waited_ms = 0
    for chunk, end in zip(chunks, ends, strict=True):
        waited_ms += chunk.delay_ms
        if end > start:
            yield Chunk(end - start, waited_ms)
            start, waited_ms = end, 0
