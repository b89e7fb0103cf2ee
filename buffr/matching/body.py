"""The body's part of a match key: what a body means.

- A content coding is undone, where it is gzip, deflate, br or zstd, and the
  chunks of ``aws-chunked`` go with their signatures;
- JSON, by its media type or because it begins like an object or an array, has
  one spelling, without idempotency tokens; what cannot be read as JSON goes by
  its exact bytes;
- so has an urlencoded form;
- a multipart body goes by its parts, at any depth, without their boundaries
  and identifiers;
- any other body by its exact bytes; none is no bytes.

The value of what is longer than ``IN_MEMORY`` by all that is ``sha256:`` and a
lower-case hex digest. How a body that is longer before that is read,
``long_body`` has.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from attrs import astuple, evolve, field, fields, frozen

from buffr.errors import CassetteError
from buffr.formats.codings import GZIP_START, are_known, are_plain, decoded, unlabelled
from buffr.formats.multipart import Disposition, Part, boundary_of, multipart
from buffr.interaction import Body, BodyKey
from buffr.matching.aws_chunked import BadChunks, Unframing, is_aws_chunked, unframed_by_signatures
from buffr.matching.forms import canonical_form, form_in_slices, without_fields
from buffr.matching.idempotency import is_token, without_tokens_in_cbor, without_tokens_in_xml
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.multipart import (
    Boundaryless,
    ContentIDs,
    form,
    message,
    mixed,
    unlike_stand_ins,
)
from buffr.matching.pieces import Pause, Piece, Text, go_on, joined, stretch
from buffr.matching.reading import Reading
from buffr.matching.rules import Normalisation
from buffr.redaction.fields import Replace, constant, in_query
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import NOTHING_KNOWN, Known
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.streaming import Stretches

__all__ = [
    "IN_MEMORY",
    "BodyDigest",
    "BodyKind",
    "BodyRules",
    "LongBody",
    "digest_value",
    "shortened",
    "under_coding",
    "unmistakable",
    "with_trailers",
]

IN_MEMORY = 1024 * 1024

# Another one where long bodies get other values.
_VERSION = 2

_DIGEST_MARK = b"sha256:"
_TRAILERS_MARK = b"aws-chunked:"
_CODED_MARK = b"under-coding:"
_PIECE = 256 * 1024
_FORM_DATA = b"multipart/form-data"
_FORM = b"application/x-www-form-urlencoded"
_HTTP = b"application/http"
_MESSAGES = frozenset((_HTTP, b"message/http", b"message/rfc822", b"message/global"))
_DEEPEST = 8
_FIRST_BYTES = 4096
_MOST_GROWN = 2 * IN_MEMORY
_LONGEST_VALUE = 64 * 1024


def digest_value(hex_digest: str) -> bytes:
    """The value of a body that is told by its digest."""
    return _DIGEST_MARK + hex_digest.encode("ascii")


def unmistakable(value: bytes) -> bytes:
    """A body's value: one that spells what stands for another is told by its digest."""
    if value.startswith((_DIGEST_MARK, _TRAILERS_MARK, _CODED_MARK)):
        return digest_value(sha256(value).hexdigest())
    return value


def shortened(value: bytes) -> bytes:
    """A value that is longer than ``IN_MEMORY`` by its digest."""
    return value if len(value) <= IN_MEMORY else digest_value(sha256(value).hexdigest())


def under_coding(codings: bytes, value: bytes) -> bytes:
    """The value of a body that differs from others by its coding, by what it holds there."""
    return b"%b%b\n%b" % (_CODED_MARK, codings, value)


def with_trailers(value: bytes, trailers: bytes) -> bytes:
    """The value of a body with the trailer fields that came in it."""
    return b"%b%b\n\n%b" % (_TRAILERS_MARK, trailers, value) if trailers else value


class BodyDigest:
    """Takes a body that comes in pieces, and holds at most about ``IN_MEMORY`` of it at once.

    A long body is digested as it is stored: ``redaction`` says how, ``known``
    are the request's credentials.
    """

    def __init__(self, redaction: KeyRedaction | None = None, known: Known = NOTHING_KNOWN) -> None:
        self._start = bytearray()
        self._hashed = sha256()
        self._stretches: Stretches | None = None
        self._new_stretches = partial((redaction or KeyRedaction()).stretches, b"", known)

    def update(self, data: bytes) -> None:
        """Take the next piece, of any size."""
        if self._stretches is None:
            self._start += data
            if len(self._start) <= IN_MEMORY:
                return
            self._stretches = self._new_stretches()
            data, self._start = bytes(self._start), bytearray()
        for start in range(0, len(data), _PIECE):
            self._hashed.update(self._stretches.feed(data[start : start + _PIECE]))

    def end(self) -> tuple[bytes, bool]:
        """The whole body and true, if it was small enough; else its value and false.

        Nothing may be added any more.
        """
        if self._stretches is None:
            return bytes(self._start), True
        self._hashed.update(self._stretches.end())
        return digest_value(self._hashed.hexdigest()), False


