"""Multipart bodies without their boundary, which is new for each request (RFC 2046 5.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from attrs import frozen

__all__ = ["Boundaryless", "Part", "boundary_of", "canonical_parts"]

_STAND_IN = b"\n--<boundary>"
_PARAMETER = re.compile(
    rb';[ \t]*+([^=;\s]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^;]*+)', re.DOTALL
)
_ESCAPED_QUOTE = re.compile(rb'\\(["\\])')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def boundary_of(content_type: bytes | None) -> bytes | None:
    """The boundary that a multipart ``Content-Type`` names; ``None`` for any other type."""
    if content_type is None or content_type[:10].lower() != b"multipart/":
        return None
    for name, value in _PARAMETER.findall(content_type):
        if name.lower() == b"boundary":
            quoted = value.startswith(b'"')
            return (_ESCAPE.sub(rb"\1", value[1:-1]) if quoted else value.strip()) or None
    return None


@frozen
class Part:
    """A part of a form (RFC 7578): its field's name, and those of its file and media type."""

    name: bytes
    file_name: bytes | None
    media_type: bytes
    content: bytes


def canonical_parts(
    body: bytes, replace: Callable[[bytes, bytes], bytes | None] = lambda _name, content: content
) -> bytes | None:
    """One spelling of a form that ``Boundaryless`` gave back; ``None`` for what is none.

    Its parts in their order, each by name, file name, media type and content.
    How and in which order a client writes a part's fields, and what else it
    says there, makes no difference. ``replace`` is asked about the name and
    content of each part that is no file, and says what content takes its
    place; ``None`` leaves the part out.
    """
    delimiter = _STAND_IN[1:]
    first, *parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if first or not parts or parts[-1].strip() != b"--":
        return None
    out = []
    for text in parts[:-1]:
        part = _part(text)
        if part is None:
            return None
        content = part.content if part.file_name is not None else replace(part.name, part.content)
        if content is None:
            continue
        said = [b"name=" + _quoted(part.name)]
        if part.file_name is not None:
            said.append(b"filename=" + _quoted(part.file_name))
        if part.media_type:
            said.append(b"type=" + part.media_type)
        out.append(b"%b %b\r\n\r\n%b\r\n" % (delimiter, b"; ".join(said), content))
    return b"".join(out) + delimiter + b"--"


def _part(text: bytes) -> Part | None:
    head, gap, content = text.partition(b"\r\n\r\n")
    padding, line_break, fields = head.partition(b"\r\n")
    if not gap or not line_break or padding.strip(b" \t"):
        return None
    said: dict[bytes, bytes] = {}
    for line in fields.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or name.lower() in said:
            return None
        said[name.lower()] = value.strip()
    kind, _, parameters = said.get(b"content-disposition", b"").partition(b";")
    known = {
        name.lower(): _unquoted(value) for name, value in _PARAMETER.findall(b";" + parameters)
    }
    if kind.strip().lower() != b"form-data" or b"name" not in known:
        return None
    file_name = known.get(b"filename")
    if b"filename*" in known:
        file_name = unquote_to_bytes(known[b"filename*"].rpartition(b"'")[2])
    return Part(known[b"name"], file_name, _plain_type(said.get(b"content-type", b"")), content)


def _plain_type(value: bytes) -> bytes:
    media_type, semicolon, parameters = value.partition(b";")
    return media_type.strip().lower() + semicolon + parameters.replace(b" ", b"")


def _unquoted(value: bytes) -> bytes:
    """A parameter's value; in quotes browsers escape by percent, others by backslash."""
    if not value.startswith(b'"'):
        return value.strip()
    plain = _ESCAPED_QUOTE.sub(rb"\1", value[1:-1])
    return plain.replace(b"%22", b'"').replace(b"%0D", b"\r").replace(b"%0A", b"\n")


def _quoted(value: bytes) -> bytes:
    return quote_from_bytes(value, safe=" .-_[]").encode("ascii")


class Boundaryless:
    """Gives a multipart body back with one stand-in for its boundary.

    The body comes in pieces, cut anywhere; what comes out in total does not
    depend on the cuts. Every line that begins with the delimiter counts, after
    a bare line feed too; a stand-in keeps what follows it on its line.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\n--" + boundary
        # The first delimiter needs no line break before it: one is lent, and taken back.
        self._held = b"\n"
        self._lent = 1

    def feed(self, data: bytes) -> bytes:
        """The next stretch of the result, without an end that may become a delimiter."""
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

    def _without_lent(self, out: bytes) -> bytes:
        if out and self._lent:
            self._lent = 0
            return out[1:]
        return out
