"""Protobuf's wire format: the fields of a message by their numbers, without its type.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

__all__ = ["DEEPEST", "WireField", "WireType", "bytes_shown", "fields", "raw_document", "varint"]

DEEPEST = 100
"""The parsers of protobuf read no message that is nested deeper."""

_LONGEST_VARINT = 10
_HIGHEST_NUMBER = (1 << 29) - 1
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r"))
_NOT_CONTROL = bytes(set(range(256)) - set(_CONTROL))


class _CutOff(ValueError):
    """A message ends within a field."""


class WireType(IntEnum):
    """How a field's value is spelled."""

    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    GROUP = 3
    END_GROUP = 4
    FIXED32 = 5


class WireField(NamedTuple):
    """A field at ``data[start:end]``, without its tag; ``length_at`` is where its length begins.

    A ``GROUP`` ends before the tag that ends it. Only a field of type
    ``LENGTH`` has a length, elsewhere ``length_at`` is ``start``.
    """

    number: int
    type: WireType
    length_at: int
    start: int
    end: int


def varint(number: int) -> bytes:
    """A number of up to 64 bits, as a length or a value."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends. Raises ``ValueError``."""
    value = shift = 0
    for at_byte in range(at, min(end, at + _LONGEST_VARINT)):
        byte = data[at_byte]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at_byte + 1
        shift += 7
    if at + _LONGEST_VARINT > end:
        raise _CutOff("a number is cut off")
    raise ValueError("a number is too long")


def fields(data: bytes, start: int, end: int, *, cut: bool = False) -> Iterator[WireField]:
    """The fields of the message at ``data[start:end]``, in their order. Raises ``ValueError``.

    With ``cut``, the message may end within a field, of which is given what is there.
    """
    try:
        yield from _fields(data, start, end, cut=cut)
    except _CutOff:
        if not cut:
            raise


def _fields(data: bytes, start: int, end: int, *, cut: bool) -> Iterator[WireField]:
    at = start
    while at < end:
        tag, at = read_varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _HIGHEST_NUMBER:
            raise ValueError(f"{number} is not the number of a field")
        length_at = at
        stop = ended = at
        match kind:
            case WireType.VARINT:
                ended = stop = read_varint(data, at, end)[1]
            case WireType.FIXED64:
                ended = stop = at + 8
            case WireType.FIXED32:
                ended = stop = at + 4
            case WireType.LENGTH:
                size, at = read_varint(data, at, end)
                ended = stop = at + size
            case WireType.GROUP:
                stop, ended = _group(data, at, end)
            case _:
                raise ValueError(f"a field has the wire type {kind}")
        if ended > end:
            if not cut or kind != WireType.LENGTH:
                raise _CutOff("a field is cut off")
            ended = stop = end
        yield WireField(number, WireType(kind), length_at, at, stop)
        at = ended


def _group(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content of a group ends, and where the tag behind it does."""
    depth = 1
    while True:
        tag_at = at
        tag, at = read_varint(data, at, end)
        match tag & 7:
            case WireType.VARINT:
                at = read_varint(data, at, end)[1]
            case WireType.FIXED64:
                at += 8
            case WireType.FIXED32:
                at += 4
            case WireType.LENGTH:
                size, at = read_varint(data, at, end)
                at += size
            case WireType.GROUP:
                depth += 1
            case WireType.END_GROUP:
                depth -= 1
                if depth == 0:
                    return tag_at, at
            case kind:
                raise ValueError(f"a field has the wire type {kind}")


def raw_document(data: bytes) -> dict[str, Any]:
    """A message of unknown type: its fields by number, each a list of its values.

    What is a text is shown as one, and what reads like a message as one: both
    are guesses. Raises ``ValueError`` if it is not a message.
    """
    return _raw(data, 0, len(data), DEEPEST)


def _raw(data: bytes, start: int, end: int, room: int) -> dict[str, Any]:
    if not room:
        raise ValueError("it is nested too deeply")
    found: dict[str, Any] = {}
    for one in fields(data, start, end):
        value: Any
        match one.type:
            case WireType.VARINT:
                value = read_varint(data, one.start, one.end)[0]
            case WireType.LENGTH:
                value = _guessed(data, one, room)
            case WireType.GROUP:
                value = _raw(data, one.start, one.end, room - 1)
            case _:
                value = fixed_shown(one.type, data[one.start : one.end])
        found.setdefault(str(one.number), []).append(value)
    return found


def _guessed(data: bytes, one: WireField, room: int) -> Any:
    content = data[one.start : one.end]
    shown = bytes_shown(content)
    if isinstance(shown, str):
        return shown
    try:
        return _raw(data, one.start, one.end, room - 1)
    except ValueError:
        return shown


def fixed_shown(kind: int, content: bytes) -> dict[str, int]:
    """A number of fixed length, of unknown type."""
    name = "fixed32" if kind == WireType.FIXED32 else "fixed64"
    return {name: int.from_bytes(content, "little")}


def bytes_shown(content: bytes) -> str | dict[str, str]:
    """Bytes as a text if they are one, else in base64; different bytes look different."""
    if not content.translate(None, _NOT_CONTROL):
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return {"base64": b64encode(content).decode("ascii")}
