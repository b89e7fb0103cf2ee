"""Stored answers as bytes: the head, with all that is looked at, and the body behind it."""

from __future__ import annotations

from struct import Struct

import msgspec
import zstandard
from attrs import frozen

from buffr.interaction import Body
from buffr.message import Headers, ResponseHead
from buffr.stores.cache import CacheEntry, StoredEntry
from buffr.stores.redis.elements import PART_BYTES
from buffr.stores.sqlite.rows import body_of, url_hash, variant_of

__all__ = ["CodedBody", "FoundEntry", "coded_body", "coded_head", "facts", "read_entry"]

_INLINE_BYTES = 64 << 10
_COMPRESS_OVER = 1024
_AS_IT_IS, _ZSTD = 0, 1
_LENGTHS = Struct(">QI")
"""In front of the head: the place of the entry, and the size of the head."""


class _Head(msgspec.Struct, array_like=True, gc=False):
    route: str
    method: bytes
    url: str
    vary: Headers
    status: int
    reason: bytes
    headers: Headers
    minor: int
    trailers: Headers
    born_at: float
    responded_at: float
    fresh_until: float
    keep_until: float
    tags: tuple[str, ...]


class _BodyHead(msgspec.Struct, array_like=True, gc=False):
    size: int
    coding: int
    parts: int
    token: str
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Head).decode
_decode_body = msgspec.msgpack.Decoder(_BodyHead).decode


@frozen(eq=False)
class CodedBody:
    """A body as it is stored: in ``data``, and in ``parts`` under the ``token`` if it is large."""

    data: bytes
    parts: tuple[bytes, ...]
    token: str
    compressed: bool

    @property
    def size_bytes(self) -> int:
        return len(self.data) + sum([len(part) for part in self.parts])


def coded_head(entry: CacheEntry) -> bytes:
    head = entry.head
    return _encode(
        _Head(
            entry.route,
            entry.method,
            entry.url,
            entry.vary,
            head.status,
            head.reason,
            head.headers,
            head.minor,
            entry.trailers,
            entry.born_at,
            entry.responded_at,
            entry.fresh_until,
            entry.keep_until,
            entry.tags,
        )
    )


def coded_body(entry: CacheEntry, token: str) -> CodedBody:
    """For any thread. Raises ``OSError`` if a body's file is missing."""
    body = entry.body.data if entry.body.file is None else entry.body.file.read_bytes()
    kept, coding = body, _AS_IT_IS
    if len(body) > _COMPRESS_OVER:
        smaller = zstandard.ZstdCompressor().compress(body)
        if len(smaller) < len(body):
            kept, coding = smaller, _ZSTD
    parts: tuple[bytes, ...] = ()
    if len(kept) > _INLINE_BYTES:
        parts = tuple(kept[at : at + PART_BYTES] for at in range(0, len(kept), PART_BYTES))
        kept = b""
    data = _encode(_BodyHead(len(body), coding, len(parts), token if parts else "", kept))
    return CodedBody(data, parts, token if parts else "", coding == _ZSTD)


def facts(entry: CacheEntry, size_bytes: int, token: str) -> bytes:
    """What the scripts look at, as JSON."""
    return msgspec.json.encode(
        {
            "key": entry.key.hex(),
            "variant": variant_of(entry).hex(),
            "route": entry.route,
            "url": str(url_hash(entry.url)),
            "size": size_bytes,
            "token": token,
            "fresh": entry.fresh_until,
            "at": entry.responded_at,
            "keep": entry.keep_until,
            "tags": entry.tags,
        }
    )


@frozen(eq=False)
class FoundEntry:
    """An entry as it was read; its body is in ``parts`` under the ``token``, or at hand."""

    place: int
    key: bytes
    head: bytes
    body: _BodyHead

    @property
    def parts(self) -> int:
        return self.body.parts

    @property
    def token(self) -> str:
        return self.body.token

    @property
    def size_bytes(self) -> int:
        return self.body.size

    @property
    def is_compressed(self) -> bool:
        return self.body.coding == _ZSTD

    def entry(self, parts: list[bytes]) -> StoredEntry:
        """The exact entry. Raises ``ValueError`` for a damaged one."""
        body, head = self.body, _decode(self.head)
        kept = b"".join(parts) if body.parts else body.data
        data = body_of(kept, body.coding, body.size, zstandard.ZstdDecompressor())
        return StoredEntry(
            self.place,
            CacheEntry(
                self.key,
                head.route,
                head.method,
                head.url,
                head.vary,
                ResponseHead(head.status, head.reason, head.headers, head.minor),
                Body.of(data),
                head.trailers,
                head.born_at,
                head.responded_at,
                head.fresh_until,
                head.keep_until,
                head.tags,
            ),
        )


def read_entry(key: bytes, value: bytes) -> FoundEntry:
    """Raises ``ValueError`` for a damaged value."""
    if len(value) < _LENGTHS.size:
        raise ValueError("an entry is incomplete")
    place, size = _LENGTHS.unpack_from(value)
    start = _LENGTHS.size
    return FoundEntry(place, key, value[start : start + size], _decode_body(value[start + size :]))
