"""Rough keys: recordings with the same match key have the same rough key.

It takes a tenth of the time of a match key. A store with many recordings files
them by it, and computes the match key of a recording when something is looked
up that may have it.

A rough key is made from a recording's text as if nothing in it were hidden. If
something is, the match key contains a stand-in there, and so does that of
every request which the recording answers. So a lookup with a stand-in has to
look at all recordings that may differ only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple
from zlib import adler32

from attrs import field, frozen

from buffr.matching.body import BodyKind
from buffr.matching.key import KeyPart
from buffr.redaction.pseudonym import STAND_IN

__all__ = ["EVERYTHING", "Rough", "RoughHead", "Sought", "sought"]

_WHITE_SPACE = b" \t\r\n"
_MIXED = bytes([sha256(bytes((byte,))).digest()[0] for byte in range(256)])
_DIGITS_ONLY = bytes([byte if byte in b"0123456789" else 32 for byte in range(256)])
_BITS = (1 << 32) - 1


class Rough(NamedTuple):
    """The rough key of a recording: of its origin, method and path, and of query and body."""

    head: int
    rest: int


class Sought(NamedTuple):
    """The rough key of what is looked up. ``None`` if anything may match there."""

    head: int | None
    rest: int | None


EVERYTHING = Sought(None, None)


@frozen(eq=False)
class RoughHead:
    """A rough key without a body. ``parts`` are those of its match key up to the path.

    ``kind`` is that of its body, ``query`` the part after ``parts``.
    """

    kind: BodyKind
    parts: tuple[KeyPart, ...]
    query: bytes
    _head: int = field(init=False)
    _fields: tuple[bytes, ...] = field(init=False)

    @_head.default
    def _hash_of_parts(self) -> int:
        return hash(self.parts)

    @_fields.default
    def _sorted_fields(self) -> tuple[bytes, ...]:
        return _fields_of(self.query)

    def key(self, body: bytes) -> Rough:
        """The rough key with this body.

        That may be a document of JSON in any spelling, as long as its strings
        are spelled as in canonical JSON.
        """
        return Rough(self._head, _rest(self._fields, body))


def sought(parts: Sequence[KeyPart]) -> Sought:
    """The rough key of what a match key with these parts finds."""
    at = next(at for at, (name, _) in enumerate(parts) if name == "path")
    head = tuple(parts[: at + 1])
    query, body = parts[at + 1][1], parts[-1][1]
    if STAND_IN in head[-1][1]:
        return EVERYTHING
    hides = STAND_IN in query or STAND_IN in body
    return Sought(hash(head), None if hides else _rest(_fields_of(query), body))


def _fields_of(query: bytes) -> tuple[bytes, ...]:
    """The fields of a query in one order, since their order may make no difference."""
    return tuple(sorted(query.split(b"&"))) if query else ()


def _rest(fields: tuple[bytes, ...], body: bytes) -> int:
    return hash((fields, _text(body) if body else None)) & _BITS


def _text(body: bytes) -> tuple[int, int, frozenset[bytes]]:
    """What does not depend on the order of members and on white space between them.

    The characters, whatever their order, and the runs of digits: bodies often
    differ only in a number.
    """
    mixed = body.translate(_MIXED, _WHITE_SPACE)
    # The lower half of the checksum is the sum of the bytes.
    return len(mixed), adler32(mixed) & 0xFFFF, frozenset(body.translate(_DIGITS_ONLY).split())
