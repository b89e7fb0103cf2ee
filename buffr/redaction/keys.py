"""What match keys see of a request: as it would be stored, its stand-ins all alike.

A live request, its recording, and a recording that still holds the secrets
in clear look the same.
"""

from __future__ import annotations

from attrs import field, frozen

from buffr.message import Headers
from buffr.redaction.found import Found, collapsed, nameless, replaced
from buffr.redaction.known import NOTHING_KNOWN, Known, known_secrets
from buffr.redaction.pseudonym import pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import Scanner, scanner_of
from buffr.redaction.stretches import Stretches

__all__ = ["STAND_IN", "KeyRedaction"]

STAND_IN = b"REDACTED"


@frozen(eq=False)
class KeyRedaction:
    """Redacts texts for keys. With a ``salt`` stand-ins tell secrets apart, as far as they can.

    ``exact`` leaves all as it is, for keys that are never written down.
    """

    rules: RedactionRules = field(factory=RedactionRules)
    salt: bytes | None = None
    exact: bool = False
    _scanner: Scanner = field(init=False)

    @_scanner.default
    def _scanner_of_rules(self) -> Scanner:
        return scanner_of(self.rules)

    def known(self, target: bytes, headers: Headers) -> Known:
        """The credentials of a request that are looked for in all of it."""
        return NOTHING_KNOWN if self.exact else known_secrets(self.rules, target, headers)

    def text(self, text: bytes, known: Known = NOTHING_KNOWN) -> bytes:
        """A target, or a header field's value."""
        return text if self.exact else self._without(text, self._scanner.in_text(text, known))

    def body(self, text: bytes, media_type: bytes, known: Known = NOTHING_KNOWN) -> bytes:
        """A whole body, or a frame, decoded."""
        if self.exact or self._scanner.is_clear(text, media_type, known):
            return text
        return self._without(text, self._scanner.in_body(text, media_type, known))

    def stretches(self, media_type: bytes, known: Known = NOTHING_KNOWN) -> Stretches:
        """For a body that is too long for memory. Its stand-ins are those of its recording."""
        if self.exact:
            return Stretches(lambda _, __: [], lambda _: STAND_IN)
        return Stretches(
            lambda text, begins: self._scanner.in_stretch(text, media_type, known, begins=begins),
            lambda _: STAND_IN,
        )

    def _without(self, text: bytes, found: list[Found]) -> bytes:
        if found:
            text, _ = replaced(text, found, self._stand_in)
        return collapsed(text) if self.salt is None else nameless(text)

    def _stand_in(self, found: Found) -> bytes:
        # Its digest goes when it is collapsed, and costs more than all the rest.
        salt = b"" if self.salt is None else self.salt
        digest = found.digest and self.salt is not None
        return pseudonym(found.name, found.secret, salt, digest=digest)
