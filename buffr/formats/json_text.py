"""Positions in JSON text (RFC 8259): which value is at which place.

Used to show, colour or replace parts of a document. The texts must be valid
documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import msgspec

__all__ = ["STRING", "Place", "pointers", "scalars"]

Place = tuple[int | str, ...]
"""The place of a value: the names and indices that lead to it."""

STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""The pattern of a string; needs DOTALL if a text may not be JSON."""

_LEXEME = re.compile(rb'[\[\]{}:,]|%b|[^\s\[\]{}:,"]++' % STRING.encode())


def _lexemes(text: bytes) -> Iterator[tuple[int, int, bool, list[int | str]]]:
    """Each bracket, name and scalar: start, end, whether it is a scalar, and its value's place.

    A member's name has the place of its value. The place is one list for all
    lexemes, and changes with the next one.
    """
    place: list[int | str] = []
    name_next = False
    for found in _LEXEME.finditer(text):
        start, end = found.span()
        match text[start : start + 1]:
            case b"{" | b"[" as mark:
                yield start, end, False, place
                name_next = mark == b"{"
                place.append("" if name_next else 0)
            case b"}" | b"]":
                place.pop()
                name_next = False
                yield start, end, False, place
            case b",":
                last = place[-1]
                name_next = isinstance(last, str)
                place[-1] = "" if isinstance(last, str) else last + 1
            case b":":
                pass
            case _ if name_next:
                place[-1] = str(json.loads(text[start:end], strict=False))
                name_next = False
                yield start, end, False, place
            case _:
                yield start, end, True, place


def scalars(text: bytes) -> Iterator[tuple[Place, int, int]]:
    """Every string, number and word of a document: its place, start and end."""
    for start, end, is_scalar, place in _lexemes(text):
        if is_scalar:
            yield tuple(place), start, end


def pointers(text: bytes, offsets: Sequence[int]) -> Iterator[str]:
    """The JSON pointer (RFC 6901) of the value at each of some ascending offsets.

    Empty for the whole document, and if the text is not JSON. The name of a
    member counts as its value.
    """
    waiting = list(reversed(offsets))
    for _, end, _, place in _lexemes(text) if _is_document(text) else ():
        while waiting and waiting[-1] < end:
            waiting.pop()
            yield "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)
        if not waiting:
            return
    yield from ("" for _ in waiting)


def _is_document(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
