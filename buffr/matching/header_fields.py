"""The header fields that count."""

from __future__ import annotations

from attrs import field, frozen

from buffr.matching.ignore import Ignore
from buffr.matching.key import Part
from buffr.matching.rules import MatchRules
from buffr.message import Headers
from buffr.redaction.fields import Replace, in_header
from buffr.redaction.found import nameless
from buffr.redaction.keys import KeyRedaction
from buffr.redaction.known import NOTHING_KNOWN, Known
from buffr.redaction.redactor import Redactor
from buffr.redaction.subprotocols import SUBPROTOCOL, in_subprotocols

__all__ = ["HeaderRules"]

# The answer to a request with one of these depends on it (RFC 9110 13.1, 14.2).
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

# These name the client to buffr, and are taken off before a request is recorded.
_NEVER_RECORDED = frozenset((b"proxy-authorization", b"x-buffr-key", b"x-api-buddy-key"))


@frozen(eq=False)
class HeaderRules:
    """Which fields are compared: ``names`` are in lower case.

    ``credential`` says what takes the place of credentials in URLs. With a
    ``redactor`` the fields that are credentials are compared too, as their
    pseudonyms.
    """

    names: frozenset[bytes]
    ignore: Ignore
    redaction: KeyRedaction
    credential: Replace
    redactor: Redactor | None
    _read: frozenset[bytes] = field(init=False)

    @_read.default
    def _all_read(self) -> frozenset[bytes]:
        return self.names | {_CONTENT_TYPE, _CONTENT_ENCODING, _UPGRADE, SUBPROTOCOL}

    @classmethod
    def of(
        cls,
        rules: MatchRules,
        ignore: Ignore,
        redaction: KeyRedaction,
        credential: Replace,
        redactor: Redactor | None,
    ) -> HeaderRules:
        # What a credential says is no matter of names: see MatchRules.credentials.
        named = frozenset(
            name.lower().encode()
            for name in rules.header
            if not rules.redaction.is_credential_header(name.encode())
        )
        names = named | _CONDITIONS if rules.normalise.conditions else named
        return cls(names, ignore, redaction, credential, redactor)

    def read(
        self,
        headers: Headers,
        known: Known = NOTHING_KNOWN,
        *,
        websocket: bool | None = None,
    ) -> tuple[bytes | None, bytes, tuple[Part, ...]]:
        """``Content-Type``, ``Content-Encoding``, and the parts of a key for what is compared.

        Several fields with one name are one list (RFC 9110 5.3). Parts are
        sorted by name; one that is not sent is none. A request that asks for
        a ``websocket`` (``None``: as its fields say) has parts for that in front.
        ``known`` credentials are none wherever they stand.
        """
        content_type: bytes | None = None
        codings: list[bytes] = []
        compared: dict[bytes, list[bytes]] = {}
        upgrade: list[bytes] = []
        offered: list[bytes] = []
        for name, value in headers:
            lower = name.lower()
            if lower not in self._read:
                continue
            if lower == _CONTENT_TYPE:
                content_type = value if content_type is None else content_type
            elif lower == _CONTENT_ENCODING:
                codings.append(value)
            elif lower == _UPGRADE:
                upgrade.append(value)
            elif lower == SUBPROTOCOL:
                offered.append(value)
            if lower in self.names:
                compared.setdefault(lower, []).append(self._compared(lower, value, known))
        if self.redactor is not None:
            self._read_credentials(self.redactor, headers, compared)
        asked = _names_websocket(upgrade) if websocket is None else websocket
        handshake = self._handshake(offered, known) if asked else ()
        if not compared:
            return content_type, b",".join(codings), handshake
        parts = [
            (f"header {name.decode('latin-1')}", b", ".join(values))
            for name, values in sorted(compared.items())
        ]
        return content_type, b",".join(codings), (*handshake, *parts)

    def _handshake(self, offered: list[bytes], known: Known) -> tuple[Part, ...]:
        """What of a handshake counts: its keys, versions and extensions never do."""
        upgrade: Part = ("upgrade", b"websocket")
        items = [item.strip(b" \t") for item in b",".join(offered).split(b",")]
        names = b", ".join([item for item in items if item])
        if not names:
            return (upgrade,)
        named = in_subprotocols(names, self.redaction.rules, self.credential)
        return upgrade, ("subprotocol", self.redaction.text(named, known))

    def _compared(self, name: bytes, value: bytes, known: Known) -> bytes:
        named = in_header(name, value, self.redaction.rules, self.credential)
        redacted = self.redaction.text(named, known)
        return self.ignore.in_header(name, redacted)

    def _read_credentials(
        self, redactor: Redactor, headers: Headers, compared: dict[bytes, list[bytes]]
    ) -> None:
        for name, value in redactor.headers(headers):
            lower = name.lower()
            if redactor.rules.is_credential_header(lower) and lower not in _NEVER_RECORDED:
                compared.setdefault(lower, []).append(nameless(value))


def _names_websocket(upgrade: list[bytes]) -> bool:
    tokens = b",".join(upgrade).lower().split(b",") if upgrade else ()
    return b"websocket" in [token.strip() for token in tokens]
