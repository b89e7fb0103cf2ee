"""The value of a body of protobuf's messages whose types are declared: their meaning.

The messages are compared as a document of JSON, so that everything that holds
for JSON bodies holds for them: rules with JSONPaths, idempotency tokens,
explanations by field.
"""

from __future__ import annotations

from attrs import frozen

from buffr.formats.codings import decoded
from buffr.formats.protobuf.bodies import Messages
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import KnownSecrets

__all__ = ["MESSAGES_MARK", "MessageRules", "document_in"]

MESSAGES_MARK = b"protobuf:"
"""The beginning of such a value. The media type follows: a client of gRPC-Web or of Connect can
do nothing with an answer to one of gRPC."""

_JSON = b"application/json"


def document_in(value: bytes) -> bytes:
    """The document in the value of a body; any other value as it is."""
    if not value.startswith(MESSAGES_MARK):
        return value
    return value.partition(b"\n")[2]


@frozen(eq=False)
class MessageRules:
    """Which parts of messages count. ``part`` is the body's name in ignore rules."""

    ignore: Ignore
    json: JSONFields
    redaction: KeyRedaction
    part: str

    def value(
        self,
        messages: Messages,
        codings: bytes,
        body: bytes,
        known: KnownSecrets,
        most_bytes: int,
    ) -> bytes | None:
        """The value of a body under ``codings``; ``None`` if it is not of the declared type, or
        longer than ``most_bytes`` when decoded.
        """
        plain = decoded(codings, body, limit_bytes=most_bytes) if codings else body
        document = None if plain is None else messages.document(plain, most_bytes)
        if document is None:
            return None
        text = self.redaction.body(document, _JSON, known)
        text = self.ignore.replaced(self.part, text)
        spelled = self.json.canonical(text) or text
        return b"%b%b\n%b" % (MESSAGES_MARK, messages.framing.name, spelled)
