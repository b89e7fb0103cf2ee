"""Decoding and encoding of content codings (RFC 9110 8.4): gzip, deflate, br and zstd.

Memory is bounded, whatever the input.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import brotli
import zstandard

__all__ = [
    "GZIP_START",
    "BadCoding",
    "are_known",
    "are_plain",
    "coding_names",
    "decoded",
    "decoding",
    "encoded",
    "encoding",
    "unlabelled",
]

GZIP_START = b"\x1f\x8b\x08"
"""The first bytes of a gzip body (RFC 1952 2.3.1)."""

_TAR = slice(257, 262), b"ustar"

_GZIP = 16 + zlib.MAX_WBITS
_ONCE_BYTES = 256 * 1024

# Gzip members and zstd frames may be concatenated (RFC 1952 2.2, RFC 8878 3). For each one the rest
# is copied.
_MOST_MEMBERS = 64

# A few bytes of zstd can expand to a block of 128 KiB (RFC 8878 3.1.1.2.2).
_ZSTD_STEP = 256

# No more than a browser would accept (RFC 9659).
_ZSTD_WINDOW = 8 << 20

_MOST_CODINGS = 8
"""More in one field are an attack: each is a pass over the body, or a nested generator."""

_IDENTITY = frozenset((b"", b"identity", b"aws-chunked"))
"""``aws-chunked`` frames a body with signatures, and leaves its bytes readable."""

_NOT_A_CODING = re.compile(
    rb"none|null|plain|text|raw|default|binary|[78]bit|chunked|amz-1\.0"
    rb"|utf-?8|(us-)?ascii|latin-?1|iso-?8859-?1?[0-9]|(windows|cp)-?125[0-8]"
    rb"|[a-z0-9.+*-]+/.*"
)
"""Values that servers and clients send although no such coding exists: the body is plain.

They mean a character set that extends ASCII, a media type, or a transfer
encoding of mail. Names of real codings that cannot be decoded are not listed.
"""

Pieces = Iterable[bytes]


class BadCoding(Exception):
    """A body does not match its ``Content-Encoding``, or ends too early."""


def coding_names(codings: bytes) -> list[bytes]:
    """The codings in ``Content-Encoding`` that change a body, in lower case and in order."""
    names = [name.strip() for name in codings.lower().split(b",")]
    return [name for name in names if name not in _IDENTITY and not _NOT_A_CODING.fullmatch(name)]


def are_plain(codings: bytes) -> bool:
    """Whether a body with this ``Content-Encoding`` is not encoded at all."""
    return not coding_names(codings)


def are_known(codings: bytes) -> bool:
    """Whether all codings in ``Content-Encoding`` can be decoded; more than eight never are."""
    names = coding_names(codings)
    return len(names) <= _MOST_CODINGS and all(name in _DECODERS for name in names)


def decoded(codings: bytes, body: bytes, *, limit_bytes: int) -> bytes | None:
    """The decoded content of a body.

    ``None`` if it is unknown: an unknown coding, more than eight of them, a
    body that does not match the field, or more than ``limit_bytes`` at any step.
    """
    names = coding_names(codings)
    if len(names) > _MOST_CODINGS:
        return None
    try:
        for name in reversed(names):
            body = _joined(_DECODERS[name]((body,)), limit_bytes)
    except (BadCoding, LookupError):
        return None
    return body


def _joined(pieces: Pieces, limit_bytes: int) -> bytes:
    out = bytearray()
    for piece in pieces:
        out += piece
        if len(out) > limit_bytes:
            raise BadCoding
    return bytes(out)


def decoding(codings: bytes, pieces: Pieces) -> Iterator[bytes]:
    """Decode a body in pieces. Raises ``BadCoding``, after yielding all that could be decoded.

    The codings must be known.
    """
    for name in reversed(coding_names(codings)):
        pieces = _DECODERS[name](pieces)
    return iter(pieces)


def unlabelled(start: bytes) -> bytes:
    """``gzip`` if a body that begins with ``start`` is gzip without a field that says so.

    An archive of files (tar) is not: with other content its sizes and digests
    would be wrong.
    """
    if not start.startswith(GZIP_START):
        return b""
    try:
        plain = next(_gzip_decoding((start,)), b"")
    except BadCoding:
        return b""
    where, mark = _TAR
    return b"gzip" if plain and plain[where] != mark else b""


def encoded(codings: bytes, body: bytes) -> bytes:
    """A body encoded with the codings in ``Content-Encoding``, which must be known.

    The same body always gives the same bytes.
    """
    return b"".join(encoding(codings, (body,)))


def encoding(codings: bytes, pieces: Pieces, *, flushed: bool = False) -> Iterator[bytes]:
    """Encode a body in pieces.

    With ``flushed`` a recipient can decode each piece, such as an event of a
    stream, as soon as it arrives, at the cost of some bytes for each.
    """
    for name in coding_names(codings):
        pieces = _ENCODERS[name](pieces, flushed=flushed)
    return iter(pieces)


def _inflating(pieces: Pieces, *, window_bits: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(window_bits)
    members, started = 1, False
    for piece in pieces:
        data = piece
        while data:
            if inflater.eof:
                members += 1
                if window_bits != _GZIP or members > _MOST_MEMBERS:
                    raise BadCoding
                inflater = zlib.decompressobj(window_bits)
            started = True
            try:
                out = inflater.decompress(data, _ONCE_BYTES)
            except zlib.error as error:
                raise BadCoding from error
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if out:
                yield out
    if not (started and inflater.eof):
        raise BadCoding


def _deflate_decoding(pieces: Pieces) -> Iterator[bytes]:
    """With RFC 1950's header, which its first two bytes show, or raw as some servers send it."""
    source = iter(pieces)
    start = b""
    for piece in source:
        start += piece
        if len(start) > 1:
            break
    framed = len(start) > 1 and start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
    bits = zlib.MAX_WBITS if framed else -zlib.MAX_WBITS
    return _inflating(_rejoined(start, source), window_bits=bits)


