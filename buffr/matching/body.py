"""The body's part of a match key: what a body means.

- The content codings gzip, deflate, br and zstd are undone, and
  ``aws-chunked`` payloads are extracted from their signed chunks;
- JSON (by its media type, or because it begins like an object or an array) is
  compared in canonical form, without idempotency tokens; if it cannot be
  parsed as JSON, its exact bytes count;
- an urlencoded form is also compared in canonical form;
- protobuf's messages are compared by their fields if their types are declared,
  those of gRPC otherwise without their compression;
- a multipart body is compared by its parts, at any depth, without boundaries
  and identifiers;
- any other body is compared by its exact bytes; no body counts as no bytes.

A resulting value longer than ``IN_MEMORY`` becomes ``sha256:`` and a
lower-case hex digest. ``long_body`` reads a body that is itself longer.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from attrs import astuple, evolve, field, fields, frozen

from buffr.errors import CassetteError
from buffr.formats.codings import GZIP_START, are_known, are_plain, decoded, unlabelled
from buffr.formats.envelopes import is_enveloped
from buffr.formats.grpc import is_grpc_type, without_compression
from buffr.formats.multipart import BodyPart, Disposition, boundary_of, multipart
from buffr.formats.protobuf.bodies import Messages
from buffr.interaction import Body, BodyKey
from buffr.matching.aws_chunked import (
    BadChunks,
    ChunkDecoder,
    is_aws_chunked,
    unframed_by_signatures,
)
from buffr.matching.forms import canonical_form, form_in_slices, without_fields
from buffr.matching.idempotency import (
    is_token,
    may_hold_tokens,
    without_tokens_in_cbor,
    without_tokens_in_xml,
)
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.messages import MESSAGES_MARK, MessageRules
from buffr.matching.multipart import (
    BoundaryReplacer,
    ContentIDs,
    form,
    message,
    mixed,
    unlike_stand_ins,
)
from buffr.matching.pieces import Pause, Piece, Text, go_on, joined, stretch
from buffr.matching.rules import Normalisation, Reading
from buffr.redaction.fields import Replace, constant, in_query
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.streaming import StreamRedactor

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

# Increase this when long bodies get other values.
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
    """The value of a body that is represented by its digest."""
    return _DIGEST_MARK + hex_digest.encode("ascii")


def unmistakable(value: bytes) -> bytes:
    """A body's value; if it looks like one of the marked forms, its digest instead."""
    if value.startswith((_DIGEST_MARK, _TRAILERS_MARK, _CODED_MARK, MESSAGES_MARK)):
        return digest_value(sha256(value).hexdigest())
    return value


def shortened(value: bytes) -> bytes:
    """The value, or its digest if it is longer than ``IN_MEMORY``."""
    return value if len(value) <= IN_MEMORY else digest_value(sha256(value).hexdigest())


def under_coding(codings: bytes, value: bytes) -> bytes:
    """The value of a body that is compared under its coding, from its decoded content."""
    return b"%b%b\n%b" % (_CODED_MARK, codings, value)


def with_trailers(value: bytes, trailers: bytes) -> bytes:
    """The value of a body with the trailer fields that came in it."""
    return b"%b%b\n\n%b" % (_TRAILERS_MARK, trailers, value) if trailers else value


class BodyDigest:
    """Takes a body in pieces, and keeps no more than about ``IN_MEMORY`` of it in memory.

    A long body is digested in its stored form: ``redaction`` defines that
    form, ``known`` are the request's credentials.
    """

    def __init__(
        self, redaction: KeyRedaction | None = None, known: KnownSecrets = NOTHING_KNOWN
    ) -> None:
        self._start = bytearray()
        self._hashed = sha256()
        self._stretches: StreamRedactor | None = None
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
        """The whole body and true if it was short enough, else its value and false.

        ``update`` must not be called afterwards.
        """
        if self._stretches is None:
            return bytes(self._start), True
        self._hashed.update(self._stretches.end())
        return digest_value(self._hashed.hexdigest()), False


