"""Recorded bodies as people read them: wherever their bytes are, and with codings undone."""

from __future__ import annotations

from buffr.errors import CassetteError
from buffr.formats.codings import BadCoding, are_known, decoded, decoding
from buffr.formats.protobuf.bodies import Messages
from buffr.interaction import Body
from buffr.message import Headers

__all__ = ["LARGEST_BYTES", "beginning", "codings_of", "content", "messages_in", "uncoded"]

LARGEST_BYTES = 64 << 20
"""More of one body is not held in memory, nor made of a compressed one."""


def content(body: Body, most_bytes: int = LARGEST_BYTES) -> bytes:
    """A body's bytes, up to a limit. Raises ``CassetteError`` for a missing file."""
    if body.file is None:
        return body.data[:most_bytes]
    try:
        with body.file.open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        raise CassetteError(f"{body.file}: {error.strerror}") from error


def codings_of(headers: Headers) -> bytes:
    """The content codings of a body, in the order in which they were applied; empty for none."""
    return b", ".join([value for name, value in headers if name.lower() == b"content-encoding"])


def uncoded(data: bytes, headers: Headers) -> tuple[bytes, str]:
    """What a body holds with its content codings undone, and these; as it is where it cannot be.

    Then the codings are empty.
    """
    codings = codings_of(headers)
    if not codings or not data:
        return data, ""
    undone = decoded(codings, data, limit_bytes=LARGEST_BYTES)
    return (data, "") if undone is None else (undone, codings.decode("latin-1"))


def messages_in(data: bytes, messages: Messages | None) -> tuple[bytes, str] | None:
    """Protobuf's messages of a body as JSON, and what they are; ``None`` for any other body.

    ``data`` is without content codings.
    """
    document = None if messages is None else messages.shown(data, LARGEST_BYTES)
    if messages is None or document is None:
        return None
    if messages.type is None:
        return document, "protobuf without descriptors: fields by their numbers"
    return document, messages.type.name


def beginning(data: bytes, headers: Headers, most_bytes: int) -> tuple[bytes, bool] | None:
    """The beginning of a body with its codings undone, and whether there is more.

    ``data`` may be cut short anywhere. ``None`` if the codings cannot be undone.
    """
    codings, made = codings_of(headers), bytearray()
    if not are_known(codings):
        return None
    try:
        for piece in decoding(codings, [data]):
            made += piece
            if len(made) > most_bytes:
                return bytes(made[:most_bytes]), True
    except BadCoding:
        if not made:
            return None
        return bytes(made), True
    return bytes(made), False