@frozen
class LongBody:
    """A body that took long to read: its values.

    ``meant`` is by what it means, ``exact`` by its bytes as they are stored;
    ``raw_digest`` is the SHA-256 of them as they came. ``over``: it is too long
    for rules, and both are by its bytes.
    """

    meant: bytes
    exact: bytes
    raw_digest: bytes
    over: bool = False

    @property
    def values(self) -> tuple[bytes, ...]:
        """All by which a recording may be filed, the best one first."""
        return (self.meant,) if self.meant == self.exact else (self.meant, self.exact)


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
    aws_chunked: bool = field(init=False)

    @boundary.default
    def _boundary(self) -> bytes | None:
        return boundary_of(self.content_type)

    @media_type.default
    def _media_type(self) -> bytes:
        return media_type_of(self.content_type)

    @aws_chunked.default
    def _is_aws_chunked(self) -> bool:
        return is_aws_chunked(self.codings)

    @property
    def coded(self) -> bool:
        """Whether a body is under a coding other than AWS's chunks."""
        return not are_plain(self.codings)

    def beginning(self, start: bytes) -> BodyKind:
        """The kind of a body that begins with ``start``: gzip shows itself without a field."""
        if not start.startswith(GZIP_START) or self.coded or not unlabelled(start):
            return self
        return evolve(self, codings=b"gzip")

    @property
    def is_message(self) -> bool:
        """Whether a body is itself a message, with fields of its own."""
        return self.media_type in _MESSAGES

    @property
    def has_ids(self) -> bool:
        """Whether parts of a body have identifiers."""
        return self.is_message or (self.boundary is not None and self.media_type != _FORM_DATA)

    def is_json(self, body: Text) -> bool:
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
    reads_json: bool = field(init=False)
    _version: str = field(init=False)

    @reads_json.default
    def _has_use_for_json(self) -> bool:
        return self.normalise.json or bool(self.json.paths)

    @_version.default
    def _digest_of_rules(self) -> str:
        """What tells these rules from all others by which a long body has another value."""
        credentials = self.redaction.rules
        named = [getattr(credentials, one.name) for one in fields(type(credentials)) if one.init]
        said = (
            _VERSION,
            astuple(self.normalise),
            [(one.rule.pattern, one.rule.replace_with) for one in self.ignore.of_part(self.part)],
            [path.text for path in self.json.paths],
            sorted(self.form_left_out),
            self.redaction.exact,
            [sorted(each) if isinstance(each, frozenset) else each for each in named],
        )
        return sha256(repr(said).encode()).hexdigest()

    def value(
        self, kind: BodyKind, body: bytes | BodyDigest, known: Known = NOTHING_KNOWN
    ) -> bytes:
        """The value of a whole body, or of one that was fed to a digest."""
        if isinstance(body, BodyDigest):
            found, whole = body.end()
            return self.value_of(kind, found, known) if whole else found
        if len(body) <= IN_MEMORY:
            return self.value_of(kind, body, known)
        return self.exact(kind, body, known)

    def exact(self, kind: BodyKind, body: bytes, known: Known = NOTHING_KNOWN) -> bytes:
        """The value of a long body by its bytes as they are stored."""
        hashed = sha256()
        for piece in self.redaction.stretches(kind.media_type, known).over((body,)):
            hashed.update(piece)
        return digest_value(hashed.hexdigest())

    def recorded(self, kind: BodyKind, body: Body, known: Known = NOTHING_KNOWN) -> bytes:
        """The value of a recorded body; of a long one by its bytes unless another is known.

        A body in a file of its own is named by their digest, and not read
        unless it is short. Raises ``CassetteError`` when it cannot be.
        """
        if body.size_bytes <= IN_MEMORY:
            return self.value_of(kind, _content(body), known)
        if body.key is not None and body.key.rules == self.version(kind):
            return digest_value(body.key.sha256)
        if body.file is None:
            return self.exact(kind, body.data, known)
        return digest_value(body.file.name)

    def takes_long(self, kind: BodyKind, body: bytes) -> bool:
        """Whether a body of at most ``IN_MEMORY`` bytes holds more than that under its codings."""
        kind = kind.beginning(body)
        if not kind.codings or not kind.coded:
            return False
        return are_known(kind.codings) and _undone(kind, body) is None

    def is_read(self, kind: BodyKind, body: Body) -> bool:
        """Whether it is known what a recorded body means, or its bytes tell."""
        if body.size_bytes <= IN_MEMORY:
            return not (kind.coded or (body.file is None and unlabelled(body.data)))
        if body.key is not None and body.key.rules == self.version(kind):
            return True
        # One that grew beyond IN_MEMORY by its stand-ins has not the digest of the live one.
        grown = body.size_bytes <= _MOST_GROWN
        return not (kind.codings or grown or self.reads(kind, b"{"))

    def version(self, kind: BodyKind) -> str:
        """Names these rules as they are for bodies of a kind."""
        said = (self._version, kind.content_type, kind.codings)
        return sha256(repr(said).encode()).hexdigest()[:16]

    def key_of(self, kind: BodyKind, body: LongBody) -> BodyKey | None:
        """What may be kept beside a long body; ``None`` where it tells no more than its bytes."""
        mark, told = body.meant[: len(_DIGEST_MARK)], body.meant[len(_DIGEST_MARK) :]
        if body.over or body.meant == body.exact or mark != _DIGEST_MARK:
            return None
        return BodyKey(self.version(kind), told.decode())

    def value_of(
        self, kind: BodyKind, body: bytes, known: Known, reading: Reading | None = None
    ) -> bytes:
        """The value of a whole body of at most ``IN_MEMORY`` bytes.

        ``reading`` says which fields of a form are credentials; as a
        recording's are by default.
        """
        trailers = b""
        kind = kind.beginning(body)
        if kind.codings and self.normalise.content_coding:
            body, trailers = self._uncoded(kind, body, known)
        elif (hidden := self._hidden(kind, body, known)) is not None:
            return under_coding(kind.codings, shortened(unmistakable(hidden)))
        else:
            body = self.redaction.body(body, kind.media_type, known)
        body = self.ignore.replaced(self.part, body)
        if self.reads_json and kind.is_json(body):
            value = self.json.canonical(body) or unmistakable(body)
        else:
            value = unmistakable(joined(self.meaning(kind, body, reading)))
        if len(value) > IN_MEMORY:
            value = shortened(value)
        return with_trailers(value, trailers) if trailers else value

    def _hidden(self, kind: BodyKind, body: bytes, known: Known) -> bytes | None:
        """What a body holds that is compared under its coding, where some of that is hidden.

        What is stored of it was coded again, by another encoder.
        """
        if not kind.coded or kind.aws_chunked:
            return None
        plain = decoded(kind.codings, body, limit_bytes=IN_MEMORY)
        if plain is None:
            return None
        hidden = self.redaction.body(plain, kind.media_type, known)
        return None if hidden == plain and STAND_IN not in plain else hidden

    def _uncoded(self, kind: BodyKind, body: bytes, known: Known) -> tuple[bytes, bytes]:
        """A body without its codings and without credentials, and the trailers within it."""
        trailers = b""
        if kind.aws_chunked and kind.coded:
            body, trailers = _unframed(body) or (body, b"")
        plain = decoded(kind.codings, body, limit_bytes=IN_MEMORY)
        body = self.redaction.body(body if plain is None else plain, kind.media_type, known)
        # A stored body was searched for credentials in its chunks.
        if kind.aws_chunked and not kind.coded:
            return _unframed(body) or unframed_by_signatures(body) or (body, b"")
        return body, trailers

    def reads(self, kind: BodyKind, start: bytes) -> bool:
        """Whether what a body means is not told by its bytes; ``start`` are its first ones."""
        return (
            self.ignore.concerns(self.part)
            or (self.reads_json and kind.is_json(start))
            or (self.normalise.multipart and (kind.boundary is not None or kind.is_message))
            or kind.media_type == _FORM
        )

    def meaning(
        self, kind: BodyKind, text: Text, reading: Reading | None = None, pause: Pause = go_on
    ) -> list[Piece]:
        """What counts of a body without codings and credentials, in one spelling."""
        fields = reading or Reading(self.redaction.rules)
        ids = ContentIDs(b"", b"")
        if self.normalise.multipart and kind.has_ids:
            ids = ContentIDs(text, kind.boundary or b"")
            text = ids.replaced(text)
        contents = _Contents(self, text, ids, fields, pause)
        return contents.spelled(kind, 0, len(text), 0)


