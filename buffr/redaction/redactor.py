"""Removes the credentials from an interaction before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from attrs import evolve, field, frozen

from buffr.errors import UnsafeRecording
from buffr.formats.codings import GZIP_START
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import (
    Body,
    Chunk,
    Direction,
    Frame,
    FrameKind,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead, with_length
from buffr.redaction import fields
from buffr.redaction.arriving import AnswerSearch, manner_of
from buffr.redaction.bodies import Bodies, Redacted, described, holds_more
from buffr.redaction.charsets import as_searched
from buffr.redaction.forms import stand_in
from buffr.redaction.headers import COOKIES, SET_COOKIES, SUBPROTOCOL, HeaderValues, in_subprotocols
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets, known_secrets
from buffr.redaction.pseudonym import STAND_IN, pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import Scanner, scanner_of
from buffr.redaction.spans import SecretSpan, recut, replaced, rescaled, settled
from buffr.transport.memo import Memo
from buffr.transport.spool import Spool

__all__ = ["IN_MEMORY", "Redactor"]

IN_MEMORY = 1 << 20
"""Request bodies up to this size are compared by their meaning, larger ones by a digest."""

_LARGEST_DOCUMENT = 32 << 20
_MOST_NOTED = 4096
_FIELD_BYTES = 500
_FRAME = ((b"content-type", b""),)
_LONGEST_REASON = 123


Field = tuple[bytes, bytes]


@lru_cache(maxsize=16)
def _fields_of(_: Scanner, __: bytes) -> Memo[Field, Field]:
    """The most recent fields, as they are stored under the rules of a scanner."""
    return Memo(entries=4096, size_bytes=2 << 20)


@lru_cache(maxsize=16)
def _sections_of(_: Scanner, __: bytes) -> Memo[tuple[Headers, KnownSecrets], Headers]:
    """The most recent header sections in the same form, with the secrets that were known."""
    return Memo(entries=1024, size_bytes=2 << 20)


@lru_cache(maxsize=16)
def _texts_of(_: Scanner, __: bytes) -> Memo[tuple[bytes, KnownSecrets], bytes]:
    """The same for targets and other short texts."""
    return Memo(entries=1024, size_bytes=1 << 20)


def _unsaid(_warning: str) -> None:
    pass


class _Spools:
    """The files of redacted bodies. They live as long as their redactor."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._open: list[Spool] = []

    def new(self) -> Spool:
        spool = Spool(IN_MEMORY, self._directory)
        self._open.append(spool)
        return spool

    def __del__(self) -> None:
        for spool in self._open:
            spool.close()