def _rejoined(start: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from source


def _brotli_decoding(pieces: Pieces) -> Iterator[bytes]:
    decoder: Any = brotli.Decompressor()
    for piece in pieces:
        data = piece
        while True:
            if data and decoder.is_finished():
                raise BadCoding
            try:
                out = decoder.process(data, output_buffer_limit=_ONCE_BYTES)
            except brotli.error as error:
                raise BadCoding from error
            if out:
                yield out
            data = b""
            if not out and decoder.can_accept_more_data():
                break
    if not decoder.is_finished():
        raise BadCoding


def _zstd_decoding(pieces: Pieces) -> Iterator[bytes]:
    engine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    decoder = engine.decompressobj()
    members = 1
    for piece in pieces:
        for start in range(0, len(piece), _ZSTD_STEP):
            data = piece[start : start + _ZSTD_STEP]
            while data:
                if decoder.eof:
                    members += 1
                    if members > _MOST_MEMBERS:
                        raise BadCoding
                    decoder = engine.decompressobj()
                try:
                    out = decoder.decompress(data)
                except zstandard.ZstdError as error:
                    raise BadCoding from error
                data = decoder.unused_data if decoder.eof else b""
                if out:
                    yield out
    if not decoder.eof:
        raise BadCoding


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self, how: int = ..., /) -> bytes: ...


def _compressing(
    pieces: Pieces, *, make: Callable[[], _Encoder], flush_how: int, flushed: bool
) -> Iterator[bytes]:
    encoder = make()
    for piece in pieces:
        yield encoder.compress(piece) + (encoder.flush(flush_how) if flushed else b"")
    yield encoder.flush()


def _brotli_encoding(pieces: Pieces, *, flushed: bool) -> Iterator[bytes]:
    # The default, quality 11, takes a second for each megabyte.
    encoder: Any = brotli.Compressor(quality=5)
    for piece in pieces:
        yield encoder.process(piece) + (encoder.flush() if flushed else b"")
    yield encoder.finish()


class _EncodePieces(Protocol):
    def __call__(self, pieces: Pieces, /, *, flushed: bool) -> Iterator[bytes]: ...


def _zlib_encoding(window_bits: int) -> _EncodePieces:
    make = partial(zlib.compressobj, wbits=window_bits)
    return partial(_compressing, make=make, flush_how=zlib.Z_SYNC_FLUSH)


_gzip_decoding = partial(_inflating, window_bits=_GZIP)
_gzip_encoding = _zlib_encoding(_GZIP)

_DECODERS: dict[bytes, Callable[[Pieces], Iterator[bytes]]] = {
    b"gzip": _gzip_decoding,
    b"x-gzip": _gzip_decoding,
    b"deflate": _deflate_decoding,
    b"br": _brotli_decoding,
    b"zstd": _zstd_decoding,
}
_ENCODERS: dict[bytes, _EncodePieces] = {
    b"gzip": _gzip_encoding,
    b"x-gzip": _gzip_encoding,
    b"deflate": _zlib_encoding(zlib.MAX_WBITS),
    b"br": _brotli_encoding,
    b"zstd": partial(
        _compressing,
        make=lambda: zstandard.ZstdCompressor().compressobj(),
        flush_how=zstandard.COMPRESSOBJ_FLUSH_BLOCK,
    ),
}