@frozen(eq=False)
class _Contents:
    """Spells what stands in a text: a whole body, or the content of a part of it."""

    rules: BodyRules
    text: Text
    ids: ContentIDs
    reading: Reading
    pause: Pause

    def spelled(self, kind: BodyKind, start: int, end: int, depth: int) -> list[Piece]:
        found: list[Piece] | None = None
        if self.rules.reads_json and kind.is_json(self.text[start : start + _FIRST_BYTES]):
            found = self._json(start, end)
        elif kind.media_type == _FORM:
            found = self._form(start, end)
        elif self.rules.normalise.multipart and depth < _DEEPEST:
            if kind.boundary is not None:
                return self._multipart(kind, kind.boundary, start, end, depth)
            if kind.is_message:
                http = kind.media_type == _HTTP
                content = partial(self._content, depth + 1)
                found = message(self.text, start, end, self.ids, content, http=http)
        if found is None and self.rules.json.tokens and end - start <= IN_MEMORY:
            found = _without_tokens(kind, bytes(self.text[start:end]))
        return [stretch(self.text, start, end)] if found is None else found

    def _content(self, depth: int, content_type: bytes | None, start: int, end: int) -> list[Piece]:
        return self.spelled(BodyKind(content_type), start, end, depth)

    def _json(self, start: int, end: int) -> list[Piece] | None:
        text = self._stretch(start, end)
        if len(text) > IN_MEMORY:
            return self.rules.json.in_slices(text, self.pause)
        spelled = self.rules.json.canonical(bytes(text))
        return None if spelled is None else [spelled]

    def _form(self, start: int, end: int) -> list[Piece]:
        rules, text = self.rules, self._stretch(start, end)
        if not rules.normalise.form:
            left = without_fields(bytes(text), rules.form_left_out)
            return [in_query(left, self.reading, rules.credential)]
        if len(text) > IN_MEMORY:
            return form_in_slices(text, self._field, self.pause)
        return [canonical_form(bytes(text), self._field)]

    def _stretch(self, start: int, end: int) -> Text:
        whole = (start, end) == (0, len(self.text))
        return self.text if whole else bytes(self.text[start:end])

    def _multipart(
        self, kind: BodyKind, boundary: bytes, start: int, end: int, depth: int
    ) -> list[Piece]:
        found = multipart(self.text, boundary, start, end, self.pause)
        spelled: list[Piece] | None = None
        if found is not None and kind.media_type == _FORM_DATA:
            spelled = form(self.text, found, partial(self._part, depth + 1))
        elif found is not None:
            spelled = mixed(self.text, found, self.ids, partial(self._content, depth + 1))
        if spelled is not None:
            return spelled
        return list(Boundaryless(boundary).over((unlike_stand_ins(self._stretch(start, end)),)))

    def _part(self, depth: int, part: Part, said: Disposition) -> list[Piece] | None:
        """The content of a part of a form; ``None`` for one that does not count."""
        content_type = part.value(b"content-type")
        if content_type is not None:
            kind = BodyKind(content_type)
            if kind.media_type.endswith((b"/json", b"+json")) or kind.boundary is not None:
                return self.spelled(kind, part.start, part.end, depth)
        if said.file_name is not None or part.end - part.start > _LONGEST_VALUE:
            counts = said.name not in self.rules.form_left_out or said.file_name is not None
            return [stretch(self.text, part.start, part.end)] if counts else None
        value = self._field(said.name, bytes(self.text[part.start : part.end]))
        return None if value is None else [value]

    def _field(self, name: bytes, value: bytes) -> bytes | None:
        rules = self.rules
        if name in rules.form_left_out or (rules.json.tokens and is_token(name, value)):
            return None
        is_credential = self.reading.holds_credential(name, value)
        return rules.credential(name, value) if is_credential else value


def _without_tokens(kind: BodyKind, text: bytes) -> list[Piece] | None:
    if kind.media_type.endswith((b"/xml", b"+xml")):
        return [without_tokens_in_xml(text)]
    return [without_tokens_in_cbor(text)] if kind.media_type == b"application/cbor" else None


def _unframed(body: bytes) -> tuple[bytes, bytes] | None:
    """The payload in AWS's chunks, and the trailers; ``None`` for what is in none."""
    unframing = Unframing()
    try:
        return b"".join(unframing.over((body,))), unframing.trailers
    except BadChunks:
        return None


def _undone(kind: BodyKind, body: bytes) -> bytes | None:
    found = _unframed(body) if kind.aws_chunked else None
    payload = body if found is None else found[0]
    return decoded(kind.codings, payload, limit_bytes=IN_MEMORY)


def _content(body: Body) -> bytes:
    if body.file is None:
        return body.data
    try:
        return body.file.read_bytes()
    except OSError as error:
        raise CassetteError(f"{body.file}: a recorded body cannot be read: {error}") from error
