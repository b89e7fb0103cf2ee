"""The value of a body of protobuf's messages.

Those of declared types are compared as a document of JSON, so that everything
that holds for JSON bodies holds for them: rules with JSONPaths, idempotency
tokens, explanations by field. All others are compared by their bytes, without
their compression.
"""

from __future__ import annotations

from attrs import frozen

from buffr.formats.grpc import may_be_compressed, without_compression
from buffr.formats.protobuf.bodies import Messages
from buffr.matching.ignore import Ignore
from buffr.matching.json_fields import JSONFields
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import KnownSecrets

__all__ = ["MESSAGES_MARK", "MessageRules", "document_in"]

MESSAGES_MARK = b"protobuf:"
"""The beginning of such a value. The media type follows: a client of gRPC-Web or of Connect can
do nothing with an answer to one of gRPC."""


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

    def meaning(
        self, messages: Messages, body: bytes, known: KnownSecrets, most_bytes: int
    ) -> bytes | None:
        """The value of messages of a declared type; ``None`` for any others.

        The body has no content codings. It is not longer than ``most_bytes``
        when its messages are inflated.
        """
        document, redaction = messages.document(body, most_bytes), self.redaction
        if document is None:
            return None
        if not (redaction.is_clear(document, known) and redaction.is_clear(body, known)):
            hidden = redaction.messages(messages, body, known, most_bytes) or body
            document = messages.document(hidden, most_bytes) or document
        text = self.ignore.replaced(self.part, redaction.collapse(document))
        spelled = self.json.canonical(text) or text
        return b"%b%b\n%b" % (MESSAGES_MARK, messages.framing.name, spelled)

    def inflated(
        self, messages: Messages, body: bytes, known: KnownSecrets, most_bytes: int
    ) -> bytes | None:
        """The bytes of messages of any type, inflated; ``None`` if their framing is damaged."""
        plain = body
        if messages.framing.enveloped and may_be_compressed(body):
            plain = without_compression(body, most_bytes)
        if not self.redaction.is_clear(plain, known):
            hidden = self.redaction.messages(messages, plain, known, most_bytes)
            if hidden is None:
                return None
            plain = self.redaction.collapse(hidden)
        return self.ignore.replaced(self.part, plain)
