"""From requests to match keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from hashlib import sha256

from attrs import evolve, frozen

from buffr.formats.grpc import may_be_compressed
from buffr.formats.protobuf.bodies import MessageTypes
from buffr.interaction import BodyKey, IndexEntry, RecordedRequest, choosing_fields
from buffr.matching.body import IN_MEMORY, BodyKind, BodyRules, LongBody
from buffr.matching.captures import SyncRules
from buffr.matching.frames import FrameRules
from buffr.matching.header_fields import CountedFields, HeaderRules
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.key import Counted, KeyPart, MatchKey, RecordedKey, Variant, encoded
from buffr.matching.key_head import ORIGIN_PARTS, KeyHead
from buffr.matching.long_body import ReadLong, long_body
from buffr.matching.rough import Rough, RoughHead
from buffr.matching.rules import MatchRules, Reading, other_readings
from buffr.matching.target import TargetRules, legal_target
from buffr.matching.variants import Identity, Selecting, identity_of, loosened
from buffr.message import Headers, Request
from buffr.origin import Origin
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets
from buffr.redaction.pseudonym import MARK, STAND_IN
from buffr.redaction.redactor import Redactor
from buffr.transport.memo import Memo
from buffr.wire.websocket_handshake import asks_websocket

__all__ = ["MatchRules", "Matcher", "differences", "legal_target"]

_IDENTITY_BYTES = 1600
"""The size of an identity's objects without its body's text, measured with CPython 3.11."""
_KEY_BYTES = 500
"""The size of one of its keys, with its share of the rest."""
_TARGET = frozenset(("path", "query"))
_SHORT_BYTES = 200
_MESSAGE_FACTOR = 32
"""A credential in protobuf's messages takes six bytes, and 0.1 ms to find and to replace."""


@frozen(eq=False)
class _RememberedHead:
    """What is remembered about a request from its head alone."""

    head: KeyHead
    secrets: KnownSecrets
    selecting: Selecting
    bare: Identity | None = None
    headerless: bool = False


