"""Secrets in pieces: over the events of a stream, or over several messages.

A model that spells a key sends a few letters in each event, at the same place
in each event's JSON. The strings at the same place are read as one text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from attrs import frozen

from buffr.redaction.json_places import Place, documents, strings
from buffr.redaction.spans import SecretSpan

__all__ = ["find_spread"]

_MOST_STRINGS = 50_000
_SHORTEST = 16

Find = Callable[[bytes], Iterable[SecretSpan]]


@frozen
class _Piece:
    """The content of a string: ``texts[number][start:end]``."""

    number: int
    start: int
    end: int


def find_spread(texts: Sequence[bytes], find: Find) -> dict[int, list[SecretSpan]]:
    """What ``find`` finds in strings that continue from document to document.

    ``texts`` contain JSON documents, one each or one a line, as events do. The
    result is by the number of the text: the first piece of a secret becomes
    the stand-in, the other pieces become empty.
    """
    places: dict[Place, list[_Piece]] = defaultdict(list)
    for place, piece in islice(_pieces(texts), _MOST_STRINGS):
        places[place].append(piece)
    spread: dict[int, list[SecretSpan]] = defaultdict(list)
    for pieces in places.values():
        for number, found in _of_place(texts, pieces, find):
            spread[number].append(found)
    return spread


def _pieces(texts: Sequence[bytes]) -> Iterator[tuple[Place, _Piece]]:
    for number, text in enumerate(texts):
        for offset, document in documents(text):
            for place, start, end in strings(document):
                yield place, _Piece(number, offset + start, offset + end)


def _of_place(
    texts: Sequence[bytes], pieces: Sequence[_Piece], find: Find
) -> Iterator[tuple[int, SecretSpan]]:
    contents = [texts[piece.number][piece.start : piece.end] for piece in pieces]
    joined = b"".join(contents)
    if len(set(contents)) == 1 or len(joined) < _SHORTEST:
        return
    for found in find(joined):
        at = 0
        secret = found.secret
        for piece, content in zip(pieces, contents, strict=True):
            start, end = max(found.start, at), min(found.end, at + len(content))
            if start < end and (found.start < at or found.end > at + len(content)):
                where = piece.start - at
                yield (
                    piece.number,
                    SecretSpan(
                        where + start, where + end, found.name, secret, "in pieces", counted=True
                    ),
                )
                secret = b""
            at += len(content)
