"""From requests to match keys."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, field, frozen

from buffr.interaction import RecordedRequest
from buffr.matching.body import IN_MEMORY, BodyDigest, BodyKind, BodyRules
from buffr.matching.captures import SyncRules
from buffr.matching.frames import FrameRules
from buffr.matching.header_fields import HeaderRules
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.matching.key import MatchKey, Part, digest_of, encoded
from buffr.matching.memo import Memo
from buffr.matching.reading import Reading, other_readings
from buffr.matching.rules import MatchRules
from buffr.matching.target import TargetRules, legal_target
from buffr.message import Headers, Request, first_value
from buffr.redaction.fields import Replace, as_sent, constant
from buffr.redaction.keys import KeyRedaction
from buffr.redaction.known import Known
from buffr.redaction.redactor import Redactor
from buffr.upstream.origin import Origin
from buffr.wire.upgrade import asks_websocket

__all__ = ["MatchRules", "Matcher", "differences", "legal_target"]

_ORIGIN_PARTS = ("scheme", "host", "port")


@frozen(eq=False)
class _Head:
    """What of a key comes before the body: the parts, with those of the origin in front.

    ``doubtful`` are the query's fields that could be read otherwise.
    """

    kind: BodyKind
    parts: tuple[Part, ...]
    origin_parts: int
    doubtful: frozenset[bytes]
    start: bytes = field(init=False)
    bare: tuple[MatchKey, ...] = field(init=False)

    @start.default
    def _start(self) -> bytes:
        return b"".join(map(encoded, self.parts))

    @bare.default
    def _bare(self) -> tuple[MatchKey, ...]:
        return self.keys(b"")

    def exact(self, body: bytes) -> MatchKey:
        return MatchKey((*self.parts, ("body", body)), self.digest(body))

    def digest(self, body: bytes) -> bytes:
        return digest_of(self.start + encoded(("body", body)))

    def keys(self, body: bytes) -> tuple[MatchKey, ...]:
        """Exact to lenient: lenient keys leave out port, scheme and host in turn.

        What a recording lacks matches anything.
        """
        exact = self.exact(body)
        if self.origin_parts != len(_ORIGIN_PARTS):
            return (exact,)
        scheme, host, _, *others = exact.parts
        lenient = (scheme, host, *others), (host, *others), tuple(others)
        return (exact, *map(MatchKey, lenient))


class Matcher:
    """Makes the keys of live and of recorded requests.

    A request and its recording, redacted or not, have the same key.
    ``with_origin`` says that scheme, host and port are parts of it, as behind
    a forward proxy. ``salt`` gives that of the store, which may become another
    one when its file does; ``distinct`` credentials need it, and raise
    ``ValueError`` without. ``warnings`` name the rules that are invalid, and
    skipped. ``sync`` are those whose matches are replaced in answers, and
    ``frames`` compares WebSocket messages.
    """

    def __init__(
        self, rules: MatchRules, *, with_origin: bool, salt: Callable[[], bytes] | None = None
    ) -> None:
        if rules.credentials == "distinct" and salt is None:
            raise ValueError("distinct credentials are told apart by salted pseudonyms")
        self.ignore, ignore_warnings = Ignore.of(rules.ignore)
        self._json_fields, json_warnings = JSONFields.of(rules.json)
        self.warnings: tuple[str, ...] = ignore_warnings + json_warnings
        self.sync = SyncRules.of(self.ignore, IN_MEMORY)
        self._with_origin = with_origin
        self._rules = rules
        self._salt = salt if rules.credentials == "distinct" else None
        self._salt_now = b"" if self._salt is None else self._salt()
        self._prepare()

    def _prepare(self) -> None:
        """What depends on the salt, with nothing remembered."""
        rules = self._rules
        told_apart: Redactor | None = None
        credential: Replace = as_sent if rules.credentials == "exact" else constant
        if self._salt is not None:
            told_apart = Redactor(rules.redaction, self._salt_now)
            credential = told_apart.pseudonym
        self._redaction = KeyRedaction(
            rules.redaction,
            None if self._salt is None else self._salt_now,
            exact=rules.credentials == "exact",
        )
        self._target = TargetRules(
            self._redaction,
            credential,
            self.ignore,
            frozenset(name.encode() for name in rules.query),
            rules.normalise.signatures,
            not rules.normalise.query_order,
        )
        self._header = HeaderRules.of(rules, self.ignore, self._redaction, credential, told_apart)
        self._body = BodyRules(
            rules.normalise,
            self.ignore,
            self._json_fields,
            frozenset(name.encode() for name in rules.form),
            self._redaction,
            credential,
        )
        self.frames = FrameRules.of(rules.frame, rules.frame_type, self._body, self.sync)
        self._requests: Memo[object, tuple[_Head, Known]] = Memo(entries=2048, size_bytes=8 << 20)
        self._recordings: Memo[object, tuple[_Head, Known]] = Memo(entries=2048, size_bytes=8 << 20)
        self._heads: Memo[object, _Head] = Memo(entries=2048, size_bytes=4 << 20)
        self._keys: Memo[object, tuple[MatchKey, ...]] = Memo(entries=16384, size_bytes=16 << 20)

    @property
    def is_salted(self) -> bool:
        """Whether keys depend on the salt."""
        return self._salt is not None

    def live(
        self, request: Request, body: bytes | BodyDigest, origin: Origin | None = None
    ) -> tuple[MatchKey, ...]:
        """The keys of a request, from exact to lenient.

        Lenient ones leave out parts of the origin, and take what could be
        data for credentials.
        ``request`` may be one object for many requests with the same head:
        what is known about it is remembered.
        """
        if self._salt is not None and self._salt() != self._salt_now:
            self._salt_now = self._salt()
            self._prepare()
        known = request if origin is None else (request, origin)
        head, secrets = self._requests.get(known) or self._live_head(request, origin, known)
        if not body and not head.doubtful:
            return head.bare
        if isinstance(body, BodyDigest):
            return self._live_keys(request, origin, head, secrets, body)
        name = (head, secrets.values, body)
        keys = self._keys.get(name)
        if keys is None:
            keys = self._live_keys(request, origin, head, secrets, body)
            # The raw body, its value, and what the objects around them take.
            self._keys.put(name, keys, 2 * len(body) + 700)
        return keys

    def _live_keys(
        self,
        request: Request,
        origin: Origin | None,
        head: _Head,
        secrets: Known,
        body: bytes | BodyDigest,
    ) -> tuple[MatchKey, ...]:
        """The keys of every reading of a request."""
        value, whole = self._body.read(head.kind, body, secrets) if body else (b"", False)
        read, form = value, Reading(self._rules.redaction)
        if whole:
            value = self._body.value_of(head.kind, read, secrets, form)
        keys = head.keys(value)
        if self._redaction.exact or not (head.doubtful or form.doubtful):
            return keys
        for names in other_readings(head.doubtful.union(form.doubtful)):
            other = self._head_of(request, origin, secrets, names) if head.doubtful else head
            if form.doubtful:
                reading = Reading(self._rules.redaction, names)
                value = self._body.value_of(head.kind, read, secrets, reading)
            keys += other.keys(value)
        return keys

    def digest(self, request: Request) -> BodyDigest:
        """For the body of a request that comes in pieces."""
        content_type = first_value(request.headers, b"content-type")
        return self._body.digest(
            content_type, self._redaction.known(request.target, request.headers)
        )

    def frames_of(self, request: Request) -> FrameRules:
        """How the messages of a session are compared that this request asks for."""
        known = self._redaction.known(request.target, request.headers)
        return evolve(self.frames, known=known) if known else self.frames

    def recorded(self, request: RecordedRequest) -> MatchKey:
        """The key of a recording, with the parts that it knows.

        Raises ``CassetteError`` when a body's file is needed and cannot be read.
        """
        head, known = self._recorded_head(request)
        if not request.body.size_bytes:
            return head.bare[0]
        return head.exact(self._body.recorded(head.kind, request.body, known))

    def recorded_digest(self, request: RecordedRequest) -> bytes:
        """The digest of the key of a recording; raises as ``recorded`` does."""
        head, known = self._recorded_head(request)
        if not request.body.size_bytes:
            return head.bare[0].digest
        return head.digest(self._body.recorded(head.kind, request.body, known))

    def _recorded_head(self, request: RecordedRequest) -> tuple[_Head, Known]:
        origin: tuple[Part, ...] = ()
        if self._with_origin:
            origin = _origin_parts(request.scheme, request.host, request.port)
        method, target, headers = request.method, request.target, request.headers
        name = (method, target, headers, origin)
        found = self._recordings.get(name)
        if found is None:
            known = self._redaction.known(target, headers)
            found = self._shared_head(method, target, headers, origin, known), known
            self._recordings.put(name, found, _head_bytes(target, headers))
        return found

    def _live_head(
        self, request: Request, origin: Origin | None, known: object
    ) -> tuple[_Head, Known]:
        secrets = self._redaction.known(request.target, request.headers)
        head = self._head_of(request, origin, secrets)
        self._requests.put(known, (head, secrets), _head_bytes(request.target, request.headers))
        return head, secrets

    def _head_of(
        self,
        request: Request,
        origin: Origin | None,
        secrets: Known,
        names: frozenset[bytes] = frozenset(),
    ) -> _Head:
        parts: tuple[Part, ...] = ()
        if self._with_origin and origin is not None:
            parts = _origin_parts(origin.scheme, origin.host, origin.port)
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
        origin: tuple[Part, ...],
        secrets: Known,
        names: frozenset[bytes] = frozenset(),
        *,
        websocket: bool | None = None,
    ) -> _Head:
        content_type, codings, compared = self._header.read(headers, secrets, websocket=websocket)
        standing = tuple([each for each in secrets.secrets if each.stands_in(target)])
        known = (method, target, content_type, codings, compared, origin, standing, names)
        head = self._heads.get(known)
        if head is None:
            reading = Reading(self._rules.redaction, names)
            path, query = self._target.parts(target, secrets, reading)
            request: tuple[Part, ...] = (("method", method), ("path", path), ("query", query))
            kind = BodyKind(content_type, codings)
            doubtful = frozenset() if self._redaction.exact else frozenset(reading.doubtful)
            head = _Head(kind, (*origin, *request, *compared), len(origin), doubtful)
            size_bytes = 1000 + 4 * len(target) + sum([2 * len(value) for _, value in compared])
            self._heads.put(known, head, size_bytes)
        return head


def _head_bytes(target: bytes, headers: Headers) -> int:
    """About what it takes to remember a head by its fields."""
    return 500 + len(target) + sum([100 + 2 * len(value) for _, value in headers])


def _origin_parts(scheme: str | None, host: str | None, port: int | None) -> tuple[Part, ...]:
    return tuple(
        (name, str(value).lower().encode())
        for name, value in zip(_ORIGIN_PARTS, (scheme, host, port), strict=True)
        if value is not None
    )


def differences(live: MatchKey, recorded: MatchKey) -> tuple[str, ...]:
    """The names of the parts that differ, in the keys' order.

    A part of the origin that either lacks is no difference; any other is.
    """
    ours, theirs = dict(live.parts), dict(recorded.parts)
    return tuple(
        name
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
        and not (name in _ORIGIN_PARTS and (name not in ours or name not in theirs))
    )
