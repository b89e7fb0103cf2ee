"""The bytes of a recorded body, wherever they are, and what they hold under their codings."""

from __future__ import annotations

from buffr.errors import CassetteError
from buffr.formats.codings import decoded
from buffr.interaction import Body
from buffr.message import Headers

__all__ = ["LARGEST_BYTES", "content", "uncoded"]

LARGEST_BYTES = 64 << 20
"""More of one body is not held in memory, nor made of a compressed one."""


def content(body: Body, most_bytes: int = LARGEST_BYTES) -> bytes:
    """A body's bytes, at most so many. Raises ``CassetteError`` for a file that is gone."""
    if body.file is None:
        return body.data[:most_bytes]
    try:
        with body.file.open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        raise CassetteError(f"{body.file}: {error.strerror}") from error


def uncoded(data: bytes, headers: Headers) -> tuple[bytes, str]:
    """What a body holds with its content codings undone, and these; as it is where it cannot be.

    Then the codings are empty.
    """
    fields = [value for name, value in headers if name.lower() == b"content-encoding"]
    codings = b", ".join(fields)
    if not codings or not data:
        return data, ""
    undone = decoded(codings, data, limit_bytes=LARGEST_BYTES)
    return (data, "") if undone is None else (undone, codings.decode("latin-1"))
