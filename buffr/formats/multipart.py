"""Multipart bodies (RFC 2046 5.1), parsed in place: the fields of parts, and spans of contents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import re2
from attrs import frozen

from buffr.message import Headers

__all__ = [
    "BodyPart",
    "Disposition",
    "FieldHead",
    "Multipart",
    "boundary_of",
    "disposition_of",
    "field_end",
    "field_heads",
    "fields_in",
    "multipart",
    "parameters",
]

_PARAMETER = re.compile(
    rb';[ \t]*+([^=;\s]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^;]*+)', re.DOTALL
)
_ESCAPED_QUOTE = re.compile(rb'\\(["\\])')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_BEHIND_DELIMITER = re.compile(rb"(--)?[ \t]*+(\r?\n|\Z)")
_LONGEST_BEHIND = 80
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LONGEST_HEAD = 64 * 1024
_AT_ONCE = 256 * 1024

Text = bytes | bytearray


def _linear(pattern: bytes) -> Any:
    """An RE2 pattern for bytes: linear in the text."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern, options)


_FIELD_HEAD = _linear(
    rb"(?i)content-disposition:[ \t]*form-data;([^\r\n]{0,300})\r?\n(?:[^\r\n]+\r?\n)*\r?\n"
)


def parameters(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parameters after a field's value: lower-case names, and values as written."""
    for name, written in _PARAMETER.findall(value):
        yield name.lower(), written


def boundary_of(content_type: bytes | None) -> bytes | None:
    """The boundary in a multipart ``Content-Type``; ``None`` for any other type."""
    if content_type is None or content_type[:10].lower() != b"multipart/":
        return None
    for name, written in parameters(content_type):
        if name == b"boundary":
            quoted = written.startswith(b'"')
            return (_ESCAPE.sub(rb"\1", written[1:-1]) if quoted else written.strip()) or None
    return None


@frozen
class Disposition:
    """What ``Content-Disposition: form-data`` says (RFC 7578 4.2)."""

    name: bytes
    file_name: bytes | None


def disposition_of(value: bytes) -> Disposition | None:
    """``None`` if it does not name a form's field."""
    kind, _, rest = value.partition(b";")
    known = {name: _unquoted(written) for name, written in parameters(b";" + rest)}
    if kind.strip().lower() != b"form-data" or b"name" not in known:
        return None
    file_name = known.get(b"filename")
    if b"filename*" in known:
        file_name = unquote_to_bytes(known[b"filename*"].rpartition(b"'")[2])
    return Disposition(known[b"name"], file_name)


def _unquoted(value: bytes) -> bytes:
    """A parameter's value; in quotes browsers escape by percent, others by backslash."""
    if not value.startswith(b'"'):
        return value.strip()
    plain = _ESCAPED_QUOTE.sub(rb"\1", value[1:-1])
    return plain.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


@frozen
class BodyPart:
    """A part: its fields, and where its content starts and ends."""

    fields: Headers
    start: int
    end: int

    def value(self, name: bytes) -> bytes | None:
        """The first value of a field with this lower-case name."""
        return next((value for field, value in self.fields if field.lower() == name), None)


@frozen
class Multipart:
    """A body's parts, and the positions of the texts before and after them."""

    parts: tuple[BodyPart, ...]
    preamble: tuple[int, int]
    epilogue: tuple[int, int]


def _go_on() -> None:
    pass


def multipart(
    text: Text,
    boundary: bytes,
    start: int = 0,
    end: int | None = None,
    pause: Callable[[], None] = _go_on,
) -> Multipart | None:
    """The parts of ``text[start:end]``; ``None`` if they do not follow RFC 2046.

    All lines around delimiters may end in a bare LF, if the first one does.
    ``pause`` is called now and then.
    """
    end = len(text) if end is None else end
    parts: list[BodyPart] = []
    preamble: tuple[int, int] | None = None
    at = start
    for before, behind, closes in _delimiters(text, boundary, start, end, pause):
        if preamble is None:
            preamble = (start, before)
        else:
            part = _part(text, at, before)
            if part is None:
                return None
            parts.append(part)
        at = behind
        if closes:
            return Multipart(tuple(parts), preamble, (behind, end))
    return None


def _delimiters(
    text: Text, boundary: bytes, start: int, end: int, pause: Callable[[], None]
) -> Iterator[tuple[int, int, bool]]:
    """For each delimiter: where the content before it ends, the next starts, and if it closes."""
    dashes = b"--" + boundary
    line_end = b""
    at = start
    while at < end:
        # In steps: a search holds the interpreter's lock.
        found = text.find(dashes, at, min(end, at + _AT_ONCE + len(dashes)))
        if found < 0:
            at += _AT_ONCE
            pause()
            continue
        at = found + len(dashes)
        behind = _BEHIND_DELIMITER.match(text, at, min(end, at + _LONGEST_BEHIND))
        if behind is None:
            continue
        ending = line_end or bytes(behind[2])
        if not ending:
            ending = b"\r\n" if text[max(start, found - 2) : found] == b"\r\n" else b"\n"
        before = max(start, found - len(ending))
        if found > start and text[before:found] != ending:
            continue
        line_end = ending
        yield before, behind.end(), behind[1] is not None
        at = behind.end()


def _part(text: Text, start: int, end: int) -> BodyPart | None:
    if text[start : start + 1] == b"\n" or text[start : start + 2] == b"\r\n":
        return BodyPart((), start + (1 if text[start : start + 1] == b"\n" else 2), max(start, end))
    gap = _HEAD_END.search(text, start, min(end, start + _LONGEST_HEAD))
    if gap is None:
        # A part may consist of its head only, and end with the line before the delimiter.
        fields = fields_in(bytes(text[start : min(end, start + _LONGEST_HEAD)]))
        return None if fields is None or end - start > _LONGEST_HEAD else BodyPart(fields, end, end)
    fields = fields_in(bytes(text[start : gap.start()]))
    return None if fields is None else BodyPart(fields, gap.end(), end)


def fields_in(head: bytes) -> Headers | None:
    """The fields of a head, whose lines may end in a bare LF; ``None`` if it is malformed."""
    fields: list[tuple[bytes, bytes]] = []
    for line in _FOLD.sub(b" ", head).splitlines() if head.strip() else ():
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            return None
        fields.append((name, value.strip()))
    return tuple(fields)


@frozen
class FieldHead:
    """The head of a form's field, and where its content starts."""

    disposition: Disposition
    start: int


def field_heads(text: bytes) -> Iterator[FieldHead]:
    """The heads of form fields in a text whose boundary is unknown.

    The text may be cut out of a body, and contain what only looks like a head.
    """
    for found in _FIELD_HEAD.finditer(text):
        disposition = disposition_of(b"form-data;" + found[1])
        if disposition is not None:
            yield FieldHead(disposition, found.end())


def field_end(text: bytes, start: int) -> int:
    """Where the content from ``start`` ends: before a line that begins like a delimiter."""
    stop = text.find(b"\n--", start)
    if stop < 0:
        return len(text)
    return stop - (text[stop - 1 : stop] == b"\r")
