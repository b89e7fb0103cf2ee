"""Takes the credentials out of an interaction before it is stored."""

from __future__ import annotations

from attrs import evolve, field, frozen

from buffr.interaction import HTTPInteraction, Interaction, RecordedRequest
from buffr.message import Headers, ResponseHead
from buffr.redaction import fields
from buffr.redaction.header_values import HeaderValues
from buffr.redaction.pseudonym import pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.subprotocols import SUBPROTOCOL, in_subprotocols

__all__ = ["Redactor"]

_COOKIE_HEADERS = frozenset((b"cookie", b"cookie2"))
_SET_COOKIE_HEADERS = frozenset((b"set-cookie", b"set-cookie2"))


@frozen
class Redactor:
    """Replaces the credential values that ``rules`` name by ``REDACTED-<name>-<hex8>``.

    ``salt`` is kept beside what is stored, so that one secret has one
    pseudonym in all of it. Redacting twice is redacting once. With
    ``rules.enabled`` false everything passes as it is.
    """

    rules: RedactionRules
    salt: bytes
    _values: HeaderValues = field(init=False, eq=False, repr=False)

    @_values.default
    def _values_of_salt(self) -> HeaderValues:
        return HeaderValues(self.salt)

    def interaction(self, interaction: Interaction) -> Interaction:
        """The interaction as it may be stored. Bodies, frames and captures stay as they are."""
        if not self.rules.enabled:
            return interaction
        request, response = self._request(interaction.request), interaction.response
        head = ResponseHead(response.status, response.reason, self.headers(response.headers))
        if isinstance(interaction, HTTPInteraction):
            trailers = self.headers(interaction.trailers)
            return evolve(interaction, request=request, response=head, trailers=trailers)
        return evolve(interaction, request=request, response=head)

    def _request(self, request: RecordedRequest) -> RecordedRequest:
        target, headers = self.target(request.target), self.headers(request.headers)
        return evolve(request, target=target, headers=headers)

    def headers(self, headers: Headers) -> Headers:
        """Header or trailer fields without credentials: same names, same order."""
        if not self.rules.enabled:
            return headers
        return tuple([(name, self._value(name, value)) for name, value in headers])

    def target(self, target: bytes) -> bytes:
        """A request-target without credentials in its query."""
        if not self.rules.enabled:
            return target
        return fields.in_target(target, self.rules, self.pseudonym)

    def pseudonym(self, name: bytes, value: bytes) -> bytes:
        """What is stored for the value of a credential field with this name."""
        return pseudonym(name, value, self.salt) if self.rules.enabled else value

    def _value(self, name: bytes, value: bytes) -> bytes:
        lower = name.lower()
        if lower == SUBPROTOCOL:
            return in_subprotocols(value, self.rules, self.pseudonym)
        value = fields.in_header(lower, value, self.rules, self.pseudonym)
        if not self.rules.is_credential_header(lower):
            return value
        if lower in _COOKIE_HEADERS:
            return self._values.cookie(lower, value)
        if lower in _SET_COOKIE_HEADERS:
            return self._values.set_cookie(lower, value)
        return self._values.credential(lower, value)
