"""Multipart bodies in canonical form: the content of parts counts, the client's notation does not.

Boundaries are new for each request (RFC 2046 5.1), inner ones included, and so
are the identifiers and dates of parts. Content that looks like the stand-in
for a boundary is escaped, so that it is never taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import re2

from buffr.formats.multipart import (
    BodyPart,
    Disposition,
    Multipart,
    disposition_of,
    fields_in,
    parameters,
)
from buffr.matching.header_table import HeaderClass, class_of
from buffr.matching.pieces import Piece, Text
from buffr.message import Headers

__all__ = [
    "BoundaryReplacer",
    "Content",
    "ContentIDs",
    "form",
    "message",
    "mixed",
    "unlike_stand_ins",
]

_DELIMITER = b"--<boundary>"
_STAND_IN = b"\n" + _DELIMITER
_LIKE_STAND_IN = b"--<"
_OTHERWISE = b"--<<"
_AT_ONCE = 256 * 1024
_HEAD_END = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_LONGEST_HEAD = 64 * 1024
_MOST_SPACE = 1024

# New for each message, or repeated from the content.
_NOISE = frozenset(
    b"""
    content-length content-md5 date message-id mime-version received return-path user-agent
    x-mailer
    """.split()
)
_COUNTED_IN_HTTP = frozenset((HeaderClass.IDENTITY, HeaderClass.OPTIONS, HeaderClass.VARIANT))
_PLAIN_ENCODINGS = frozenset((b"7bit", b"8bit", b"binary"))

Content = Callable[[bytes | None, int, int], list[Piece]]
"""A stretch of the text in canonical form, by its ``Content-Type``."""


def _linear(pattern: bytes) -> Any:
    """An RE2 pattern: it searches long texts without holding the interpreter's lock."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    return re2.compile(pattern, options)


_CONTENT_ID = _linear(rb"(?mi)^content-id:[ \t]*<?([^<>\r\n]{1,255})")


class ContentIDs:
    """The ``Content-ID`` of each part at any depth, numbered in order.

    References to them are replaced by stand-ins: in ``cid:`` URLs (RFC 2392),
    in ``<>`` in fields, and anywhere if the identifier is long.
    """

    _MOST = 1024
    _UNMISTAKABLE_BYTES = 16

    def __init__(self, text: Text, boundary: bytes) -> None:
        self._stand_ins: dict[bytes, bytes] = {}
        self._boundary = boundary
        for found in _CONTENT_ID.finditer(text):
            one = bytes(found[1]).strip()
            if one and len(self._stand_ins) < self._MOST:
                self._stand_ins.setdefault(one, b"content-id-%d" % (len(self._stand_ins) + 1))

    def in_field(self, value: bytes) -> bytes:
        """A field's value with stand-ins."""
        if b"<" in value:
            for one, stand_in in self._stand_ins.items():
                value = value.replace(b"<%b>" % one, b"<%b>" % stand_in)
        return self._stand_ins.get(value, value)

    def replaced(self, text: Text) -> Text:
        """The text with stand-ins where its contents refer to parts."""
        spellings = {
            spelling: stand_in
            for spelling, stand_in in self._spellings()
            if spelling not in self._boundary
        }
        if not spellings:
            return text
        longest_first = sorted(spellings, key=lambda one: (-len(one), one))
        pattern = _linear(b"|".join([re2.escape(one) for one in longest_first]))
        out, at = bytearray(), 0
        for found in pattern.finditer(text):
            start, end = found.span()
            out += memoryview(text)[at:start]
            out += spellings[bytes(found[0])]
            at = end
        if not at:
            return text
        out += memoryview(text)[at:]
        return out

    def _spellings(self) -> Iterator[tuple[bytes, bytes]]:
        for one, stand_in in self._stand_ins.items():
            quoted = {one, quote_from_bytes(one, safe="").encode(), quote_from_bytes(one).encode()}
            for spelling in quoted:
                yield b"cid:" + spelling, b"cid:" + stand_in
                if len(spelling) >= self._UNMISTAKABLE_BYTES:
                    yield spelling, stand_in


def form(
    text: Text, found: Multipart, content: Callable[[BodyPart, Disposition], list[Piece] | None]
) -> list[Piece] | None:
    """A form (RFC 7578) in canonical form; ``None`` if it is not a form.

    Its parts in order, each with its name, file name, media type and
    ``content``; a part whose ``content`` is ``None`` is left out.
    """
    out: list[Piece] = []
    if not _is_bare(text, found):
        return None
    for part in found.parts:
        said = disposition_of(part.value(b"content-disposition") or b"")
        if said is None or len({name.lower() for name, _ in part.fields}) < len(part.fields):
            return None
        pieces = content(part, said)
        if pieces is None:
            continue
        words = [b"name=" + _quoted(said.name)]
        if said.file_name is not None:
            words.append(b"filename=" + _quoted(said.file_name))
        media_type = _plain_type(part.value(b"content-type") or b"")
        if media_type:
            words.append(b"type=" + media_type)
        out += _part(b" " + b"; ".join(words) + b"\r\n", pieces)
    return [*out, _DELIMITER + b"--"]


