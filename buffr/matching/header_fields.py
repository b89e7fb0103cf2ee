"""The header fields that count: those in the key, and those that select among recordings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from attrs import field, frozen

from buffr.matching.header_table import HeaderClass, class_of
from buffr.matching.ignore import Ignore
from buffr.matching.key import KeyPart
from buffr.matching.rules import MatchRules
from buffr.matching.variants import Selecting
from buffr.message import Headers
from buffr.redaction.fields import Replace
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.headers import SUBPROTOCOL, in_subprotocols
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets
from buffr.redaction.redactor import Redactor
from buffr.redaction.spans import nameless
from buffr.transport.memo import Memo

__all__ = ["CountedFields", "HeaderRules"]

# The answer depends on these fields (RFC 9110 13.1, 14.2).
_CONDITIONS = frozenset(
    (
        b"range",
        b"if-range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
    )
)

_CONTENT_TYPE = b"content-type"
_CONTENT_ENCODING = b"content-encoding"
_UPGRADE = b"upgrade"
_PREFLIGHT_FIELDS = b"access-control-request-headers"
_WITH_URLS = frozenset((b"destination", b"if"))

# These identify the client to buffr, and are removed before a request is recorded.
_NEVER_RECORDED = frozenset((b"proxy-authorization", b"x-buffr-key", b"x-api-buddy-key"))

_AUTHORITY = re.compile(rb"(?i)https?://([^/<>\s]*)")
_ACTION = re.compile(rb'(?i);\s*action\s*=\s*("[^"]*"|[^\s;]+)')
_PARTS_OF_ORIGIN = 3
_PORTS = {b"http": b"80", b"https": b"443"}
_LONGEST_KNOWN = 64
_MOST_KNOWN = 4096

_NOTHING, _READ, _IN_KEY, _OF_OPTIONS, _SELECTS, _SECRET = range(6)


class _FieldUses(dict[bytes, tuple[bytes, int]]):
    """How each field is used, by its name as sent; beside it the lower-case name."""

    __slots__ = ("_by_table", "_credentials", "_ignored", "_named", "_without")

    def __init__(self, rules: MatchRules) -> None:
        super().__init__()
        self._credentials = rules.redaction
        self._named = frozenset(name.lower().encode() for name in rules.header)
        self._ignored = frozenset(name.lower().encode() for name in rules.ignore_header)
        self._without = frozenset() if rules.normalise.conditions else _CONDITIONS
        self._by_table = "headers" in rules.on

    def __missing__(self, name: bytes) -> tuple[bytes, int]:
        lower = name.lower()
        use = (lower, self._use(lower))
        if len(name) <= _LONGEST_KNOWN and len(self) < _MOST_KNOWN:
            self[name] = use
        return use

    def _use(self, name: bytes) -> int:
        secret = self._credentials.is_credential_header(name)
        ignored = name in self._ignored
        if name in self._named and not ignored:
            return _SECRET if secret else _IN_KEY
        if secret:
            return _NOTHING
        if name in (_CONTENT_TYPE, _CONTENT_ENCODING, _UPGRADE, SUBPROTOCOL):
            return _READ
        if ignored or not self._by_table:
            return _NOTHING
        match class_of(name):
            case HeaderClass.IDENTITY:
                return _NOTHING if name in self._without else _IN_KEY
            case HeaderClass.OPTIONS:
                return _OF_OPTIONS
            case HeaderClass.VARIANT | HeaderClass.NEGOTIATED:
                return _SELECTS
            case _:
                return _NOTHING


@frozen
class CountedFields:
    """A request's header fields that count.

    ``handshake`` and ``in_key`` are parts of a key, in its order;
    ``handshake`` belongs to a request for a WebSocket. ``selecting`` may
    select among the recordings of the key: lower-case names and values, as
    sent.
    """

    content_type: bytes | None
    codings: bytes
    handshake: tuple[KeyPart, ...]
    in_key: tuple[KeyPart, ...]
    selecting: tuple[tuple[bytes, bytes], ...]


@frozen(eq=False)
class HeaderRules:
    """Which fields are compared.

    ``credential`` replaces credentials in URLs. ``redactor`` makes the
    pseudonyms of credential fields: those that ``match.header`` names, and all
    of them if they are ``distinct``.
    """

    rules: MatchRules
    ignore: Ignore
    redaction: KeyRedaction
    credential: Replace
    redactor: Redactor
    distinct: bool = False
    _uses: _FieldUses = field(init=False)
    _never: frozenset[bytes] = field(init=False)
    _by_type: bool = field(init=False)
    _forms: Memo[object, bytes] = field(init=False)

    @_forms.default
    def _none_made_yet(self) -> Memo[object, bytes]:
        return Memo(entries=1024, size_bytes=1 << 20)

    @_never.default
    def _credentials_that_never_count(self) -> frozenset[bytes]:
        return _NEVER_RECORDED.union(name.encode() for name in self.rules.ignore_header)

    @_by_type.default
    def _as_ruled(self) -> bool:
        return "headers" in self.rules.on and "content-type" not in self.rules.ignore_header

    @_uses.default
    def _no_name_met_yet(self) -> _FieldUses:
        return _FieldUses(self.rules)

    def disregards(self, name: bytes) -> bool:
        """Whether no value of this field counts, whatever the request; the name in lower case."""
        return self._uses[name][1] == _NOTHING

    def read(
        self,
        method: bytes,
        headers: Headers,
        known: KnownSecrets = NOTHING_KNOWN,
        *,
        websocket: bool | None = None,
        origin: tuple[KeyPart, ...] = (),
    ) -> CountedFields:
        """The fields of a request that count.

        Several fields with the same name are one list (RFC 9110 5.3). An
        absent field is not a part. ``websocket`` says whether the request asks
        for one (``None``: decided by its fields). ``known`` credentials are
        removed wherever they appear. ``origin`` are the parts of the request's
        own origin, which is ignored in URLs in fields; without it every
        authority is ignored.
        """
        content_type: bytes | None = None
        codings: list[bytes] = []
        compared: dict[bytes, list[bytes]] = {}
        upgrade: list[bytes] = []
        offered: list[bytes] = []
        selecting: list[tuple[bytes, bytes]] = []
        uses = self._uses
        for name, value in headers:
            lower, use = uses[name]
            if use == _NOTHING:
                continue
            if lower == _CONTENT_TYPE:
                content_type = value if content_type is None else content_type
            elif lower == _CONTENT_ENCODING:
                codings.append(value)
            elif lower == _UPGRADE:
                upgrade.append(value)
            elif lower == SUBPROTOCOL:
                offered.append(value)
            if use == _SELECTS:
                selecting.append((lower, value))
            elif use == _SECRET and not self.distinct:
                compared.setdefault(lower, []).append(self._pseudonym(lower, value))
            elif use == _IN_KEY or (use == _OF_OPTIONS and method == b"OPTIONS"):
                counting = _without_authority(value, origin) if lower in _WITH_URLS else value
                compared.setdefault(lower, []).append(self._compared(lower, counting, known))
        if self.distinct:
            self._read_credentials(headers, compared)
        asked = _names_websocket(upgrade) if websocket is None else websocket
        handshake = self._handshake(offered, known) if asked else ()
        parts = tuple(_parts(compared.items())) if compared else ()
        if content_type is not None and self._by_type:
            parts += _of_content_type(method, content_type)
        return CountedFields(content_type, b",".join(codings), handshake, parts, tuple(selecting))

    def selecting(self, fields: Iterable[tuple[bytes, bytes]], known: KnownSecrets) -> Selecting:
        """What may select among recordings, from the ``selecting`` fields that were read."""
        return Selecting(tuple(fields), partial(self._compared, known=known))

    def _handshake(self, offered: list[bytes], known: KnownSecrets) -> tuple[KeyPart, ...]:
        """The parts of a handshake that count: its keys, versions and extensions never do."""
        upgrade: KeyPart = ("upgrade", b"websocket")
        items = [item.strip(b" \t") for item in b",".join(offered).split(b",")]
        names = b", ".join([item for item in items if item])
        if not names:
            return (upgrade,)
        named = in_subprotocols(names, self.redaction.rules, self.credential)
        return upgrade, ("subprotocol", self.redaction.text(named, known))

    def _compared(self, name: bytes, value: bytes, known: KnownSecrets) -> bytes:
        """What is compared of a field; clients send the same ones again and again."""
        one = (name, value, known.values)
        form = self._forms.get(one)
        if form is None:
            form = self._form(name, value, known)
            self._forms.put(one, form, 300 + 2 * len(value))
        return form

    def _form(self, name: bytes, value: bytes, known: KnownSecrets) -> bytes:
        if name == _PREFLIGHT_FIELDS:
            asked = {item.strip().lower() for item in value.split(b",")}
            value = b", ".join(sorted(asked - {b""}))
        return self.ignore.in_header(name, self.redaction.header(name, value, known))

    def _pseudonym(self, name: bytes, value: bytes) -> bytes:
        ((_, redacted),) = self.redactor.headers(((name, value),))
        return nameless(redacted)

    def _read_credentials(self, headers: Headers, compared: dict[bytes, list[bytes]]) -> None:
        redactor = self.redactor
        for name, value in redactor.headers(headers):
            lower = name.lower()
            if redactor.rules.is_credential_header(lower) and lower not in self._never:
                compared.setdefault(lower, []).append(nameless(value))


def _without_authority(value: bytes, origin: tuple[KeyPart, ...]) -> bytes:
    """URLs without their scheme and authority, if those are the request's own."""
    parts = dict(origin)
    if len(parts) != _PARTS_OF_ORIGIN:
        return _AUTHORITY.sub(b"", value)
    host, port = parts["host"], parts["port"]
    own = host if port == _PORTS.get(parts["scheme"]) else host + b":" + port
    return _AUTHORITY.sub(lambda found: b"" if found[1].lower() == own else found[0], value)


def _parts(fields: Iterable[tuple[bytes, list[bytes]]]) -> Iterable[KeyPart]:
    for name, values in sorted(fields):
        yield f"header {name.decode('latin-1')}", b", ".join(values)


def _of_content_type(method: bytes, value: bytes) -> tuple[KeyPart, ...]:
    """The parts of ``Content-Type`` that say what is requested.

    A patch's type, or SOAP 1.2's action.
    """
    media_type = value.partition(b";")[0].strip().lower()
    if method == b"PATCH":
        return (("header content-type", media_type),)
    if b"action" in value.lower():
        action = _ACTION.search(value)
        if action is not None:
            return (("soap action", action[1].strip(b'"')),)
    return ()


def _names_websocket(upgrade: list[bytes]) -> bool:
    tokens = b",".join(upgrade).lower().split(b",") if upgrade else ()
    return b"websocket" in [token.strip() for token in tokens]