class Matcher:
    """Makes the keys of live and of recorded requests.

    A request and its recording, redacted or not, have the same key.
    ``with_origin`` makes scheme, host and port parts of it, as behind a
    forward proxy. ``salt`` returns the store's salt, which may change when its
    file does; ``distinct`` credentials need it, and raise ``ValueError``
    without it. ``warnings`` name the rules that are invalid, and skipped. With
    ``strict_variants`` a recording answers no other variant of its request.
    The matches of ``sync`` are replaced in answers, and ``frames`` compares
    WebSocket messages. ``types`` are those of protobuf's messages.
    """

    def __init__(
        self,
        rules: MatchRules,
        *,
        with_origin: bool,
        salt: Callable[[], bytes] | None = None,
        types: MessageTypes | None = None,
    ) -> None:
        if rules.credentials == "distinct" and salt is None:
            raise ValueError("distinct credentials need a salt for their pseudonyms")
        self.ignore, ignore_warnings = Ignore.of(rules.ignore)
        self._json_fields, json_warnings = JSONFields.of(
            rules.json, tokens=rules.normalise.idempotency
        )
        self.warnings: tuple[str, ...] = ignore_warnings + json_warnings
        self.sync = SyncRules.of(self.ignore, IN_MEMORY)
        self._with_origin = with_origin
        self._rules = rules
        self.strict_variants = rules.variants == "strict"
        self.body_bytes = rules.body_bytes
        self._on = rules.on
        self._by_body = "body" in rules.on
        self._by_table = "headers" in rules.on
        self._distinct = rules.credentials == "distinct"
        self._clear = rules.credentials == "constant" and rules.on >= _TARGET
        self.types = MessageTypes() if types is None else types
        self._salt = salt or _no_salt
        self._salt_now = self._salt()
        self._prepare()
        self.types.watch(self)

    def forget(self) -> None:
        """Remember nothing: what is known of messages has changed."""
        self._prepare()

    def _prepare(self) -> None:
        """Set up what depends on the salt, with nothing remembered."""
        rules = self._rules
        redactor = Redactor(rules.redaction, self._salt_now)
        self._redaction = KeyRedaction(
            rules.redaction,
            self._salt_now,
            distinct=self._distinct,
            exact=rules.credentials == "exact",
        )
        credential = self._redaction.credential
        self._target = TargetRules(
            self._redaction,
            credential,
            self.ignore,
            frozenset(name.encode() for name in rules.query),
            rules.normalise.signatures,
            not rules.normalise.query_order,
            rules.normalise.idempotency,
            "path" in rules.on,
            "query" in rules.on,
            rules.query_pairs,
        )
        self._header = HeaderRules(
            rules, self.ignore, self._redaction, credential, redactor, self._distinct
        )
        self._body = BodyRules(
            rules.normalise,
            self.ignore,
            self._json_fields,
            frozenset(name.encode() for name in rules.form),
            self._redaction,
            credential,
        )
        self.frames = FrameRules.of(rules.frame, rules.frame_type, self._body, self.sync)
        self._last_head: tuple[Headers, tuple[object, ...], _RememberedHead] | None = None
        self._last_rough: tuple[Headers, tuple[object, ...], RoughHead | None] | None = None
        self._last_fields: tuple[Headers, bytes, tuple[KeyPart, ...], CountedFields] | None = None
        self._requests: Memo[object, _RememberedHead] = Memo(entries=2048, size_bytes=8 << 20)
        self._heads: Memo[object, KeyHead] = Memo(entries=2048, size_bytes=4 << 20)
        self._selectings: Memo[object, Selecting] = Memo(entries=2048, size_bytes=4 << 20)
        self._variants: Memo[object, Variant] = Memo(entries=4096, size_bytes=4 << 20)
        self._bare: Memo[object, Identity] = Memo(entries=2048, size_bytes=4 << 20)
        self._identities: Memo[object, Identity] = Memo(entries=32768, size_bytes=40 << 20)
        self._digests: Memo[object, bytes] = Memo(entries=1024, size_bytes=4 << 20)

    def live(
        self, request: Request, body: bytes | LongBody, origin: Origin | None = None
    ) -> Identity:
        """What identifies a request.

        ``request`` may be the same object for many requests with the same
        head: what is known about it is remembered.
        """
        name = request if origin is None else (request, origin)
        known = self._requests.get(name) or self._live_head(request, origin, name)
        identity: Identity | None
        if not body or not self._by_body:
            identity = known.bare
        elif isinstance(body, LongBody):
            identity = self._identity(request, origin, known, body)
        else:
            one = (known.head, known.secrets.values, _named(body))
            identity = self._identities.get(one)
            if identity is not None:
                identity = identity.of(known.selecting)
            else:
                identity = self._identity(request, origin, known, body)
                self._identities.put(one, identity, _identity_bytes(identity))
                if not (identity.salted or identity.loose or self._alters_keys):
                    # Its recording has the same head and body, and is filed soon.
                    self._digests.put((known.head, body), identity.keys[0].digest, len(body) + 300)
        assert identity is not None
        if identity.salted and self._salt() != self._salt_now:
            self._salt_now = self._salt()
            self._prepare()
            return self.live(request, body, origin)
        return identity

    def remembered(
        self, request: Request, body: bytes, origin: Origin | None = None
    ) -> Identity | None:
        """What identifies a request, if that is known already. ``body`` is not empty."""
        known = self._requests.get(request if origin is None else (request, origin))
        if known is None or not self._by_body:
            return None
        one = (known.head, known.secrets.values, _named(body))
        identity = self._identities.get(one)
        return None if identity is None or identity.salted else identity.of(known.selecting)

    def _identity(
        self,
        request: Request,
        origin: Origin | None,
        known: _RememberedHead,
        body: bytes | LongBody,
    ) -> Identity:
        """The keys of all readings of a request."""
        head, secrets = known.head, known.secrets
        form = Reading(self._rules.redaction)
        if isinstance(body, LongBody):
            values = body.values
        else:
            values = self._values(head.kind, body, secrets, form) if body else (b"",)
        keys = _keys(head, values)
        if body and self._rules.bodiless:
            keys += head.keys(b"")
        if self._redaction.exact:
            return Identity(keys, known.selecting)
        others: tuple[MatchKey, ...] = ()
        for names in other_readings(head.doubtful.union(form.doubtful)):
            other = self._head_of(request, origin, secrets, names)[0] if head.doubtful else head
            if form.doubtful and not isinstance(body, LongBody):
                reading = Reading(self._rules.redaction, names)
                values = (self._body.value_of(head.kind, body, secrets, reading),)
            others += _keys(other, values)
        if self._distinct:
            return Identity(keys + others, known.selecting, head.headerless(keys), salted=True)
        identity = identity_of(
            keys, others, known.selecting, head.headerless(keys), self._redaction
        )
        before = self._as_before(request.target, head, secrets)
        if before is None:
            return identity
        return evolve(identity, keys=(*identity.keys, *_keys(before, values)), salted=True)

    def _values(
        self, kind: BodyKind, body: bytes, secrets: KnownSecrets, form: Reading
    ) -> tuple[bytes, ...]:
        """The values of a body under which its recording may be filed."""
        value, messages = self._body.value_of(kind, body, secrets, form), kind.messages
        if messages is None or messages.type is None or not self.types.growing:
            return (value,)
        unknown = evolve(kind, messages=evolve(messages, type=None))
        return (value, self._body.value_of(unknown, body, secrets, form))

    def _as_before(self, target: bytes, head: KeyHead, secrets: KnownSecrets) -> KeyHead | None:
        """The head as earlier versions stored it: every stand-in is named after its field.

        ``?key=AIza…`` was stored like an opaque value; exactly the same value
        is found by its pseudonym.
        """
        at = head.origin_parts + 2  # after method and path
        query = head.parts[at]
        if STAND_IN not in query[1]:
            return None
        by_field = evolve(self._target, credential=self._redaction.by_field)
        stored: KeyPart = ("query", by_field.parts(target, secrets)[1])
        if stored == query:
            return None
        return evolve(head, parts=(*head.parts[:at], stored, *head.parts[at + 1 :]))

    def work_bytes(self, request: Request, body: bytes) -> int:
        """How many bytes of JSON take as long as this body to identify."""
        if not self.types.declared or not body:
            return len(body)
        if request.is_coded or may_be_compressed(body):
            return IN_MEMORY
        return _MESSAGE_FACTOR * len(body)

    def disregards(self, name: bytes) -> bool:
        """Whether a request is the same whatever this field says; the name in lower case.

        A field that may hold a credential counts: what it holds is removed
        wherever else it appears.
        """
        return self._header.disregards(name) and not self._rules.redaction.may_tell(name)

    def recorded_work_bytes(self, request: RecordedRequest) -> int:
        """The same for a recording."""
        size_bytes = request.body.size_bytes
        return _MESSAGE_FACTOR * size_bytes if self.types.declared else size_bytes

    def takes_long(self, request: Request, body: bytes) -> bool:
        """Whether a body of up to ``IN_MEMORY`` bytes decodes to more than that."""
        if not body or not self._by_body:
            return False
        return self._body.takes_long(self._kind_of(request), body)

    def _kind_of(self, request: Request) -> BodyKind:
        known = self._requests.get(request)
        if known is not None:
            return known.head.kind
        secrets = self._redaction.known(request.target, request.headers)
        return self._head_of(request, None, secrets)[0].kind

    def long_body(self, request: Request) -> ReadLong:
        """A function that reads a request's long body, on any thread."""
        secrets = self._redaction.known(request.target, request.headers)
        return partial(long_body, self._body, self._kind_of(request), secrets, self.body_bytes)

    def recorded_long_body(self, request: RecordedRequest) -> ReadLong:
        """The same for a recording."""
        known = self._recorded_head(request)
        return partial(long_body, self._body, known.head.kind, known.secrets, self.body_bytes)

    def key_of(self, request: RecordedRequest, body: LongBody) -> BodyKey | None:
        """The key to store with a recording's long body."""
        return self._body.key_of(self._recorded_head(request).head.kind, body)

    def is_read(self, request: RecordedRequest) -> bool:
        """Whether a recording's long body need not be read: its value is known."""
        if not self._by_body:
            return True
        return self._body.is_read(self._recorded_head(request).head.kind, request.body)

    @cached_property
    def _alters_keys(self) -> bool:
        """Whether a body may mean something else with other credentials in its request.

        By default only a body with a stand-in may: a user's rule may match
        inside one.
        """
        exact = self._redaction.exact
        return exact or self._distinct or self.ignore.concerns("request.body")

    @cached_property
    def cuts_bodies(self) -> bool:
        """Whether rules leave parts of bodies out."""
        rules = self._rules
        return bool(rules.json or rules.form) or self.ignore.concerns("request.body")

    def frames_of(self, request: Request) -> FrameRules:
        """How the messages of the session that this request opens are compared."""
        known = self._redaction.known(request.target, request.headers)
        return evolve(self.frames, known=known) if known else self.frames

    def recorded(self, request: RecordedRequest) -> MatchKey:
        """The key of a recording, with the parts that the recording has.

        Raises ``CassetteError`` if a body's file is needed and cannot be read.
        """
        known = self._recorded_head(request)
        if not request.body.size_bytes or not self._by_body:
            return known.head.exact(b"")
        return known.head.exact(self._body.recorded(known.head.kind, request.body, known.secrets))

    def recorded_head(self, request: RecordedRequest) -> tuple[KeyPart, ...]:
        """The parts of a recording's key that come before its body, which is not looked at."""
        return self._recorded_head(request).head.parts

    def recorded_key(self, entry: IndexEntry, value: bytes = b"") -> RecordedKey:
        """How a recording is filed; ``value`` is that of its long body, if that was read.

        Raises the same errors as ``recorded``.
        """
        request = entry.request
        known = self._recorded_head(request)
        head = known.head
        variant = None
        if not known.headerless:
            variant = self._variant(known.selecting, entry.choosing)
        if not self._by_body:
            value = b""
        elif request.body.size_bytes and not value:
            digest = self._digests.get((head, request.body.data)) if len(self._digests) else None
            if digest is not None:
                return RecordedKey(digest, variant)
            value = self._body.recorded(head.kind, request.body, known.secrets)
        if self._distinct or not (MARK in head.start or MARK in value):
            return RecordedKey(head.digest(value), variant)
        key = head.exact(value)
        loose = loosened(key, self._redaction)
        return RecordedKey(
            key.digest,
            variant,
            None if loose is None else loose.digest,
            tuple(self._counted(key, head.origin_parts)),
        )

    def rough(self, request: RecordedRequest) -> Rough | None:
        """The rough key of a recording; ``None`` if its key has to be computed."""
        headers, body, last = request.headers, request.body, self._last_rough
        one = request.method, request.target, request.scheme, request.host, request.port
        if last is not None and last[0] is headers and last[1] == one:
            rough = last[2]
        else:
            rough = self._rough_head(request)
            self._last_rough = (headers, one, rough)
        if rough is None or not body.size_bytes or not self._by_body:
            return None if rough is None else rough.key(b"")
        # What hides something is filed at once, so that its lookups need not look at others.
        text = None if STAND_IN in body.data else self._body.in_clear(rough.kind, body)
        return None if text is None else rough.key(text)

    def _rough_head(self, request: RecordedRequest) -> RoughHead | None:
        target = request.target
        if not self._clear or STAND_IN in target:
            return None
        spelled = self._target.in_clear(target)
        if spelled is None:
            return None
        path, query = spelled
        origin: tuple[KeyPart, ...] = ()
        if self._with_origin:
            origin = self._origin_parts(request.scheme, request.host, request.port)
        fields = self._recorded_fields(request.method, request.headers, origin)
        kind = self._with_messages(_kind(fields.content_type, fields.codings), target)
        method = request.method if "method" in self._on else b""
        return RoughHead(kind, (*origin, ("method", method), ("path", path)), query)

    def _counted(self, key: MatchKey, origin_parts: int) -> Iterator[Counted]:
        origin = b"".join([encoded(part) for part in key.parts[:origin_parts]])
        for _, value in key.parts:
            for name, stand_in in self._redaction.counted_in(value):
                yield origin + name, stand_in

    def variant(
        self, selecting: Selecting, request: RecordedRequest, answer: Headers
    ) -> Variant | None:
        """The variant under which the recording of a live request and its answer is filed."""
        if _is_headerless(request):
            return None
        return self._variant(selecting, choosing_fields(answer))

    def _variant(self, selecting: Selecting, choosing: Headers) -> Variant:
        if not self._by_table:
            choosing = ()  # where no header counts, all recordings of a key are one row
        name = (selecting, choosing)
        known = self._variants.get(name)
        if known is None:
            made = selecting.variant(choosing)
            # Equal variants are one object, so that comparing them is fast.
            known = self._variants.get(made.name) or made
            self._variants.put(made.name, known, 800)
            self._variants.put(name, known, _head_bytes(b"", choosing))
        return known

    def _selecting(self, fields: CountedFields, secrets: KnownSecrets) -> Selecting:
        name = (fields.selecting, secrets.values)
        known = self._selectings.get(name)
        if known is None:
            known = self._header.selecting(fields.selecting, secrets)
            self._selectings.put(name, known, 2 * _head_bytes(b"", fields.selecting))
        return known

    def _recorded_head(self, request: RecordedRequest) -> _RememberedHead:
        """What is known by a recording's head, which is often that of the one before it."""
        headers, last = request.headers, self._last_head
        one = request.method, request.target, request.scheme, request.host, request.port
        if last is not None and last[0] is headers and last[1] == one:
            return last[2]
        origin: tuple[KeyPart, ...] = ()
        if self._with_origin:
            origin = self._origin_parts(request.scheme, request.host, request.port)
        secrets = self._redaction.known(request.target, headers)
        head, fields = self._shared_head(request.method, request.target, headers, origin, secrets)
        selecting = self._selecting(fields, secrets)
        known = _RememberedHead(head, secrets, selecting, headerless=_is_headerless(request))
        self._last_head = (headers, one, known)
        return known

    def _recorded_fields(
        self, method: bytes, headers: Headers, origin: tuple[KeyPart, ...]
    ) -> CountedFields:
        """The fields of a recording that count; often the same as those of the one before."""
        last = self._last_fields
        if last is not None and last[0] is headers and last[1:3] == (method, origin):
            return last[3]
        fields = self._header.read(method, headers, origin=origin)
        self._last_fields = (headers, method, origin, fields)
        return fields

    def _origin_parts(
        self, scheme: str | None, host: str | None, port: int | None
    ) -> tuple[KeyPart, ...]:
        """The parts of the origin that are known and count; one that does not count is empty."""
        values = zip(ORIGIN_PARTS, (scheme, host, port), strict=True)
        return tuple(
            [
                (name, str(value).lower().encode() if name in self._on else b"")
                for name, value in values
                if value is not None
            ]
        )

    def _live_head(self, request: Request, origin: Origin | None, name: object) -> _RememberedHead:
        secrets = self._redaction.known(request.target, request.headers)
        head, fields = self._head_of(request, origin, secrets)
        selecting = self._selecting(fields, secrets)
        one = (head, secrets.values)
        bare = self._bare.get(one)
        if bare is None:
            without = _RememberedHead(head, secrets, selecting)
            bare = self._identity(request, origin, without, b"")
            self._bare.put(one, bare, _IDENTITY_BYTES)
        known = _RememberedHead(head, secrets, selecting, bare.of(selecting))
        self._requests.put(name, known, _head_bytes(request.target, request.headers))
        return known

    def _head_of(
        self,
        request: Request,
        origin: Origin | None,
        secrets: KnownSecrets,
        names: frozenset[bytes] = frozenset(),
    ) -> tuple[KeyHead, CountedFields]:
        parts: tuple[KeyPart, ...] = ()
        if self._with_origin and origin is not None:
            parts = self._origin_parts(origin.scheme, origin.host, origin.port)
        return self._shared_head(
            request.method,
            request.target,
            request.headers,
            parts,
            secrets,
            names,
            websocket=asks_websocket(request),
        )

    def _shared_head(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        origin: tuple[KeyPart, ...],
        secrets: KnownSecrets,
        names: frozenset[bytes] = frozenset(),
        *,
        websocket: bool | None = None,
    ) -> tuple[KeyHead, CountedFields]:
        if websocket is None and secrets is NOTHING_KNOWN:
            fields = self._recorded_fields(method, headers, origin)
        else:
            fields = self._header.read(method, headers, secrets, websocket=websocket, origin=origin)
        standing = tuple([each for each in secrets.secrets if each.stands_in(target)])
        compared = (*fields.handshake, *fields.in_key)
        content_type, codings = fields.content_type, fields.codings
        known = (method, target, content_type, codings, compared, origin, standing, names)
        head = self._heads.get(known)
        if head is None:
            reading = Reading(self._rules.redaction, names)
            path, query = self._target.parts(target, secrets, reading)
            counted = method if "method" in self._on else b""
            request: tuple[KeyPart, ...] = (("method", counted), ("path", path), ("query", query))
            kind = self._with_messages(_kind(content_type, codings), target)
            doubtful = frozenset() if self._redaction.exact else frozenset(reading.doubtful)
            parts = (*origin, *request, *compared)
            head = KeyHead(kind, parts, len(origin), len(fields.in_key), doubtful)
            size_bytes = 1000 + 4 * len(target) + sum([2 * len(value) for _, value in compared])
            self._heads.put(known, head, size_bytes)
        return head, fields

    def _with_messages(self, kind: BodyKind, target: bytes) -> BodyKind:
        messages = self.types.of_request(target, kind.media_type)
        return kind if messages is None else evolve(kind, messages=messages)