def mixed(text: Text, found: Multipart, ids: ContentIDs, content: Content) -> list[Piece] | None:
    """Any other multipart body in canonical form: parts by their fields and contents."""
    if not _is_bare(text, found):
        return None
    out: list[Piece] = []
    for part in found.parts:
        head = b"\r\n" + _lines(part.fields, ids, _counts)
        out += _part(head, content(part.value(b"content-type"), part.start, part.end))
    return [*out, _DELIMITER + b"--"]


def _is_bare(text: Text, found: Multipart) -> bool:
    """Whether there is nothing but a little white space around the parts."""
    spans = (found.preamble, found.epilogue)
    return all(end - start <= _MOST_SPACE and not text[start:end].strip() for start, end in spans)


def message(
    text: Text, start: int, end: int, ids: ContentIDs, content: Content, *, http: bool
) -> list[Piece] | None:
    """An HTTP or e-mail message within a part, in canonical form; ``None`` if it is not one.

    With ``http`` its first line, then the fields that count, and its body.
    """
    head = bytes(text[start : min(end, start + _LONGEST_HEAD)])
    gap = _HEAD_END.search(head)
    if gap is None and end - start > len(head):
        return None
    size, behind = (len(head), len(head)) if gap is None else gap.span()
    line, _, rest = head[:size].partition(b"\n") if http else (b"", b"", head[:size])
    fields = fields_in(rest)
    if fields is None:
        return None
    content_type = next((v for name, v in fields if name.lower() == b"content-type"), None)
    said = line.strip() + b"\r\n" + _lines(fields, ids, _counts_in_http if http else _counts)
    return [said + b"\r\n", *content(content_type, start + behind, end)]


def _counts(name: bytes, value: bytes) -> bool:
    """Whether a field of a part or an e-mail counts."""
    if name == b"content-transfer-encoding":
        return value.lower() not in _PLAIN_ENCODINGS
    return name not in _NOISE


def _counts_in_http(name: bytes, _value: bytes) -> bool:
    """Whether a field of an HTTP request within a part counts, as in any other request."""
    return class_of(name) in _COUNTED_IN_HTTP


def _lines(fields: Headers, ids: ContentIDs, counts: Callable[[bytes, bytes], bool]) -> bytes:
    """The fields that count, sorted, one a line."""
    lines = []
    for name, value in fields:
        lower = name.lower()
        if counts(lower, value):
            said = _plain_type(value) if lower == b"content-type" else value
            lines.append(lower + b": " + ids.in_field(said) + b"\r\n")
    return b"".join(sorted(lines))


def _part(head: bytes, content: list[Piece]) -> list[Piece]:
    return [_DELIMITER, *_guarded([head + b"\r\n", *content]), b"\r\n"]


def _guarded(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces with everything escaped that looks like the start of a stand-in."""
    before = b""
    for piece in pieces:
        for at in range(0, len(piece), _AT_ONCE):
            part = piece[at : at + _AT_ONCE]
            text = before + part
            if _LIKE_STAND_IN in text:
                yield text.replace(_LIKE_STAND_IN, _OTHERWISE)[len(before) :]
            else:
                yield part
            before = text[1 - len(_LIKE_STAND_IN) :]


def unlike_stand_ins(text: Text) -> bytes:
    """The text with everything escaped that looks like the start of a stand-in."""
    return bytes(text).replace(_LIKE_STAND_IN, _OTHERWISE)


def _plain_type(value: bytes) -> bytes:
    """A media type in canonical form, without a boundary."""
    media_type, _, rest = value.partition(b";")
    said = [
        b";%b=%b" % (name, written.strip())
        for name, written in parameters(b";" + rest)
        if name != b"boundary"
    ]
    return media_type.strip().lower() + b"".join(said)


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe=" .-_[]").encode("ascii")


class BoundaryReplacer:
    """Replaces a multipart body's boundary by a stand-in.

    The body comes in pieces, split anywhere; the total result does not depend
    on where. Every line that begins with the delimiter counts, after a bare
    line feed too; the rest of its line stays.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\n--" + boundary
        # The first delimiter needs no line break before it: one is added, and removed again.
        self._held = b"\n"
        self._lent = 1

    def feed(self, data: bytes) -> bytes:
        """The next piece of the result, without an end that may become a delimiter."""
        whole = (self._held + data).replace(self._delimiter, _STAND_IN)
        keep = len(whole)
        last = whole.rfind(b"\n", max(0, keep - len(self._delimiter) + 1))
        if last >= 0 and self._delimiter.startswith(whole[last:]):
            keep = last
        self._held = whole[keep:]
        return self._without_lent(whole[:keep])

    def end(self) -> bytes:
        """The rest."""
        return self._without_lent(self._held)

    def over(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The result for all pieces."""
        for piece in pieces:
            yield self.feed(piece)
        yield self.end()

    def _without_lent(self, out: bytes) -> bytes:
        if out and self._lent:
            self._lent = 0
            return out[1:]
        return out
