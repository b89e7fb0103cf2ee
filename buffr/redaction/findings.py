"""Which secrets a recording still holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from attrs import frozen

from buffr.interaction import Body, HTTPInteraction, Interaction
from buffr.message import Headers
from buffr.redaction.bodies import Bodies
from buffr.redaction.fields import fields_of, in_header
from buffr.redaction.found import Found
from buffr.redaction.header_values import secret_spans
from buffr.redaction.known import Known, known_secrets
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.redaction.subprotocols import SUBPROTOCOL, in_subprotocols
from buffr.spool import Spool

__all__ = ["Finding", "find_secrets"]


@frozen
class Finding:
    """A secret in clear.

    ``where`` is a part of the interaction, such as ``request header Cookie``
    or ``response body``; ``name`` that of the field that holds it, or of its
    shape; ``shape`` what gave it away: ``header``, ``query``, ``json``,
    ``form``, ``url``, ``echo``, or a well-known token such as ``github-token``.
    The secret itself is not told.
    """

    where: str
    name: str
    shape: str


def find_secrets(interaction: Interaction, rules: RedactionRules) -> list[Finding]:
    """The secrets that redaction would replace, each place and name once, in order.

    Looks whether or not ``rules.enabled``. Raises ``OSError`` when a body's
    file cannot be read.
    """
    request, response = interaction.request, interaction.response
    on = rules if rules.enabled else rules.switched_on()
    known = known_secrets(on, request.target, request.headers, response.headers)
    look = _Look(on, known)
    found = chain(
        look.target(request.target),
        look.headers("request header", request.headers),
        look.body("request body", request.body, request.headers),
        look.headers("response header", response.headers),
        look.text("response reason", response.reason),
        _rest(look, interaction),
    )
    return list(dict.fromkeys(found))


def _rest(look: _Look, interaction: Interaction) -> Iterator[Finding]:
    if isinstance(interaction, HTTPInteraction):
        yield from look.body("response body", interaction.body, interaction.response.headers)
        yield from look.headers("trailer", interaction.trailers)
        for _, captured in interaction.captures:
            yield from look.text("capture", captured.encode())
        return
    for number, frame in enumerate(interaction.frames):
        yield from look.body(f"frame {number}", frame.data, ())
        yield from look.text(f"frame {number}", frame.reason.encode())


def _told(where: str, found: Iterable[Found]) -> Iterator[Finding]:
    for one in found:
        yield Finding(where, one.name.decode("utf-8", "replace"), one.rule)


@frozen
class _Look:
    rules: RedactionRules
    known: Known

    def target(self, target: bytes) -> Iterator[Finding]:
        path, _, query = target.partition(b"?")
        for name, start, end in fields_of(query, self.rules):
            if not is_pseudonym(query[start:end]):
                yield Finding("request query", name.decode("utf-8", "replace"), "query")
        yield from self.text("request path", path)

    def headers(self, where: str, headers: Headers) -> Iterator[Finding]:
        for name, value in headers:
            lower = name.lower()
            place = f"{where} {name.decode('latin-1')}"
            if lower == SUBPROTOCOL:
                if in_subprotocols(value, self.rules, _emptied) != value:
                    yield Finding(place, lower.decode("latin-1"), "header")
                continue
            if not self.rules.is_credential_header(lower):
                if in_header(lower, value, self.rules, _emptied) != value:
                    yield Finding(place, lower.decode("latin-1"), "url")
                yield from self.text(place, value)
                continue
            spans = secret_spans(lower, value)
            for start, end, called, _ in spans:
                if not is_pseudonym(value[start:end]):
                    yield Finding(place, called.decode("latin-1"), "header")

    def text(self, where: str, text: bytes) -> Iterator[Finding]:
        return _told(where, scanner_of(self.rules).in_text(text, self.known))

    def body(self, where: str, body: Body, headers: Headers) -> Iterator[Finding]:
        if not body.size_bytes:
            return iter(())
        bodies = Bodies(scanner_of(self.rules), lambda _: b"", _no_room, _passed_over)
        return _told(where, bodies.found(body, headers, self.known))


def _emptied(_name: bytes, value: bytes) -> bytes:
    return value if is_pseudonym(value) else b""


def _no_room() -> Spool:
    raise AssertionError("nothing is written while it is only looked for")


def _passed_over(_reason: str) -> None:
    """What cannot be decoded is searched as it is."""
