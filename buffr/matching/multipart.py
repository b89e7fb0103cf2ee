"""Multipart bodies without their boundary, which is new for each request (RFC 2046 5.1)."""

from __future__ import annotations

import re

__all__ = ["Boundaryless", "boundary_of"]

_STAND_IN = b"\n--<boundary>"
_PARAMETER = re.compile(
    rb';[ \t]*+([^=;\s]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^;]*+)', re.DOTALL
)
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
