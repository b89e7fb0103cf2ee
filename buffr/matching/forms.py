"""Urlencoded forms, in bodies and queries: their fields, in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

from buffr.matching.pieces import Pause, Piece, PieceBuffer, Text

__all__ = ["canonical_form", "field_name", "form_in_slices", "sorted_pairs", "without_fields"]

_RESERVED = re.compile(rb"[^0-9A-Za-z_.~-]")
_CUT_ESCAPE = re.compile(rb"%.?\Z", re.DOTALL)
_WINDOW = 64 * 1024

Replace = Callable[[bytes, bytes], bytes | None]
"""Gets a field's decoded name and value, and returns the value to use instead.

``None`` removes the field.
"""


def field_name(field: bytes) -> bytes:
    """The decoded name of one ``name=value`` (or bare ``name``) of a form or query."""
    return _plain(field.partition(b"=")[0])


def without_fields(form: bytes, names: frozenset[bytes]) -> bytes:
    """The form without the fields of these names; all other bytes are unchanged."""
    if not names:
        return form
    return b"&".join([field for field in form.split(b"&") if field_name(field) not in names])


def sorted_pairs(query: bytes) -> bytes:
    """A query's fields sorted by decoded name and value, in one spelling of their encodings.

    Fields without a value are left out, as ``urllib.parse.parse_qsl`` leaves them out.
    """
    pairs = []
    for field in query.split(b"&"):
        name, _, value = field.partition(b"=")
        if value:
            pairs.append((_plain(name), _plain(value)))
    return b"&".join([b"%b=%b" % (_quoted(name), _quoted(value)) for name, value in sorted(pairs)])


def canonical_form(form: bytes, replace: Replace) -> bytes:
    """The form with canonical percent-encoding and its fields in their order.

    ``a`` and ``a=`` stay different.
    """
    fields = []
    for field in form.split(b"&"):
        name, equals, value = field.partition(b"=")
        new = replace(_plain(name), _plain(value))
        if new is not None:
            fields.append(_quoted(_plain(name)) + equals + (_quoted(new) if equals else b""))
    return b"&".join(fields)


def form_in_slices(
    form: Text, replace: Replace, pause: Pause, window: int = _WINDOW
) -> list[Piece]:
    """The same for a long form. ``replace`` gets only the start of a long value.

    A slice has about ``window`` bytes.
    """
    out = PieceBuffer(b"")
    between = b""
    for start, end in _fields(form, pause, window):
        equals = form.find(b"=", start, end)
        name_end = equals if equals >= 0 else end
        name = _plain(bytes(form[start:name_end]))
        if equals < 0 or end - equals <= window:
            value = _plain(bytes(form[name_end + 1 : end]))
            new = replace(name, value)
            pieces: Iterator[bytes] = iter(() if new is None else (_quoted(new),))
        else:
            first = next(_slices(form, equals + 1, end, window))
            new = replace(name, first)
            whole = (_quoted(piece) for piece in _slices(form, equals + 1, end, window))
            pieces = whole if new == first else iter((_quoted(new or b""),))
        if new is None:
            continue
        out.add(between + _quoted(name) + (b"=" if equals >= 0 else b""))
        for piece in pieces if equals >= 0 else ():
            out.add(piece)
            pause()
        between = b"&"
    return out.end()


def _fields(form: Text, pause: Pause, window: int) -> Iterator[tuple[int, int]]:
    """Where each field starts and ends."""
    start = at = 0
    while at <= len(form):
        stop = form.find(b"&", at, at + window)
        pause()
        if stop < 0 and at + window < len(form):
            at += window
            continue
        end = len(form) if stop < 0 else stop
        yield start, end
        start = at = end + 1


def _slices(form: Text, start: int, end: int, window: int) -> Iterator[bytes]:
    """A long value in decoded slices; no escape sequence is split."""
    while start < end:
        stop = min(end, start + window)
        cut = _CUT_ESCAPE.search(form, max(start, stop - 2), stop)
        if cut is not None and stop < end and cut.start() > start:
            stop = cut.start()
        yield _plain(bytes(form[start:stop]))
        start = stop


def _plain(text: bytes) -> bytes:
    spaced = text.replace(b"+", b" ")
    return unquote_to_bytes(spaced) if b"%" in spaced else spaced


def _quoted(text: bytes) -> bytes:
    return _RESERVED.sub(_escape, text)


def _escape(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]