def _keys(head: KeyHead, values: tuple[bytes, ...]) -> tuple[MatchKey, ...]:
    return tuple([key for value in values for key in head.keys(value)])


@lru_cache(maxsize=256)
def _kind(content_type: bytes | None, codings: bytes) -> BodyKind:
    return BodyKind(content_type, codings)


def _no_salt() -> bytes:
    return b""


def _is_headerless(request: RecordedRequest) -> bool:
    """Whether a recording has no request header fields, except a request to upgrade."""
    headers = request.headers
    if headers and headers[0][0].lower() != b"upgrade":  # like nearly all
        return False
    return all(name.lower() == b"upgrade" for name, _ in headers)


def _named(body: bytes) -> object:
    """The name under which a body is remembered: long ones need not stay in memory."""
    return body if len(body) <= _SHORT_BYTES else (len(body), sha256(body).digest())


def _identity_bytes(identity: Identity) -> int:
    """The approximate size of what is remembered under a body's name."""
    keys = identity.keys
    return _SHORT_BYTES + len(keys[0].parts[-1][1]) + _KEY_BYTES * len(keys)


def _head_bytes(target: bytes, headers: Headers) -> int:
    """The approximate size of what is remembered under a head's fields."""
    return 500 + len(target) + sum([100 + 2 * len(value) for _, value in headers])


def differences(live: MatchKey, recorded: MatchKey) -> tuple[str, ...]:
    """The names of the parts that differ, in the keys' order.

    A part of the origin that either key lacks is not a difference; any other
    is.
    """
    ours, theirs = dict(live.parts), dict(recorded.parts)
    return tuple(
        name
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
        and not (name in ORIGIN_PARTS and (name not in ours or name not in theirs))
    )
