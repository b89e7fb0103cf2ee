"""Content codings of request bodies, undone so that what they hold can be compared."""

from __future__ import annotations

import zlib

__all__ = ["decoded"]

_GZIP = 16 + zlib.MAX_WBITS

# Gzip members may follow one another (RFC 1952 2.2). For each one the rest is copied.
_MOST_MEMBERS = 64


def decoded(codings: bytes, body: bytes, *, limit_bytes: int) -> bytes | None:
    """What a body holds under its ``Content-Encoding`` (RFC 9110 8.4).

    ``None`` when that is unknown: another coding than gzip and deflate, a body
    that is not what the field says, or more than ``limit_bytes`` at any step.
    """
    for coding in reversed(codings.lower().split(b",")):
        undone = _undone(coding.strip(), body, limit_bytes)
        if undone is None:
            return None
        body = undone
    return body


def _undone(coding: bytes, body: bytes, limit_bytes: int) -> bytes | None:
    if coding in (b"", b"identity"):
        return body
    if coding in (b"gzip", b"x-gzip"):
        return _inflated(body, _GZIP, limit_bytes)
    if coding == b"deflate":
        # Some clients send the bare format of RFC 1951 without the zlib frame that it should have.
        framed = _inflated(body, zlib.MAX_WBITS, limit_bytes)
        return _inflated(body, -zlib.MAX_WBITS, limit_bytes) if framed is None else framed
    return None


def _inflated(body: bytes, window_bits: int, limit_bytes: int) -> bytes | None:
    out = bytearray()
    rest = body
    for _ in range(_MOST_MEMBERS):
        inflater = zlib.decompressobj(window_bits)
        try:
            out += inflater.decompress(rest, limit_bytes + 1 - len(out))
        except zlib.error:
            return None
        if len(out) > limit_bytes or not inflater.eof:
            return None
        rest = inflater.unused_data
        if not rest:
            return bytes(out)
        if window_bits != _GZIP:
            return None
    return None
