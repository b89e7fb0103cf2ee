"""Which parts of a WebSocket message count when it is compared with a recorded one."""

from __future__ import annotations

from attrs import evolve, frozen

from buffr.interaction import Frame, FrameKind
from buffr.matching.body import BodyDigest, BodyKind, BodyRules
from buffr.matching.canonical_json import canonical_edited
from buffr.matching.captures import SyncRules
from buffr.matching.json_fields import JSONFields
from buffr.matching.key import KeyPart, MatchKey
from buffr.matching.near_miss import Difference, differences
from buffr.matching.rules import FrameMatch
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets
from buffr.redaction.rules import RedactionRules

__all__ = ["FrameRules"]

_KIND = BodyKind()


@frozen(eq=False)
class FrameRules:
    """How messages are compared.

    ``match`` is ``json``: JSON in canonical form, without what the rules leave
    out, anything else by its bytes; ``strict``: always by bytes; ``type``:
    JSON objects by their member ``type_field`` alone; or ``any``: all messages
    are equal. The matches of the rules in ``sync`` are replaced in the
    server's messages. Credentials are handled as in ``body``; ``known`` are
    those of the handshake.
    """

    match: FrameMatch
    type_field: str
    body: BodyRules
    sync: SyncRules
    redaction: RedactionRules
    known: KnownSecrets = NOTHING_KNOWN

    @classmethod
    def of(cls, match: FrameMatch, type_field: str, body: BodyRules, sync: SyncRules) -> FrameRules:
        """``body`` are the rules for bodies of requests."""
        frames = evolve(body, part="websocket.frame")
        if match == "strict":
            normalise = evolve(body.normalise, json=False)
            frames = evolve(frames, normalise=normalise, json=JSONFields())
        return cls(match, type_field, frames, sync, body.redaction.rules)

    def same(self, recorded: Frame, kind: FrameKind, data: bytes | BodyDigest) -> bool:
        """Whether a message is equal to a recorded one.

        Raises ``CassetteError`` if its file is needed and cannot be read.
        """
        if self.match == "any":
            return True
        if kind is not recorded.kind:
            return False
        if recorded.data.file is None and data == recorded.data.data:
            return True
        return self._value(data) == self._recorded_value(recorded)

    def alike(self, one: Frame, other: Frame) -> bool:
        """Whether two recorded frames are equal."""
        if one.kind is not other.kind:
            return False
        if one.kind is FrameKind.CLOSE:
            return one.close_code == other.close_code
        if self.match == "any" or one.data == other.data:
            return True
        return self._recorded_value(one) == self._recorded_value(other)

    def differences(
        self, recorded: Frame, kind: FrameKind, data: bytes | BodyDigest
    ) -> tuple[Difference, ...]:
        """Where a message differs from the recorded one, fit to be shown."""
        live = _parts(kind, self._value(data))
        old = _parts(recorded.kind, self._recorded_value(recorded))
        return differences(MatchKey(live), MatchKey(old), self.redaction)

    def shown(self, data: bytes | BodyDigest) -> tuple[Difference, ...]:
        """A message without a recorded counterpart, fit to be shown."""
        value = self._value(data)
        old: tuple[KeyPart, ...] = (("frame", b"{}"),) if value.startswith(b"{") else ()
        return differences(MatchKey((("frame", value),)), MatchKey(old), self.redaction)

    def _value(self, data: bytes | BodyDigest) -> bytes:
        return self._of_type(self.body.value(_KIND, data, self.known))

    def _recorded_value(self, frame: Frame) -> bytes:
        return self._of_type(self.body.recorded(_KIND, frame.data, self.known))

    def _of_type(self, value: bytes) -> bytes:
        if self.match != "type" or not value.startswith(b"{"):
            return value
        kept = canonical_edited(value, self._only_type)
        return value if kept is None else kept

    def _only_type(self, document: object) -> object:
        if isinstance(document, dict) and self.type_field in document:
            return {self.type_field: document[self.type_field]}
        return document


def _parts(kind: FrameKind, value: bytes) -> tuple[KeyPart, ...]:
    return ("opcode", kind.value.encode()), ("frame", value)