@frozen
class Redactor:
    """Replaces credentials by ``REDACTED-<name>-<hex8>``, found by ``rules`` or by their shape.

    ``salt`` is stored beside the recordings, so that a secret has the same
    pseudonym in all of them. Redacting twice changes nothing more. If
    ``rules.enabled`` is false, everything passes unchanged. ``warn`` is called
    with lines for the log, from any thread. Files of large bodies are created
    in ``spool_dir``, and live as long as the redactor. ``types`` are those of
    protobuf's messages.
    """

    rules: RedactionRules
    salt: bytes
    warn: Callable[[str], None] = field(default=_unsaid, eq=False)
    spool_dir: Path | None = field(default=None, eq=False)
    types: MessageTypes = field(factory=MessageTypes, eq=False)
    _values: HeaderValues = field(init=False, eq=False, repr=False)
    _scanner: Scanner = field(init=False, eq=False, repr=False)
    _spools: _Spools = field(init=False, eq=False, repr=False)
    _fields: Memo[Field, Field] = field(init=False, eq=False, repr=False)
    _sections: Memo[tuple[Headers, KnownSecrets], Headers] = field(init=False, eq=False, repr=False)
    _texts: Memo[tuple[bytes, KnownSecrets], bytes] = field(init=False, eq=False, repr=False)

    @_values.default
    def _values_of_salt(self) -> HeaderValues:
        return HeaderValues(self.salt, self.rules.compared)

    @_scanner.default
    def _scanner_of_rules(self) -> Scanner:
        return scanner_of(self.rules)

    @_fields.default
    def _fields_of_salt(self) -> Memo[Field, Field]:
        return _fields_of(self._scanner, self.salt)

    @_sections.default
    def _sections_of_salt(self) -> Memo[tuple[Headers, KnownSecrets], Headers]:
        return _sections_of(self._scanner, self.salt)

    @_texts.default
    def _texts_of_salt(self) -> Memo[tuple[bytes, KnownSecrets], bytes]:
        return _texts_of(self._scanner, self.salt)

    @_spools.default
    def _spools_of_directory(self) -> _Spools:
        return _Spools(self.spool_dir)

    def interaction(self, interaction: Interaction) -> Interaction:
        """The interaction in the form in which it may be stored.

        Raises ``UnsafeRecording`` if it has credentials and cannot be searched
        for them and ``rules.unsafe`` is set accordingly; ``OSError`` if a
        body's file cannot be read or written.
        """
        if not self.rules.enabled:
            return interaction
        redacted, known, extended = self._begun(interaction.request, interaction.response)
        if isinstance(interaction, WebSocketInteraction):
            return self._session(interaction, redacted, known, extended)
        return self._exchange(interaction, redacted, extended)

    def _begun(
        self, request: RecordedRequest, head: ResponseHead
    ) -> tuple[RecordedRequest, KnownSecrets, KnownSecrets]:
        """The redacted request, its secrets, and those that the answer is searched for."""
        known = known_secrets(self.rules, request.target, request.headers, head.headers)
        noted: list[SecretSpan] = []
        redacted = self._request(request, known, noted)
        # Keys do not depend on answers: what is found in an answer is not searched for in requests.
        return redacted, known, known.with_found(noted) if noted else known

    def answer_search(self, request: RecordedRequest, head: ResponseHead) -> AnswerSearch:
        """The search of the answer's body while it arrives. Raises the same as ``interaction``."""
        known = self._begun(request, head)[2] if self.rules.enabled else NOTHING_KNOWN
        return AnswerSearch(self.rules, head.headers, known)

    def headers(self, headers: Headers, known: KnownSecrets = NOTHING_KNOWN) -> Headers:
        """Header or trailer fields without credentials: same names, same order."""
        if not self.rules.enabled or not headers:
            return headers
        section = headers, known
        kept = self._sections.get(section)
        if kept is None:
            kept = self._section(headers, known)
            size_bytes = sum([len(name) + len(value) + _FIELD_BYTES for name, value in headers])
            self._sections.put(section, kept, 2 * size_bytes + known.size_bytes)
        return headers if kept == headers else kept

    def _section(self, headers: Headers, known: KnownSecrets) -> Headers:
        get, field = self._fields.get, self._field
        kept = tuple([get(one) or field(one) for one in headers])
        if not known or not known.stand_in(b"\n".join([value for _, value in kept])):
            return kept
        return tuple(
            [(name, self._text(self._value(name, value), known)) for name, value in headers]
        )

    def _field(self, field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        """A field without the secrets that its name or its value's shape reveals.

        Most fields recur.
        """
        name, value = field
        kept = name, self._text(self._value(name, value), NOTHING_KNOWN)
        if kept[1] == value:
            kept = field
        self._fields.put(field, kept, 2 * len(value) + _FIELD_BYTES)
        return kept

    def target(self, target: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """A request target without credentials in its query and its path."""
        if not self.rules.enabled:
            return target
        return self._text(fields.in_target(target, self.rules, self.pseudonym), known)

    def pseudonym(self, name: bytes, value: bytes) -> bytes:
        """The stored value of a credential field with this name."""
        if not self.rules.enabled:
            return value
        return self._made(self._scanner.name_of(name, value), value)

    def _exchange(
        self, interaction: HTTPInteraction, request: RecordedRequest, known: KnownSecrets
    ) -> HTTPInteraction:
        response = interaction.response
        body, chunks = interaction.body, interaction.chunks
        answer, known = self._answer(interaction, known)
        head = self._head(response, known)
        if answer is not None:
            head = evolve(head, headers=with_length(head.headers, answer.body.size_bytes))
            chunks = _cut(chunks, body, answer)
            body = answer.body
        trailers = self.headers(interaction.trailers, known)
        same = request is interaction.request and head is response and body is interaction.body
        if same and trailers is interaction.trailers and not interaction.captures:
            return interaction
        return evolve(
            interaction,
            request=request,
            response=head,
            body=body,
            chunks=chunks,
            trailers=trailers,
            captures=tuple(
                [(rule, self._captured(one, known)) for rule, one in interaction.captures]
            ),
        )

    def _answer(
        self, interaction: HTTPInteraction, known: KnownSecrets
    ) -> tuple[Redacted | None, KnownSecrets]:
        """The answer's redacted body, and the known secrets including those found in it."""
        body, headers = interaction.body, interaction.response.headers
        messages = self.types.of_answer(interaction.request.target, described(headers)[0])
        manner = None if body.searched is None else body.searched.manner
        if (
            manner is not None
            and messages is None
            and manner == manner_of(self.rules, headers, known)
        ):
            return None, known
        in_one_line = messages is None and b"\n" not in body.data
        if in_one_line and self._is_known_clear(body, headers, known):
            return None, known
        noted: list[SecretSpan] = []
        what, whole = "the answer's body", interaction.truncated is None
        hide = self._bodies(known, what, noted, pieces=True).redacted
        answer = hide(body, headers, known, whole=whole, messages=messages)
        more = known.with_found(noted) if noted else known
        if more is not known:
            hide = self._bodies(more, what, pieces=True).redacted
            answer = hide(body, headers, more, whole=whole, messages=messages)
        return answer, more

    def _session(
        self,
        session: WebSocketInteraction,
        request: RecordedRequest,
        known: KnownSecrets,
        extended: KnownSecrets,
    ) -> WebSocketInteraction:
        head = self._head(session.response, extended)
        frames = []
        for frame in session.frames:
            noted: list[SecretSpan] = []
            by_server = frame.direction is Direction.SERVER
            frames.append(self._frame(frame, extended if by_server else known, noted))
            extended = extended.with_found(noted)
        for direction in Direction:
            self._in_pieces(frames, direction, extended)
        return evolve(session, request=request, response=head, frames=tuple(frames))

    def _in_pieces(self, frames: list[Frame], direction: Direction, known: KnownSecrets) -> None:
        """Remove secrets that one side sends in pieces, over several messages."""
        numbers = [
            number
            for number, frame in enumerate(frames)
            if frame.direction is direction and frame.kind is FrameKind.TEXT and frame.data.data
        ]
        texts = [frames[number].data.data for number in numbers]
        for at, found in self._scanner.in_pieces(texts, known).items():
            frame = frames[numbers[at]]
            data, edits = replaced(texts[at], settled(found), self._stand_in)
            sizes = _fragments(frame.fragments, Redacted(Body.of(data), edits))
            frames[numbers[at]] = evolve(frame, data=Body.of(data), fragments=sizes)

    def _head(self, head: ResponseHead, known: KnownSecrets) -> ResponseHead:
        reason, headers = self._text(head.reason, known), self.headers(head.headers, known)
        if reason == head.reason and headers is head.headers and head.minor == 1:
            return head
        return ResponseHead(head.status, reason, headers)

    def _request(
        self, request: RecordedRequest, known: KnownSecrets, noted: list[SecretSpan]
    ) -> RecordedRequest:
        body, headers = request.body, self.headers(request.headers, known)
        found = self._request_body(request, known, noted)
        if found is not None:
            # Keys are made from bodies without credentials.
            body = evolve(found.body, key=body.key)
            headers = with_length(headers, body.size_bytes)
        target = self.target(request.target, known)
        if target == request.target and headers is request.headers and body is request.body:
            return request
        return evolve(request, target=target, headers=headers, body=body)

    def _request_body(
        self, request: RecordedRequest, known: KnownSecrets, noted: list[SecretSpan]
    ) -> Redacted | None:
        body, headers = request.body, request.headers
        messages = self.types.of_request(request.target, described(headers)[0])
        if messages is None and self._is_known_clear(body, headers, known):
            return None
        # The match key of a long body is a digest, which must not depend on names or the salt.
        large = body.size_bytes > IN_MEMORY or holds_more(body, headers, IN_MEMORY)
        bodies = self._bodies(known, "the request's body", noted, large=large)
        return bodies.redacted(body, headers, known, messages=messages)

    def _is_known_clear(self, body: Body, headers: Headers, known: KnownSecrets) -> bool:
        """Whether a body is a text without codings that was searched lately, as for its key."""
        data, (kind, codings) = body.data, described(headers)
        if body.file is not None or codings or data.startswith(GZIP_START):
            return False
        return self._scanner.is_known_clear(as_searched(data)[0], kind, known)

    def _frame(self, frame: Frame, known: KnownSecrets, noted: list[SecretSpan]) -> Frame:
        reason = self._prose(frame.reason, known) if frame.reason else ""
        found = self._bodies(known, "a frame", noted).redacted(frame.data, _FRAME, known)
        if found is None:
            return frame if reason == frame.reason else evolve(frame, reason=reason)
        sizes = _fragments(frame.fragments, found)
        return evolve(frame, data=found.body, fragments=sizes, reason=reason)

    def _bodies(
        self,
        known: KnownSecrets,
        what: str,
        noted: list[SecretSpan] | None = None,
        *,
        large: bool = False,
        pieces: bool = False,
    ) -> Bodies:
        """Searches a body, named ``what`` in warnings."""

        def unsafe(reason: str) -> None:
            self._unsafe(f"{what} cannot be searched for credentials: {reason}", known)

        def replacing(found: SecretSpan) -> bytes:
            if noted is not None and len(noted) < _MOST_NOTED:
                noted.append(found)
            return STAND_IN if large else self._stand_in(found)

        limit = IN_MEMORY if large else _LARGEST_DOCUMENT
        return Bodies(self._scanner, replacing, self._spools.new, unsafe, limit, pieces)

    def _unsafe(self, message: str, known: KnownSecrets) -> None:
        if self.rules.unsafe == "refuse" and known:
            raise UnsafeRecording(
                message, hint="set redact.unsafe to warn to have it recorded all the same"
            )
        self.warn(f"{message}; it is recorded unredacted")

    def _captured(self, text: str, known: KnownSecrets) -> str:
        return self._text(text.encode(), known).decode()

    def _prose(self, reason: str, known: KnownSecrets) -> str:
        """The reason of a close frame: any text of up to 123 bytes (RFC 6455 5.5)."""
        text = reason.encode()
        found = self._scanner.in_body(text, b"", known)
        redacted = replaced(text, found, self._stand_in)[0] if found else text
        return redacted[:_LONGEST_REASON].decode("utf-8", "ignore")

    def _text(self, text: bytes, known: KnownSecrets) -> bytes:
        asked = text, known
        kept = self._texts.get(asked)
        if kept is None:
            found = self._scanner.in_text(text, known)
            kept = replaced(text, found, self._stand_in)[0] if found else text
            self._texts.put(asked, kept, 2 * len(text) + _FIELD_BYTES + known.size_bytes)
        return kept

    def _stand_in(self, found: SecretSpan) -> bytes:
        return self._made(found.name, found.secret, digest=found.digest, counted=found.counted)

    def _made(
        self, name: bytes, secret: bytes, *, digest: bool = True, counted: bool = False
    ) -> bytes:
        # If the name may mean data, the digest distinguishes the values.
        make = pseudonym if self.rules.may_mean_data(name) and not counted else stand_in
        return make(name, secret, self.salt, digest=digest, counted=counted)

    def _value(self, name: bytes, value: bytes) -> bytes:
        lower = name.lower()
        if lower == SUBPROTOCOL:
            return in_subprotocols(value, self.rules, self.pseudonym)
        value = fields.in_header(lower, value, self.rules, self.pseudonym)
        if not self.rules.is_credential_header(lower):
            if not self.rules.hides(lower, value):
                return value
            return self._values.credential(lower, value, counted=True)
        if lower in COOKIES:
            return self._values.cookie(lower, value)
        if lower in SET_COOKIES:
            return self._values.set_cookie(lower, value)
        return self._values.credential(lower, value)


def _cut(chunks: tuple[Chunk, ...], old: Body, new: Redacted) -> tuple[Chunk, ...]:
    if new.edits is None:
        return rescaled(chunks, old.size_bytes, new.body.size_bytes)
    return recut(chunks, new.edits)


def _fragments(sizes: tuple[int, ...], new: Redacted) -> tuple[int, ...]:
    """The sizes of a message's frames; those that became empty are left out."""
    if new.edits is None:
        return ()
    chunks = recut(tuple([Chunk(size) for size in sizes]), new.edits)
    return tuple([chunk.size_bytes for chunk in chunks]) if len(chunks) > 1 else ()
