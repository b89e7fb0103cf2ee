r"""One spelling for every JSON document (RFC 8259), so that documents can be compared as bytes.

Members are sorted by name, white space is removed, strings have one spelling
(``\\u00e9`` is ``é``). Everything that may distinguish two documents stays:
numbers keep their digits (``1.0`` is not ``1``, ``-0`` is not ``0``), members
with one name stay side by side in their order.

Two parsers, one result. msgspec's is ten times faster, but keeps only the last
of several members with the same name, and reads ``-0`` as ``0``; if its result
may have lost something, the standard library's parser is used instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from operator import itemgetter
from typing import NoReturn, Self

from msgspec import DecodeError, Raw
from msgspec.json import Decoder, Encoder

from buffr.formats.json_text import STRING

__all__ = [
    "DEEPEST",
    "Digits",
    "as_written",
    "canonical",
    "canonical_edited",
    "document_of",
    "slow_canonical",
]

DEEPEST = 128
"""Arrays and objects nested deeper than this are not read.

Both parsers recurse; their own limits depend on how deep in the stack they are
called, and a recording would no longer match its request.
"""

_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_NOT_MARKS = bytes(sorted(set(range(256)) - set(b"[]{}:-")))
_STRING = re.compile(STRING.encode() + b"?", re.DOTALL)
_STEP = dict(zip(b"[]{}", (1, -1, 1, -1), strict=True))

_ESCAPED_COLON_OR_MINUS = re.compile(rb"u00(?:3[aA]|2[dD])")


class Digits(float):
    """A number with a fraction or an exponent that keeps its original digits."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        self = super().__new__(cls, written)
        self.written = written
        return self


def as_written(number: object) -> Raw:
    assert isinstance(number, Digits)
    return Raw(number.written)


# Numbers with a fraction or an exponent reach the hook as text.
_decode = Decoder(float_hook=Raw).decode
_decode_to_edit = Decoder(float_hook=Digits).decode
_encode = Encoder(order="deterministic", enc_hook=as_written).encode


def canonical(body: bytes) -> bytes | None:
    """The document in canonical form; ``None`` if it is not JSON or outside the limits.

    Outside the limits: nesting deeper than ``DEEPEST``, lone surrogates, bytes
    that are not UTF-8, a byte order mark, ``NaN`` and ``Infinity``.
    """
    marks = body.translate(None, _NOT_MARKS)
    if len(marks) > DEEPEST and _too_deep(body, marks.translate(None, b":-")):
        return None
    try:
        result = _encode(_decode(body))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return slow_canonical(body)
    # Every change by msgspec shortens the document: with equal lengths nothing was lost.
    if len(result) == len(body):
        return result
    if _may_have_lost(marks, result.translate(None, _NOT_MARKS)) or _escapes_marks(body):
        return slow_canonical(body)
    return result


def canonical_edited(body: bytes, edit: Callable[[object], object]) -> bytes | None:
    """The document in canonical form after ``edit``.

    ``edit`` gets dicts, lists, strings, ints, ``Digits``, booleans and
    ``None``, which it may change, and ``Raw``, which it must leave alone: an
    object with several members of the same name.
    """
    try:
        return _encode(edit(document_of(body)))
    except (ValueError, RecursionError):
        return None


def document_of(body: bytes) -> object:
    """The document that ``edit`` gets. Raises ``ValueError`` if it cannot be parsed."""
    plain = canonical(body)
    if plain is None:
        raise ValueError("not JSON")
    document: object = _decode_to_edit(plain)
    return document if _encode(document) == plain else _slow_document(plain, Digits)


def _may_have_lost(marks: bytes, kept: bytes) -> bool:
    """Whether msgspec's result may lack something, judged by the marks before and after.

    A lost member is a lost colon, and ``-0`` read as ``0`` is a lost minus
    sign; only unescaping adds one, see ``_escapes_marks``.
    """
    return marks.count(b":") != kept.count(b":") or marks.count(b"-") != kept.count(b"-")


def _escapes_marks(body: bytes) -> bool:
    return b"\\" in body and _ESCAPED_COLON_OR_MINUS.search(body) is not None


def slow_canonical(body: bytes) -> bytes | None:
    """Like ``canonical``, with the standard library's parser; ``body`` must not be too deep."""
    try:
        return _encode(_slow_document(body, Raw))
    except (ValueError, RecursionError):
        return None


def _slow_document(body: bytes, number: Callable[[str], object]) -> object:
    return json.loads(
        body.decode("utf-8"),
        object_pairs_hook=_members,
        parse_int=Raw,
        parse_float=number,
        parse_constant=_refuse,
    )


def _members(pairs: list[tuple[str, object]]) -> object:
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    ordered = sorted(pairs, key=itemgetter(0))
    members = [_encode(name) + b":" + _encode(value) for name, value in ordered]
    return Raw(b"{" + b",".join(members) + b"}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _too_deep(body: bytes, brackets: bytes) -> bool:
    """Whether arrays and objects nest deeper than ``DEEPEST``; ``brackets`` are all of the body's.

    A few brackets cannot nest deeply. Most of many disappear when pairs are
    removed from the inside; only the rest (brackets inside strings, or real
    depth) is counted one by one.
    """
    for _ in range(8):
        if len(brackets) <= DEEPEST:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    outside = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, outside)), default=0) > DEEPEST
