r"""One spelling for every JSON document (RFC 8259), so that documents can be compared as bytes.

Members are sorted by name, white space goes, strings have one spelling
(``\\u00e9`` is ``é``). Everything that could tell two documents apart stays:
numbers keep their digits (``1.0`` is not ``1``, ``-0`` is not ``0``), members
with one name stay side by side in their order.

Two readers, one result. msgspec's is ten times faster, but drops all but the
last of several members with one name, and reads ``-0`` as ``0``; where its
result could have lost something, the standard library's reader does the work.
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

Both readers recurse; a limit of their own would depend on how deep in the
stack they are called, and a recording would no longer match its request.
"""

_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_NOT_MARKS = bytes(sorted(set(range(256)) - set(b"[]{}:-")))
_STRING = re.compile(STRING.encode() + b"?", re.DOTALL)
_STEP = dict(zip(b"[]{}", (1, -1, 1, -1), strict=True))

_ESCAPED_COLON_OR_MINUS = re.compile(rb"u00(?:3[aA]|2[dD])")


class Digits(float):
    """A number with a fraction or an exponent that knows how it was written."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Self:
        self = super().__new__(cls, written)
        self.written = written
        return self


def as_written(number: object) -> Raw:
    assert isinstance(number, Digits)
    return Raw(number.written)


# Numbers with a fraction or an exponent come to the hook as they are written.
_decode = Decoder(float_hook=Raw).decode
_decode_to_edit = Decoder(float_hook=Digits).decode
_encode = Encoder(order="deterministic", enc_hook=as_written).encode


def canonical(body: bytes) -> bytes | None:
    """The document's one spelling; ``None`` for what is not JSON or not read.

    Not read: nesting deeper than ``DEEPEST``, lone surrogates, bytes that are
    not UTF-8, a byte order mark, ``NaN`` and ``Infinity``.
    """
    marks = body.translate(None, _NOT_MARKS)
    if len(marks) > DEEPEST and _too_deep(body, marks.translate(None, b":-")):
        return None
    try:
        result = _encode(_decode(body))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return slow_canonical(body)
    # Whatever msgspec changes makes the document shorter: nothing was lost, not even a space.
    if len(result) == len(body):
        return result
    if _may_have_lost(marks, result.translate(None, _NOT_MARKS)) or _escapes_marks(body):
        return slow_canonical(body)
    return result


def canonical_edited(body: bytes, edit: Callable[[object], object]) -> bytes | None:
    """The one spelling of what ``edit`` makes of the document.

    It gets dicts, lists, strings, ints, ``Digits``, booleans and ``None``, which
    it may change, and may not look into ``Raw``: an object that has several
    members with one name.
    """
    try:
        return _encode(edit(document_of(body)))
    except (ValueError, RecursionError):
        return None


def document_of(body: bytes) -> object:
    """The document that is given to an ``edit``. Raises ``ValueError`` for what is not read."""
    plain = canonical(body)
    if plain is None:
        raise ValueError("it is not JSON")
    document: object = _decode_to_edit(plain)
    return document if _encode(document) == plain else _slow_document(plain, Digits)


def _may_have_lost(marks: bytes, kept: bytes) -> bool:
    """Whether msgspec's result could lack something, by the marks before and after.

    A lost member is a lost colon, and ``-0`` read as ``0`` a lost minus sign;
    nothing adds one but unescaping, see ``_escapes_marks``.
    """
    return marks.count(b":") != kept.count(b":") or marks.count(b"-") != kept.count(b"-")


def _escapes_marks(body: bytes) -> bool:
    return b"\\" in body and _ESCAPED_COLON_OR_MINUS.search(body) is not None


def slow_canonical(body: bytes) -> bytes | None:
    """As ``canonical``, by the standard library's reader; ``body`` is not too deep."""
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

    Few brackets cannot nest deeply; many mostly vanish when pairs are taken
    out from the inside; only what is left then (brackets inside strings, or
    real depth) is counted one by one.
    """
    for _ in range(8):
        if len(brackets) <= DEEPEST:
            return False
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    outside = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, outside)), default=0) > DEEPEST
