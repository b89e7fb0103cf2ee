"""A request as match keys use it: redacted as for storage, with equal stand-ins.

A live request, its recording, and a recording that still contains the secrets
in clear all look the same. Opaque values under names that may mean data
(``key``, ``token``) keep their pseudonyms, so that different values stay
different.
"""

from __future__ import annotations

import re
from functools import partial

from attrs import field, frozen

from buffr.formats.protobuf.bodies import Messages
from buffr.message import Headers
from buffr.redaction.charsets import as_searched
from buffr.redaction.fields import in_header
from buffr.redaction.headers import HeaderValues
from buffr.redaction.messages import message_text
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets, known_secrets
from buffr.redaction.pseudonym import MARK, STAND_IN, pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import Scanner, scanner_of
from buffr.redaction.spans import (
    SecretSpan,
    collapsed,
    nameless,
    replaced,
    settled,
    stand_ins,
)
from buffr.redaction.streaming import StreamRedactor

__all__ = ["KeyRedaction"]

_JSON = b"application/json"


@frozen(eq=False)
class KeyRedaction:
    """Redacts texts for keys. ``salt`` is the salt of the recordings' pseudonyms.

    With ``distinct``, all stand-ins distinguish secrets, as far as they can.
    ``exact`` leaves everything unchanged, for keys that are never stored.
    """

    rules: RedactionRules = field(factory=RedactionRules)
    salt: bytes = b""
    distinct: bool = False
    exact: bool = False
    _scanner: Scanner = field(init=False)
    _counted: re.Pattern[bytes] = field(init=False)

    @_scanner.default
    def _scanner_of_rules(self) -> Scanner:
        return scanner_of(self.rules)

    @_counted.default
    def _counted_stand_ins(self) -> re.Pattern[bytes]:
        slugs = b"|".join(sorted(self.rules.counted)) or rb"(?!)"
        return re.compile(rb"REDACTED-(%b)(?:-[0-9a-f]{8})?(?!-?[a-z0-9])" % slugs)

    def credential(self, name: bytes, value: bytes) -> bytes:
        """The replacement for the value of a credential field in a query or form."""
        if self.exact:
            return value
        if self.distinct:
            return pseudonym(name, value, self.salt) if self.rules.enabled else value
        if self._scanner.has_known_shape(value):
            return STAND_IN
        return self.by_field(name, value)

    def by_field(self, name: bytes, value: bytes) -> bytes:
        """The same for a value that only its field's name marks as a credential."""
        if not value or not self.rules.may_mean_data(name):
            return STAND_IN
        return collapsed(pseudonym(name, value, self.salt), self._counted)

    def loosened(self, value: bytes) -> bytes:
        """A part of a key without the values that may be data."""
        return self._counted.sub(STAND_IN, value) if MARK in value else value

    def counted_in(self, value: bytes) -> list[tuple[bytes, bytes]]:
        """The stand-ins that count in a part of a key: the name and the whole of each."""
        if MARK not in value:
            return []
        return [(found[1], found[0]) for found in self._counted.finditer(value)]

    def known(self, target: bytes, headers: Headers) -> KnownSecrets:
        """The credentials of a request that are searched for in all of its parts."""
        return NOTHING_KNOWN if self.exact else known_secrets(self.rules, target, headers)

    def header(self, name: bytes, value: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """A header field's value; ``name`` is in lower case."""
        if self.exact:
            return value
        named = in_header(name, value, self.rules, self.credential)
        if self.rules.hides(name, named):
            hidden = HeaderValues(self.salt, self.rules.compared).credential(
                name, named, counted=True
            )
            return nameless(hidden) if self.distinct else collapsed(hidden, self._counted)
        return self.text(named, known)

    def text(self, text: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """A request target, or an answer's reason phrase."""
        return text if self.exact else self._without(text, self._scanner.in_text(text, known))

    def body(self, text: bytes, media_type: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bytes:
        """A whole decoded body or frame."""
        if self.exact:
            return text
        searched, charset = as_searched(text)
        if self._scanner.is_clear(searched, media_type, known):
            return text
        hidden = self._without(searched, self._scanner.in_body(searched, media_type, known))
        # The charset of a text with secrets makes no difference.
        return text if charset is not None and hidden == searched else hidden

    def messages(
        self, messages: Messages, body: bytes, known: KnownSecrets, most_bytes: int
    ) -> bytes | None:
        """A body of protobuf's messages, with the stand-ins that ``collapse`` makes equal.

        ``None`` if it has to be searched as bytes of any kind.
        """
        if self.exact:
            return body
        text = message_text(messages, body, most_bytes)
        if text is None:
            return None
        found = self._scanner.in_body(text.text, _JSON, known)
        hidden = text.replaced(found, self._stand_in, partial(self._opaque, known))
        return body if hidden is None else hidden[0]

    def _opaque(self, known: KnownSecrets, content: bytes) -> bytes:
        """Bytes that may be anything: the secrets and stand-ins in it are equal ones."""
        found = [*self._scanner.in_body(content, b"", known), *stand_ins(content)]
        return replaced(content, settled(found), lambda _: STAND_IN, fit=True)[0]

    def is_clear(self, text: bytes, known: KnownSecrets) -> bool:
        """Whether a quick search proves that a text has neither secrets nor stand-ins."""
        return self.exact or self._scanner.is_clear(text, _JSON, known)

    def collapse(self, text: bytes) -> bytes:
        """A text with equal stand-ins for what must not count."""
        return text if self.exact else self._collapsed(text)

    def stretches(self, media_type: bytes, known: KnownSecrets = NOTHING_KNOWN) -> StreamRedactor:
        """Redacts a body that is too long for memory. The stand-ins are those of its recording."""
        if self.exact:
            return StreamRedactor(lambda _, __: [], lambda _: STAND_IN)
        return StreamRedactor(
            lambda text, begins: self._scanner.in_stretch(text, media_type, known, begins=begins),
            lambda _: STAND_IN,
        )

    def collapsing(self) -> StreamRedactor:
        """Redacts such a body, live or stored, with the stand-ins of keys."""
        return StreamRedactor(
            lambda text, _: [] if self.exact else stand_ins(text),
            lambda found: self._collapsed(found.secret),
        )

    def _without(self, text: bytes, found: list[SecretSpan]) -> bytes:
        if found:
            text, _ = replaced(text, found, self._stand_in)
        return self._collapsed(text)

    def _collapsed(self, text: bytes) -> bytes:
        return nameless(text) if self.distinct else collapsed(text, self._counted)

    def _stand_in(self, found: SecretSpan) -> bytes:
        # The digest is dropped when stand-ins are collapsed, and costs more than everything else.
        counts = self.distinct or found.counted or self.rules.may_mean_data(found.name)
        return pseudonym(
            found.name,
            found.secret,
            self.salt,
            digest=found.digest and counts,
            counted=found.counted,
        )
