"""Server reflection: how a server of gRPC is asked what declares its services.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md; versions
``v1`` and ``v1alpha`` have the same messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from buffr.formats.grpc import framed, frames
from buffr.formats.protobuf.wire import WireType, fields, varint

__all__ = ["VERSIONS", "Declared", "declared_in", "question"]

VERSIONS = (
    b"grpc.reflection.v1.ServerReflection",
    b"grpc.reflection.v1alpha.ServerReflection",
)

_FILE_BY_NAME, _FILE_OF_SYMBOL = 3, 4
_FILES, _ERROR = 4, 7
_FILE, _ERROR_MESSAGE = 1, 2
_NAME, _DEPENDENCY = 1, 3


@frozen
class Declared:
    """A ``FileDescriptorProto`` as it came, with its name and those that it imports."""

    data: bytes
    name: str
    imports: tuple[str, ...]


def question(symbols: Iterable[str], files: Iterable[str] = ()) -> bytes:
    """A request's body that asks for the files that declare symbols, and for files by name."""
    asked = [(_FILE_OF_SYMBOL, symbol) for symbol in symbols]
    asked += [(_FILE_BY_NAME, name) for name in files]
    return b"".join(framed(0, _texts(number, text)) for number, text in asked)


def _texts(number: int, text: str) -> bytes:
    content = text.encode()
    return varint(number << 3 | WireType.LENGTH) + varint(len(content)) + content


def declared_in(body: bytes, most_bytes: int) -> tuple[tuple[Declared, ...], str]:
    """The files in an answer's body, and what the server says is wrong. Raises ``ValueError``."""
    found: list[Declared] = []
    wrong = ""
    for one in frames(body, most_bytes):
        for part in _parts(one.content, _FILES):
            found += [_declared(data) for data in _parts(part, _FILE)]
        for part in _parts(one.content, _ERROR):
            said = _parts(part, _ERROR_MESSAGE)
            wrong = said[-1].decode("utf-8", "replace") if said else "it gives no reason"
    return tuple(found), wrong


def _declared(data: bytes) -> Declared:
    names = [part.decode() for part in _parts(data, _NAME)]
    if not names:
        raise ValueError("a file has no name")
    imports = tuple([part.decode() for part in _parts(data, _DEPENDENCY)])
    return Declared(data, names[-1], imports)


def _parts(message: bytes, number: int) -> Sequence[bytes]:
    """What a message has under a field's number."""
    return [
        message[one.start : one.end]
        for one in fields(message, 0, len(message))
        if one.number == number and one.type is WireType.LENGTH
    ]
