"""Cache entries as database rows, and back; bodies are compressed if that saves space."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
import zstandard
from attrs import frozen

from buffr.interaction import Body
from buffr.message import Headers, ResponseHead
from buffr.stores.cache import CacheEntry

__all__ = [
    "INLINE_BYTES",
    "EntryRow",
    "FoundRow",
    "body_of",
    "entry_of",
    "refreshed_columns",
    "row_of",
    "url_hash",
    "variant_of",
]

INLINE_BYTES = 256 << 10
"""Bodies up to this size are read and decompressed on the reactor's thread."""

_COMPRESS_OVER = 1024
_AS_IT_IS, _ZSTD = 0, 1


class _Head(msgspec.Struct, array_like=True, gc=False):
    method: bytes
    status: int
    reason: bytes
    headers: Headers
    minor: int
    vary: Headers
    trailers: Headers
    tags: tuple[str, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode


@frozen(eq=False)
class EntryRow:
    """An entry as it is written."""

    values: tuple[Any, ...]
    key: bytes
    variant: bytes
    head: bytes
    size_bytes: int
    tags: tuple[str, ...]
    compressed: bool


FoundRow = tuple[int, bytes, str, str, float, float, float, float, bytes, int, int, bytes | None]
"""place, variant, route, url, the four times, head, body_bytes, coding, body: see ``entry_of``."""


def variant_of(entry: CacheEntry) -> bytes:
    """Identifies a variant among those of a key; of fixed size."""
    return blake2b(_encode((entry.method, entry.vary)), digest_size=16).digest()


def url_hash(url: str) -> int:
    """A short hash of a URL for an index."""
    digest = blake2b(url.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def row_of(entry: CacheEntry, place: int, compressor: zstandard.ZstdCompressor) -> EntryRow:
    """An entry as the values of ``INSERT_ENTRY``.

    Raises ``OSError`` if a body's file is missing.
    """
    body = entry.body.data if entry.body.file is None else entry.body.file.read_bytes()
    kept, coding = body, _AS_IT_IS
    if len(body) > _COMPRESS_OVER:
        smaller = compressor.compress(body)
        if len(smaller) < len(body):
            kept, coding = smaller, _ZSTD
    head = _head_of(entry)
    variant = variant_of(entry)
    size_bytes = len(kept) + len(head)
    values = (
        place,
        entry.key,
        variant,
        *_columns(entry),
        size_bytes,
        len(body),
        coding,
        head,
        kept,
    )
    return EntryRow(values, entry.key, variant, head, size_bytes, entry.tags, coding == _ZSTD)


def refreshed_columns(entry: CacheEntry) -> tuple[Any, ...]:
    """The columns written by a refresh, in the order of ``REFRESH_ENTRY``."""
    head = _head_of(entry)
    return (variant_of(entry), *_columns(entry), len(head), head)


def _columns(entry: CacheEntry) -> tuple[Any, ...]:
    return (
        entry.route,
        entry.url,
        url_hash(entry.url),
        entry.born_at,
        entry.responded_at,
        entry.fresh_until,
        entry.keep_until,
    )


def _head_of(entry: CacheEntry) -> bytes:
    head = entry.head
    return _encode(
        _Head(
            entry.method,
            head.status,
            head.reason,
            head.headers,
            head.minor,
            entry.vary,
            entry.trailers,
            entry.tags,
        )
    )


def entry_of(key: bytes, row: FoundRow, body: bytes) -> CacheEntry:
    """A row and its body as the exact entry. Raises ``ValueError`` for a damaged row."""
    _, _, route, url, born_at, responded_at, fresh_until, keep_until, kept, _, _, _ = row
    head = _decode(kept)
    return CacheEntry(
        key,
        route,
        head.method,
        url,
        head.vary,
        ResponseHead(head.status, head.reason, head.headers, head.minor),
        Body(body, len(body)),
        head.trailers,
        born_at,
        responded_at,
        fresh_until,
        keep_until,
        head.tags,
    )


def body_of(
    kept: bytes, coding: int, body_bytes: int, decompressor: zstandard.ZstdDecompressor
) -> bytes:
    """A body as it was stored. Raises ``ValueError`` for a damaged one."""
    if coding == _AS_IT_IS:
        return kept
    try:
        body = decompressor.decompress(kept, max_output_size=body_bytes)
    except zstandard.ZstdError as error:
        raise ValueError(f"a body cannot be decompressed: {error}") from error
    if len(body) != body_bytes:
        raise ValueError("a body is incomplete")
    return body