@frozen
class LongBody:
    """The values of a body that takes long to read.

    ``meant`` is computed from its meaning, ``exact`` from its bytes as they
    are stored; ``raw_digest`` is the SHA-256 of the bytes as received.
    ``over``: the body is too long for rules, and both values come from its
    bytes.
    """

    meant: bytes
    exact: bytes
    raw_digest: bytes
    over: bool = False

    @property
    def values(self) -> tuple[bytes, ...]:
        """All values under which a recording may be filed, the best one first."""
        return (self.meant,) if self.meant == self.exact else (self.meant, self.exact)


def media_type_of(content_type: bytes | None) -> bytes:
    """The lower-case media type, without parameters; empty when absent."""
    return (content_type or b"").partition(b";")[0].strip().lower()


@frozen
class BodyKind:
    """What a request's fields say about its body: ``Content-Type`` and ``Content-Encoding``.

    ``messages`` are protobuf's.
    """

    content_type: bytes | None = None
    codings: bytes = b""
    messages: Messages | None = None
    boundary: bytes | None = field(init=False)
    media_type: bytes = field(init=False)
    aws_chunked: bool = field(init=False)
    coded: bool = field(init=False)
    """Whether a body has a content coding other than aws-chunked."""

    @boundary.default
    def _boundary(self) -> bytes | None:
        return boundary_of(self.content_type)

    @media_type.default
    def _media_type(self) -> bytes:
        return media_type_of(self.content_type)

    @aws_chunked.default
    def _is_aws_chunked(self) -> bool:
        return is_aws_chunked(self.codings)

    @coded.default
    def _has_coding(self) -> bool:
        return not are_plain(self.codings)

    def beginning(self, start: bytes) -> BodyKind:
        """The kind of a body that begins with ``start``.

        Gzip is recognised without a header field.
        """
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
    """Which parts of a body count.

    ``credential`` replaces a form's credentials. ``part`` is the body's name
    in ignore rules.
    """

    normalise: Normalisation = field(factory=Normalisation)
    ignore: Ignore = field(factory=Ignore)
    json: JSONFields = field(factory=JSONFields)
    form_left_out: frozenset[bytes] = frozenset()
    redaction: KeyRedaction = field(factory=KeyRedaction)
    credential: Replace = constant
    part: str = "request.body"
    reads_json: bool = field(init=False)
    messages: MessageRules = field(init=False)
    _version: str = field(init=False)

    @reads_json.default
    def _has_use_for_json(self) -> bool:
        return self.normalise.json or bool(self.json.paths)

    @messages.default
    def _of_messages(self) -> MessageRules:
        return MessageRules(self.ignore, self.json, self.redaction, self.part)

    @_version.default
    def _digest_of_rules(self) -> str:
        """Identifies these rules among all rules that give a long body another value."""
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
        self, kind: BodyKind, body: bytes | BodyDigest, known: KnownSecrets = NOTHING_KNOWN
    ) -> bytes:
        """The value of a whole body, or of a body that was fed to a digest."""
        if isinstance(body, BodyDigest):
            found, whole = body.end()
            return self.value_of(kind, found, known) if whole else found
        if len(body) <= IN_MEMORY:
            return self.value_of(kind, body, known)
        return self.exact(kind, body, known)

    def exact(self, kind: BodyKind, body: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """The value of a long body, computed from its bytes as they are stored."""
        hashed = sha256()
        for piece in self.redaction.stretches(kind.media_type, known).over((body,)):
            hashed.update(piece)
        return digest_value(hashed.hexdigest())

    def recorded(self, kind: BodyKind, body: Body, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """The value of a recorded body.

        A long one is compared by its bytes unless its key is stored.

        A long body in a separate file is identified by the file's name, its
        digest, without reading the file. Raises ``CassetteError`` if a file
        cannot be read.
        """
        if body.size_bytes <= IN_MEMORY:
            return self.value_of(kind, _content(body), known)
        if body.key is not None and body.key.rules == self.version(kind):
            return digest_value(body.key.sha256)
        if body.file is None:
            return self.exact(kind, body.data, known)
        return digest_value(body.file.name)

    def takes_long(self, kind: BodyKind, body: bytes) -> bool:
        """Whether a body of up to ``IN_MEMORY`` bytes decodes to more than that."""
        kind = kind.beginning(body)
        if not kind.codings or not kind.coded:
            return False
        return are_known(kind.codings) and _undone(kind, body) is None

    def is_read(self, kind: BodyKind, body: Body) -> bool:
        """Whether the meaning of a recorded body is known, or its bytes suffice."""
        if body.size_bytes <= IN_MEMORY:
            return not (kind.coded or (body.file is None and unlabelled(body.data)))
        if kind.messages is not None and kind.messages.type is not None:
            return False
        if body.key is not None and body.key.rules == self.version(kind):
            return True
        # A body that grew beyond IN_MEMORY through its stand-ins has another digest than the live
        # one.
        grown = body.size_bytes <= _MOST_GROWN
        return not (kind.codings or grown or self.reads(kind, b"{"))

    def version(self, kind: BodyKind) -> str:
        """The version of these rules for bodies of this kind."""
        said = (self._version, kind.content_type, kind.codings)
        return sha256(repr(said).encode()).hexdigest()[:16]

    def key_of(self, kind: BodyKind, body: LongBody) -> BodyKey | None:
        """The key to store with a long body; ``None`` if its bytes say as much."""
        mark, hex_digest = body.meant[: len(_DIGEST_MARK)], body.meant[len(_DIGEST_MARK) :]
        if body.over or body.meant == body.exact or mark != _DIGEST_MARK:
            return None
        if kind.messages is not None:
            return None  # with other descriptors it may mean something else
        return BodyKey(self.version(kind), hex_digest.decode())

    def in_clear(self, kind: BodyKind, body: Body) -> bytes | None:
        """A recorded body that has the characters of its value if nothing in it is a credential.

        That is JSON whose strings are spelled as in canonical JSON, or what
        begins like it; ``None`` for any other, and if some of it may be left
        out.
        """
        data = body.data
        if not data.startswith((b"{", b"[")) or len(data) > IN_MEMORY or b"\0" in data:
            return None
        if not self.reads_json or self.json.paths or self.ignore.concerns(self.part):
            return None
        if kind.codings or kind.messages is not None or is_enveloped(kind.media_type):
            return None
        if b"\\" in data and (b"\\u" in data or b"\\/" in data):
            return None
        return None if self.json.tokens and may_hold_tokens(data) else data

    def value_of(
        self, kind: BodyKind, body: bytes, known: KnownSecrets, reading: Reading | None = None
    ) -> bytes:
        """The value of a whole body of up to ``IN_MEMORY`` bytes.

        ``reading`` decides which form fields are credentials; the default is
        the one for recordings.
        """
        trailers = b""
        kind = kind.beginning(body)
        if kind.messages is not None:
            meant = self.value_of_messages(kind.messages, kind, body, known, IN_MEMORY)
            if meant is not None:
                if kind.messages.type is None:
                    meant = _of_protocol(kind.messages, meant)
                return meant if len(meant) <= IN_MEMORY else shortened(meant)
        if self.normalise.content_coding and is_enveloped(kind.media_type):
            body = without_compression(body, IN_MEMORY)
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

    def value_of_messages(
        self,
        messages: Messages,
        kind: BodyKind,
        body: bytes,
        known: KnownSecrets,
        most_bytes: int,
    ) -> bytes | None:
        """The value of messages; ``None`` if the body has to be read as bytes of any kind."""
        if kind.coded and not self.normalise.content_coding:
            return None
        plain: bytes | None = body
        if kind.coded:
            plain = decoded(kind.codings, body, limit_bytes=most_bytes)
        if plain is None:
            return None
        meant = self.messages.meaning(messages, plain, known, most_bytes)
        if meant is None:
            inflated = self.messages.inflated(messages, plain, known, most_bytes)
            meant = None if inflated is None else unmistakable(inflated)
        return meant

    def _hidden(self, kind: BodyKind, body: bytes, known: KnownSecrets) -> bytes | None:
        """The redacted content of a body that is compared under its coding, if it has secrets.

        The stored body was encoded again, by another encoder.
        """
        if not kind.coded or kind.aws_chunked:
            return None
        plain = decoded(kind.codings, body, limit_bytes=IN_MEMORY)
        if plain is None:
            return None
        hidden = self.redaction.body(plain, kind.media_type, known)
        return None if hidden == plain and STAND_IN not in plain else hidden

    def _uncoded(self, kind: BodyKind, body: bytes, known: KnownSecrets) -> tuple[bytes, bytes]:
        """The body without codings and credentials, and the trailers within it."""
        trailers = b""
        if kind.aws_chunked and kind.coded:
            body, trailers = _unframed(body) or (body, b"")
        plain = decoded(kind.codings, body, limit_bytes=IN_MEMORY)
        body = self.redaction.body(body if plain is None else plain, kind.media_type, known)
        # A stored body was redacted in its chunked form.
        if kind.aws_chunked and not kind.coded:
            return _unframed(body) or unframed_by_signatures(body) or (body, b"")
        return body, trailers

    def reads(self, kind: BodyKind, start: bytes) -> bool:
        """Whether a body must be parsed to know what it means; ``start`` are its first bytes."""
        return (
            self.ignore.concerns(self.part)
            or (self.reads_json and kind.is_json(start))
            or (self.normalise.multipart and (kind.boundary is not None or kind.is_message))
            or kind.media_type == _FORM
        )

    def meaning(
        self, kind: BodyKind, text: Text, reading: Reading | None = None, pause: Pause = go_on
    ) -> list[Piece]:
        """What counts in a body without codings and credentials, in canonical form."""
        fields = reading or Reading(self.redaction.rules)
        ids = ContentIDs(b"", b"")
        if self.normalise.multipart and kind.has_ids:
            ids = ContentIDs(text, kind.boundary or b"")
            text = ids.replaced(text)
        contents = _Contents(self, text, ids, fields, pause)
        return contents.spelled(kind, 0, len(text), 0)


@frozen(eq=False)
class _Contents:
    """Writes a text in canonical form: a whole body, or the content of one of its parts."""

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
        return list(BoundaryReplacer(boundary).over((unlike_stand_ins(self._stretch(start, end)),)))

    def _part(self, depth: int, part: BodyPart, said: Disposition) -> list[Piece] | None:
        """The content of a form's part; ``None`` if it does not count."""
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


def _of_protocol(messages: Messages, meant: bytes) -> bytes:
    """The value of a stream whose messages have no declared types, apart from other protocols'.

    As with declared types: a client of gRPC-Web reads no answer of Connect.
    """
    framing = messages.framing
    if not framing.enveloped or is_grpc_type(framing.name):
        return meant
    return b"%b\n%b" % (framing.name, meant)


def _without_tokens(kind: BodyKind, text: bytes) -> list[Piece] | None:
    if kind.media_type.endswith((b"/xml", b"+xml")):
        return [without_tokens_in_xml(text)]
    return [without_tokens_in_cbor(text)] if kind.media_type == b"application/cbor" else None


def _unframed(body: bytes) -> tuple[bytes, bytes] | None:
    """The payload of aws-chunked and its trailers; ``None`` if the body is not in chunks."""
    unframing = ChunkDecoder()
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
        raise CassetteError(f"{body.file}: cannot read a recorded body: {error}") from error
