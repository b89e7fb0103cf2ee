"""The body's part of a match key.

A body of at most ``IN_MEMORY`` bytes is compared by what it means:

- a content coding is undone, where it is gzip, deflate, br or zstd;
- JSON, by its media type or because it begins like an object or an array, has
  one spelling; what cannot be read as JSON goes by its exact bytes;
- so has an urlencoded form;
- a multipart form goes by its parts, other multipart by its exact bytes but for
  the boundary;
- any other body by its exact bytes; none is no bytes.

A larger one is ``sha256:`` and the lower-case hex digest of its exact bytes, of
multipart those without the boundary; it is not held in memory to get there,
and no rules apply to it.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from attrs import field, frozen

from buffr.codings import decoded
from buffr.errors import CassetteError
from buffr.interaction import Body
from buffr.matching.canonical_json import canonical
from buffr.matching.forms import canonical_form, without_fields
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.multipart import Boundaryless, boundary_of, canonical_parts
from buffr.matching.reading import Reading
from buffr.matching.rules import Normalisation
from buffr.redaction.fields import Replace, constant, in_query
from buffr.redaction.keys import KeyRedaction
from buffr.redaction.known import NOTHING_KNOWN, Known
from buffr.redaction.stretches import Stretches

__all__ = ["IN_MEMORY", "BodyDigest", "BodyKind", "BodyRules"]

IN_MEMORY = 1024 * 1024

_DIGEST_MARK = b"sha256:"
_PIECE = 256 * 1024
_FORM_DATA = b"multipart/form-data"
_FORM = b"application/x-www-form-urlencoded"


def _digest_value(hex_digest: str) -> bytes:
    return _DIGEST_MARK + hex_digest.encode("ascii")


class BodyDigest:
    """Takes a body that comes in pieces, and holds at most about ``IN_MEMORY`` of it at once.

    ``content_type`` is the header field's value; of multipart the boundary is
    taken out on the way. A long body is digested as it is stored: ``redaction``
    says how, ``known`` are the request's credentials.
    """

    def __init__(
        self,
        content_type: bytes | None,
        redaction: KeyRedaction | None = None,
        known: Known = NOTHING_KNOWN,
    ) -> None:
        boundary = boundary_of(content_type)
        self._multipart = None if boundary is None else Boundaryless(boundary)
        self._start = bytearray()
        self._hashed = sha256()
        self._stretches: Stretches | None = None
        self._new_stretches = partial(
            (redaction or KeyRedaction()).stretches, media_type_of(content_type), known
        )

    def update(self, data: bytes) -> None:
        """Take the next piece, of any size."""
        self._keep(data if self._multipart is None else self._multipart.feed(data))

    def end(self) -> tuple[bytes, bool]:
        """The whole body and true, if it was small enough; else its digest and false.

        Nothing may be added any more.
        """
        if self._multipart is not None:
            self._keep(self._multipart.end())
            self._multipart = None
        if self._stretches is None:
            return bytes(self._start), True
        self._hashed.update(self._stretches.end())
        return _digest_value(self._hashed.hexdigest()), False

    def _keep(self, data: bytes) -> None:
        if self._stretches is None:
            self._start += data
            if len(self._start) <= IN_MEMORY:
                return
            self._stretches = self._new_stretches()
            data, self._start = bytes(self._start), bytearray()
        for start in range(0, len(data), _PIECE):
            self._hashed.update(self._stretches.feed(data[start : start + _PIECE]))


def media_type_of(content_type: bytes | None) -> bytes:
    """The lower-case media type, without parameters; empty when absent."""
    return (content_type or b"").partition(b";")[0].strip().lower()


@frozen
class BodyKind:
    """What a request's fields say about its body: ``Content-Type`` and ``Content-Encoding``."""

    content_type: bytes | None = None
    codings: bytes = b""
    boundary: bytes | None = field(init=False)
    media_type: bytes = field(init=False)

    @boundary.default
    def _boundary(self) -> bytes | None:
        return boundary_of(self.content_type)

    @media_type.default
    def _media_type(self) -> bytes:
        return media_type_of(self.content_type)

    def is_json(self, body: bytes) -> bool:
        if body.startswith((b"{", b"[")) or self.media_type.endswith((b"/json", b"+json")):
            return True
        return body[:1].isspace() and body.lstrip()[:1] in (b"{", b"[")


