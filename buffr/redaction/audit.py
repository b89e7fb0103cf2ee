"""Finds the secrets that a recording still contains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain

from attrs import field, frozen

from buffr.interaction import Body, HTTPInteraction, Interaction
from buffr.message import Headers
from buffr.redaction.bodies import Bodies
from buffr.redaction.fields import Replace, fields_of, in_header
from buffr.redaction.headers import SUBPROTOCOL, in_subprotocols, secret_spans
from buffr.redaction.own_credentials import KnownSecrets, known_secrets
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.redaction.spans import SecretSpan
from buffr.transport.spool import Spool

__all__ = ["Finding", "find_secrets", "start_of"]

_SHOWN = 4
_SHORTEST_SHOWN = 16


@frozen
class Finding:
    """A secret in clear.

    ``where`` is a part of the interaction, such as ``request header Cookie``
    or ``response body``; ``name`` is the name of its field or of its shape;
    ``shape`` says how it was found: ``header``, ``query``, ``json``, ``form``,
    ``url``, ``echo``, or a well-known token such as ``github-token``.
    ``start`` is all that is shown of the secret: the first four characters of
    a long one. ``offset`` is its position in the decoded body, if that was in
    memory. ``secret`` is for comparisons, and is never shown.
    """

    where: str
    name: str
    shape: str
    secret: bytes = field(default=b"", repr=False)
    start: str = field(default="", eq=False)
    offset: int | None = field(default=None, eq=False)


def find_secrets(
    interaction: Interaction, rules: RedactionRules, allowed: frozenset[bytes] = frozenset()
) -> list[Finding]:
    """The secrets that redaction would replace, each once per place and name, in order.

    Values that are ``allowed`` do not count. Searches even if
    ``rules.enabled`` is false. Raises ``OSError`` if a body's file cannot be
    read.
    """
    request, response = interaction.request, interaction.response
    known = known_secrets(rules, request.target, request.headers, response.headers)
    look = _Look(rules, known, allowed)
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


def start_of(secret: bytes) -> str:
    """The part of a secret that may be shown: the first four characters of a long one."""
    return secret[:_SHOWN].decode("latin-1") if len(secret) >= _SHORTEST_SHOWN else ""


@frozen
class _Look:
    rules: RedactionRules
    known: KnownSecrets
    allowed: frozenset[bytes]

    def one(
        self, where: str, name: bytes, shape: str, secret: bytes, offset: int | None = None
    ) -> Iterator[Finding]:
        if secret not in self.allowed and not is_pseudonym(secret):
            called = name.decode("utf-8", "replace")
            yield Finding(where, called, shape, secret, start_of(secret), offset)

    def each(
        self, where: str, found: Iterable[SecretSpan], *, in_memory: bool = False
    ) -> Iterator[Finding]:
        for one in found:
            offset = one.start if in_memory else None
            yield from self.one(where, one.name, one.rule, one.secret, offset)

    def replaceable(
        self, where: str, name: bytes, shape: str, replace: Callable[[Replace], bytes]
    ) -> Iterator[Finding]:
        """What ``replace`` would have replaced."""
        secrets: list[bytes] = []

        def note(_name: bytes, value: bytes) -> bytes:
            secrets.append(value)
            return value

        replace(note)
        for secret in filter(None, secrets):
            yield from self.one(where, name, shape, secret)

    def target(self, target: bytes) -> Iterator[Finding]:
        path, _, query = target.partition(b"?")
        values = set()
        for name, start, end in fields_of(query, self.rules):
            values.add(query[start:end])
            yield from self.one("request query", name, "query", query[start:end])
        for one in self.text("request query", query):
            if one.secret not in values:
                yield one
        yield from self.text("request path", path)

    def headers(self, where: str, headers: Headers) -> Iterator[Finding]:
        for name, value in headers:
            lower = name.lower()
            place = f"{where} {name.decode('latin-1')}"
            if lower == SUBPROTOCOL:
                offered = partial(in_subprotocols, value, self.rules)
                yield from self.replaceable(place, lower, "header", offered)
                continue
            if not self.rules.is_credential_header(lower) and not self.rules.hides(lower, value):
                urls = partial(in_header, lower, value, self.rules)
                yield from self.replaceable(place, lower, "url", urls)
                yield from self.text(place, value)
                continue
            spans = secret_spans(lower, value)
            for start, end, called, _ in spans:
                yield from self.one(place, called, "header", value[start:end])

    def text(self, where: str, text: bytes) -> Iterator[Finding]:
        return self.each(where, scanner_of(self.rules).in_text(text, self.known))

    def body(self, where: str, body: Body, headers: Headers) -> Iterator[Finding]:
        if not body.size_bytes:
            return iter(())
        bodies = Bodies(scanner_of(self.rules), lambda _: b"", _no_room, _passed_over)
        found = bodies.found(body, headers, self.known)
        return self.each(where, found, in_memory=body.file is None)


def _no_room() -> Spool:
    raise AssertionError("a search writes nothing")


def _passed_over(_reason: str) -> None:
    """What cannot be decoded is searched undecoded."""
