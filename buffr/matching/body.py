"""The body's part of a match key.

- No body: no bytes.
- JSON, by its media type or because it begins like an object or an array:
  its canonical spelling; what cannot be read as JSON goes by its exact bytes.
- Multipart: the exact bytes but for the boundary.
- Any other body: its exact bytes.

This holds for bodies of at most ``IN_MEMORY`` bytes. A larger one is
``sha256:`` and the lower-case hex digest of its exact bytes, of multipart
those without the boundary, and is not held in memory to get there.
"""

from __future__ import annotations

from hashlib import sha256

from buffr.errors import CassetteError
from buffr.interaction import Body
from buffr.matching.canonical_json import canonical
from buffr.matching.multipart import Boundaryless, boundary_of

__all__ = ["IN_MEMORY", "BodyDigest", "body_value", "recorded_body_value"]

IN_MEMORY = 1024 * 1024

_DIGEST_MARK = b"sha256:"
_PIECE = 256 * 1024


def _digest_value(hex_digest: str) -> bytes:
    return _DIGEST_MARK + hex_digest.encode("ascii")


def _is_json(content_type: bytes | None, body: bytes) -> bool:
    if body.startswith((b"{", b"[")):
        return True
    if content_type is not None:
        media_type = content_type.partition(b";")[0].strip().lower()
        if media_type.endswith((b"/json", b"+json")):
            return True
    return body[:1].isspace() and body.lstrip()[:1] in (b"{", b"[")


def _small_value(content_type: bytes | None, body: bytes) -> bytes:
    if _is_json(content_type, body):
        result = canonical(body)
        if result is not None:
            return result
    # A body that spells a digest must not be taken for the body that has it.
    return _digest_value(sha256(body).hexdigest()) if body.startswith(_DIGEST_MARK) else body


def body_value(content_type: bytes | None, body: bytes) -> bytes:
    """The value of a whole body; ``content_type`` is the header field's value."""
    if len(body) <= IN_MEMORY and boundary_of(content_type) is None:
        return _small_value(content_type, body)
    digest = BodyDigest(content_type)
    digest.update(body)
    return digest.value()


class BodyDigest:
    """The value of a body that comes in pieces, at most ``IN_MEMORY`` of it in memory at once."""

    def __init__(self, content_type: bytes | None) -> None:
        boundary = boundary_of(content_type)
        self._content_type = content_type
        self._multipart = None if boundary is None else Boundaryless(boundary)
        self._start = bytearray()
        self._hashed = sha256()
        self._size_bytes = 0

    def update(self, data: bytes) -> None:
        """Take the next piece, of any size."""
        self._keep(data if self._multipart is None else self._multipart.feed(data))

    def value(self) -> bytes:
        """The value, as ``body_value`` gives it for the whole body; to be asked for once."""
        if self._multipart is not None:
            self._keep(self._multipart.end())
        if self._size_bytes > IN_MEMORY:
            return _digest_value(self._hashed.hexdigest())
        content_type = None if self._multipart is not None else self._content_type
        return _small_value(content_type, bytes(self._start))

    def _keep(self, data: bytes) -> None:
        self._size_bytes += len(data)
        self._hashed.update(data)
        if self._size_bytes <= IN_MEMORY:
            self._start += data
        else:
            self._start.clear()


def recorded_body_value(content_type: bytes | None, body: Body) -> bytes:
    """The value of a recorded body.

    A body in a file of its own is named by its digest, and its file read only
    where the value is not that. Raises ``CassetteError`` when it cannot be.
    """
    if body.file is None or not body.size_bytes:
        return body_value(content_type, body.data)
    if body.size_bytes > IN_MEMORY and boundary_of(content_type) is None:
        return _digest_value(body.file.name)
    digest = BodyDigest(content_type)
    try:
        with body.file.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise CassetteError(f"{body.file}: a recorded body cannot be read: {error}") from error
    return digest.value()