@frozen(eq=False)
class BodyRules:
    """What of a body counts.

    ``credential`` says what takes the place of a form's credentials. ``part``
    is what ignore rules call the body.
    """

    normalise: Normalisation = field(factory=Normalisation)
    ignore: Ignore = field(factory=Ignore)
    json: JSONFields = field(factory=JSONFields)
    form_left_out: frozenset[bytes] = frozenset()
    redaction: KeyRedaction = field(factory=KeyRedaction)
    credential: Replace = constant
    part: str = "request.body"

    def digest(self, content_type: bytes | None, known: Known = NOTHING_KNOWN) -> BodyDigest:
        """For a body that comes in pieces. ``known`` are the request's credentials."""
        return BodyDigest(content_type, self.redaction, known)

    def value(
        self, kind: BodyKind, body: bytes | BodyDigest, known: Known = NOTHING_KNOWN
    ) -> bytes:
        """The value of a whole body, or of one that was fed to a digest."""
        found, whole = self.read(kind, body, known)
        return self.value_of(kind, found, known) if whole else found

    def read(
        self, kind: BodyKind, body: bytes | BodyDigest, known: Known = NOTHING_KNOWN
    ) -> tuple[bytes, bool]:
        """The body for ``value_of`` and true; of one that is too long its value and false."""
        if isinstance(body, bytes):
            if len(body) <= IN_MEMORY and (kind.boundary is None or not self.normalise.multipart):
                return body, True
            digest = self.digest(kind.content_type, known)
            digest.update(body)
            body = digest
        return body.end()

    def recorded(self, kind: BodyKind, body: Body, known: Known = NOTHING_KNOWN) -> bytes:
        """The value of a recorded body.

        A body in a file of its own is named by its digest, and its file read
        only where the value is not that. Raises ``CassetteError`` when it
        cannot be.
        """
        if body.file is None or not body.size_bytes:
            if kind.boundary is None and body.size_bytes <= IN_MEMORY:
                return self.value_of(kind, body.data, known)
            return self.value(kind, body.data, known)
        if body.size_bytes > IN_MEMORY and kind.boundary is None:
            return _digest_value(body.file.name)
        digest = self.digest(kind.content_type, known)
        try:
            with body.file.open("rb") as file:
                if body.size_bytes <= IN_MEMORY:
                    return self.value(kind, file.read(), known)
                while piece := file.read(_PIECE):
                    digest.update(piece)
        except OSError as error:
            raise CassetteError(f"{body.file}: a recorded body cannot be read: {error}") from error
        return self.value(kind, digest, known)

    def value_of(
        self, kind: BodyKind, body: bytes, known: Known, reading: Reading | None = None
    ) -> bytes:
        """The value of what ``read`` gave.

        ``reading`` says which fields of a form are credentials; as a
        recording's are by default.
        """
        if kind.codings and self.normalise.content_coding:
            body = self._decoded(kind, body)
        body = self.redaction.body(body, kind.media_type, known)
        body = self.ignore.replaced(self.part, body)
        if (self.normalise.json or self.json.paths) and kind.is_json(body):
            result = self.json.canonical(body) if self.json.paths else canonical(body)
            if result is not None:
                return result
        elif kind.media_type == _FORM:
            return self._form(body, reading or Reading(self.redaction.rules))
        elif kind.media_type == _FORM_DATA and self.normalise.multipart:
            fields = reading or Reading(self.redaction.rules)
            body = canonical_parts(body, partial(self._form_value, fields)) or body
        # A body that spells a digest must not be taken for the body that has it.
        return _digest_value(sha256(body).hexdigest()) if body.startswith(_DIGEST_MARK) else body

    def _decoded(self, kind: BodyKind, body: bytes) -> bytes:
        plain = decoded(kind.codings, body, limit_bytes=IN_MEMORY)
        if plain is None:
            return body
        if kind.boundary is None or not self.normalise.multipart:
            return plain
        multipart = Boundaryless(kind.boundary)
        return multipart.feed(plain) + multipart.end()

    def _form(self, body: bytes, reading: Reading) -> bytes:
        if not self.normalise.form:
            left = without_fields(body, self.form_left_out)
            return in_query(left, reading, self.credential)
        return canonical_form(body, partial(self._form_value, reading))

    def _form_value(self, reading: Reading, name: bytes, value: bytes) -> bytes | None:
        if name in self.form_left_out:
            return None
        return self.credential(name, value) if reading.holds_credential(name, value) else value
