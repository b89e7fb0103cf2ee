"""Parts of an element as text: objects, lists, header fields and bodies, laid out for diffs."""

from __future__ import annotations

from functools import cache

import msgspec

from buffr.interaction import Body
from buffr.message import Headers
from buffr.stores.cassette.fields import UTF_8, fold
from buffr.transport.memo import Memo

__all__ = [
    "ELEMENT",
    "EXCHANGE",
    "FIELD",
    "MESSAGE",
    "VALUE",
    "body_members",
    "field_members",
    "list_text",
    "object_text",
    "text_member",
    "to_json",
]

to_json = msgspec.json.Encoder().encode

# The indentation of an element's parts, as in the Go program.
ELEMENT, EXCHANGE, MESSAGE, FIELD = b"    ", b"      ", b"        ", b"          "
VALUE = b"            "


_HEAD_BYTES = 500
_FIELD_BYTES = 200

_heads: Memo[tuple[Headers, str], list[list[bytes]]] = Memo(entries=1024, size_bytes=1 << 20)
"""The text of recent heads: a client sends many requests with the same fields."""


def object_text(members: list[list[bytes]], indent: bytes) -> list[bytes]:
    """An object's text in parts that are joined once: bodies may be long."""
    opening, between, closing = _braces(indent)
    parts = [opening]
    for member in members:
        parts += member
        parts.append(between)
    parts[-1] = closing
    return parts


@cache
def _braces(indent: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before an object's members, between them, and after them."""
    inner = b"\n" + indent + b"  "
    return b"{" + inner, b"," + inner, b"\n" + indent + b"}"


def list_text(items: list[bytes], indent: bytes) -> bytes:
    inner = b"\n" + indent + b"  "
    return b"[" + inner + (b"," + inner).join(items) + b"\n" + indent + b"]"


def field_members(fields: Headers, encoding: str) -> list[list[bytes]]:
    """Header fields, whose bytes are written as text in this encoding."""
    asked = fields, encoding
    known = _heads.get(asked)
    if known is None:
        known = [[b"".join(member)] for member in _field_members(fields, encoding)]
        size_bytes = _HEAD_BYTES + sum([3 * len(value) + _FIELD_BYTES for _, value in fields])
        _heads.put(asked, known, size_bytes)
    return known


def _field_members(fields: Headers, encoding: str) -> list[list[bytes]]:
    members = []
    folded, names = fold(fields, encoding)
    if encoding != UTF_8:
        members.append([b'"header_encoding": ', to_json(encoding)])
    if folded:
        lists = [
            [to_json(name), b": ", list_text([to_json(value) for value in values], VALUE)]
            for name, values in folded.items()
        ]
        members.append([b'"headers": ', *object_text(lists, FIELD)])
    if names is not None:
        members.append([b'"raw_headers": [', b", ".join([to_json(name) for name in names]), b"]"])
    return members


def text_member(name: bytes, data: bytes) -> list[bytes]:
    """Bytes as text if they are UTF-8, otherwise as base64."""
    try:
        return [b'"%b": ' % name, to_json(data.decode())]
    except UnicodeDecodeError:
        return [b'"%b_b64": ' % name, to_json(data)]


def body_members(name: bytes, body: Body) -> list[list[bytes]]:
    """A body under a name such as ``body``; one in a file is referenced by the file's name."""
    if body.file is not None:
        return [
            [b'"%b_file": ' % name, to_json(body.file.name)],
            [b'"%b_size": %d' % (name, body.size_bytes)],
        ]
    return [text_member(name, body.data)] if body.data else []
