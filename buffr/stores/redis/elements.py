"""Interactions as the fields of a hash, large ones in parts beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import zstandard
from attrs import evolve, frozen

from buffr.errors import CassetteError
from buffr.interaction import (
    Body,
    BrokenInteraction,
    HTTPInteraction,
    IndexEntry,
    Interaction,
)
from buffr.stores.cassette.format import (
    broken_request,
    decode,
    decode_index,
    encode,
    index_entry,
)

__all__ = ["PART_BYTES", "Kept", "StoredElement", "kept", "read_field"]

PART_BYTES = 256 << 10
"""The size of a part: small enough that a server is not kept from others while it copies one."""
_INLINE_BYTES = 16 << 10
_COMPRESS_OVER = 512
_PLAIN, _ZSTD = 0, 1
_NOWHERE = Path("/nonexistent")
"""Bodies are within their elements; no element names a file."""


class _Field(msgspec.Struct, array_like=True, gc=False):
    """A field: the element, or what of it is needed for lookups if the rest is in parts."""

    coding: int
    size: int
    element: bytes
    parts: int = 0
    parts_coding: int = 0
    parts_size: int = 0
    token: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Field).decode


@frozen(eq=False)
class Kept:
    """An interaction as it is stored: the field, and the parts under its ``token``."""

    token: str
    field: bytes
    parts: tuple[bytes, ...]

    @property
    def size_bytes(self) -> int:
        return len(self.field) + sum([len(part) for part in self.parts])


def kept(interaction: Interaction, token: str) -> Kept:
    """The stored form of an interaction whose bodies are in memory. For any thread."""
    element = encode(interaction)
    coding, data = _coded(element)
    if len(data) <= _INLINE_BYTES:
        return Kept(token, _encode(_Field(coding, len(element), data)), ())
    parts = tuple(data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES))
    bare = encode(_for_lookups(interaction))
    bare_coding, bare_data = _coded(bare)
    field = _Field(bare_coding, len(bare), bare_data, len(parts), coding, len(element), token)
    return Kept(token, _encode(field), parts)


def _for_lookups(interaction: Interaction) -> Interaction:
    if isinstance(interaction, HTTPInteraction):
        return evolve(interaction, body=Body(), chunks=(), trailers=())
    return evolve(interaction, frames=())


def _coded(element: bytes) -> tuple[int, bytes]:
    if len(element) <= _COMPRESS_OVER:
        return _PLAIN, element
    return _ZSTD, zstandard.ZstdCompressor().compress(element)


def _plain(coding: int, size: int, data: bytes) -> bytes:
    if coding == _PLAIN:
        return data
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)


@frozen(eq=False)
class StoredElement:
    """A field as it was read.

    ``text`` is the element, or with ``parts`` what of it is needed for
    lookups; then the whole element is in so many parts under ``token``.
    """

    text: bytes
    parts: int
    token: str
    coding: int
    size_bytes: int

    def entry(self) -> IndexEntry | None:
        """The form for lookups; ``None`` if it is never replayed. Raises ``ValueError``."""
        return index_entry(decode_index(self.text), _NOWHERE)

    def broken(self) -> BrokenInteraction | None:
        """The request of one that is never replayed. Raises ``ValueError``."""
        return broken_request(decode_index(self.text), _NOWHERE)

    def interaction(self, parts: Sequence[bytes | None] = ()) -> Interaction:
        """The interaction, of its parts if it has any. Raises ``CassetteError``."""
        return decode(self.whole(parts), _NOWHERE)

    def whole(self, parts: Sequence[bytes | None] = ()) -> bytes:
        """The element as a cassette has it. For any thread. Raises ``CassetteError``."""
        if not self.parts:
            return self.text
        there = [part for part in parts if part is not None]
        if len(there) != self.parts:
            raise CassetteError("some of its parts are gone")
        try:
            return _plain(self.coding, self.size_bytes, b"".join(there))
        except zstandard.ZstdError as error:
            raise CassetteError(f"it cannot be decompressed: {error}") from error


def read_field(data: bytes) -> StoredElement:
    """A field that was read from the server. Raises ``ValueError`` for a damaged one."""
    try:
        field = _decode(data)
        text = _plain(field.coding, field.size, field.element)
    except zstandard.ZstdError as error:
        raise ValueError(f"it cannot be decompressed: {error}") from error
    size_bytes = field.parts_size if field.parts else field.size
    return StoredElement(text, field.parts, field.token, field.parts_coding, size_bytes)
