"""Secrets in an interaction, with the JSON pointers of those in JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from attrs import evolve, frozen

from buffr.commands.cassette.candidates import Candidate, Text, candidates, texts_of
from buffr.commands.cassette.detectors import Detected
from buffr.errors import CassetteError
from buffr.formats.json_text import pointers
from buffr.interaction import (
    Body,
    HTTPInteraction,
    Interaction,
    RecordedRequest,
    WebSocketInteraction,
)
from buffr.message import Headers, ResponseHead
from buffr.recording.readable import content, uncoded
from buffr.redaction.audit import Finding, find_secrets, start_of
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

__all__ = ["REDACTION", "Detector", "Secret", "Secrets"]

REDACTION = "redaction"
_MOST_IN_ONE = 200
_SHORTEST_NAME = 12

Detector = Callable[[Candidate], Iterator[Detected]]


@frozen
class Secret:
    """A finding, and the detector that made it."""

    detector: str
    finding: Finding


@frozen(eq=False)
class Secrets:
    """Looks for secrets with the rules of redaction, and with detectors of its own."""

    rules: RedactionRules
    detectors: Sequence[Detector] = ()
    by_redaction: bool = True

    def of(self, interaction: Interaction) -> Iterator[Secret]:
        """The secrets of an interaction; those that redaction finds come first, in order.

        ``where`` has the JSON pointer behind it. Raises ``CassetteError``
        for a body file that is gone.
        """
        try:
            found = find_secrets(interaction, self.rules)
            hidden = list(self._hidden(interaction, found))
        except OSError as error:
            raise CassetteError(f"{error.filename}: {error.strerror}") from error
        told = [*_pointed(interaction, found), *hidden]
        secrets = [Secret(REDACTION, one) for one in told] if self.by_redaction else []
        if self.detectors:
            known: dict[str, set[bytes]] = {}
            for one in secrets:
                known.setdefault(one.finding.where, set()).add(one.finding.secret)
            for text in texts_of(interaction):
                secrets += self._detected(text, known)
        values = {one.finding.secret for one in secrets} | {one.secret for one in told}
        yield from (_unspoken(one, values) for one in secrets)

    def in_text(self, text: bytes, where: str) -> Iterator[Secret]:
        """The secrets of a text that belongs to no interaction."""
        nowhere = WebSocketInteraction(
            RecordedRequest(b"GET", b"/", body=Body.of(text)), ResponseHead(101, b"", ())
        )
        for one in self.of(nowhere):
            place = one.finding.where.removeprefix("request body").strip()
            yield evolve(one, finding=evolve(one.finding, where=f"{where} {place}".rstrip()))

    def _hidden(self, interaction: Interaction, found: Sequence[Finding]) -> Iterator[Finding]:
        """Text that redaction would replace, in parts without a finding of its own."""
        rules = evolve(self.rules, enabled=True, unsafe="warn")
        redactor = Redactor(rules, b"")  # files of large bodies live as long as it does
        redacted = redactor.interaction(interaction)
        for where, old, new in _parts(interaction, redacted):
            if old != new and not any(one.where.startswith(where) for one in found):
                secret = _changed(old, new)
                yield Finding(where, "value", "redaction", secret, start_of(secret))

    def _detected(self, text: Text, known: dict[str, set[bytes]]) -> Iterator[Secret]:
        """The detectors' findings in a text that are not yet known at their position."""
        found = [
            (candidate, one) for candidate in candidates(text) for one in self._one(candidate)
        ][:_MOST_IN_ONE]
        offsets = [candidate.offset for candidate, _ in found]
        places = pointers(text.data, offsets) if text.in_body and found else repeat("")
        for (candidate, one), pointer in zip(found, places, strict=False):
            where = f"{text.where} {pointer}".rstrip()
            name = candidate.name or _last(pointer) or text.name
            values = known.setdefault(where, set())
            if _is_known(one.secret, values):
                continue
            if candidate.name or one in self._one(evolve(candidate, name=name)):
                values.add(one.secret)
                called = name.decode("utf-8", "replace") or one.shape
                start = start_of(one.secret)
                yield Secret(one.detector, Finding(where, called, one.shape, one.secret, start))

    def _one(self, candidate: Candidate) -> Iterator[Detected]:
        """The findings of the first detector that has any."""
        for detector in self.detectors:
            found = list(detector(candidate))
            if found:
                yield from found
                return


def _unspoken(one: Secret, values: set[bytes]) -> Secret:
    """A finding whose place and name tell no secret: members may be called by one."""
    finding = one.finding
    where, name = finding.where, finding.name
    for value in values:
        text = value.decode("utf-8", "replace")
        if len(value) >= _SHORTEST_NAME and (text in where or text in name):
            short = f"{start_of(value)}..."
            where, name = where.replace(text, short), name.replace(text, short)
    if where == finding.where and name == finding.name:
        return one
    return evolve(one, finding=evolve(finding, where=where, name=name))


def _is_known(secret: bytes, known: set[bytes]) -> bool:
    return secret in known or any(secret in one or one in secret for one in known if one)


def _last(pointer: str) -> bytes:
    """The name of the member that a JSON pointer leads to, or is in a list of."""
    names = [part for part in pointer.split("/") if part and not part.isdigit()]
    return names[-1].encode() if names else b""


def _pointed(interaction: Interaction, found: Sequence[Finding]) -> Iterator[Finding]:
    bodies = _bodies(interaction) if found else {}
    for one in found:
        place = bodies.get(one.where)
        if one.offset is None or place is None:
            yield one
            continue
        data, _ = uncoded(content(place[0]), place[1])
        (pointer,) = pointers(data, [one.offset])
        yield evolve(one, where=f"{one.where} {pointer}".rstrip())


def _bodies(interaction: Interaction) -> dict[str, tuple[Body, Headers]]:
    """The bodies by the names that findings have for them."""
    request = interaction.request
    found: dict[str, tuple[Body, Headers]] = {"request body": (request.body, request.headers)}
    if isinstance(interaction, WebSocketInteraction):
        for number, frame in enumerate(interaction.frames):
            found[f"frame {number}"] = (frame.data, ())
    else:
        found["response body"] = (interaction.body, interaction.response.headers)
    return found


def _parts(old: Interaction, new: Interaction) -> Iterator[tuple[str, bytes, bytes]]:
    """The parts of an interaction and of the same without secrets, by pairs."""
    for where, one, other in (
        ("request query", _query(old), _query(new)),
        ("request path", _path(old), _path(new)),
        ("response reason", old.response.reason, new.response.reason),
    ):
        yield where, one, other
    yield from _headers("request header", old.request.headers, new.request.headers)
    yield from _headers("response header", old.response.headers, new.response.headers)
    if isinstance(old, HTTPInteraction) and isinstance(new, HTTPInteraction):
        yield from _headers("trailer", old.trailers, new.trailers)
    if isinstance(old, WebSocketInteraction) and isinstance(new, WebSocketInteraction):
        for number, (frame, kept) in enumerate(zip(old.frames, new.frames, strict=True)):
            yield f"frame {number}", frame.reason.encode(), kept.reason.encode()
    others = _bodies(new)
    for where, (body, _) in _bodies(old).items():
        kept_body = others[where][0]
        if body is not kept_body:
            yield where, content(body), content(kept_body)


def _query(interaction: Interaction) -> bytes:
    return interaction.request.target.partition(b"?")[2]


def _path(interaction: Interaction) -> bytes:
    return interaction.request.target.partition(b"?")[0]


def _headers(where: str, old: Headers, new: Headers) -> Iterator[tuple[str, bytes, bytes]]:
    for (name, one), (_, other) in zip(old, new, strict=True):
        if name.lower() != b"content-length":
            yield f"{where} {name.decode('latin-1')}", one, other


def _changed(old: bytes, new: bytes) -> bytes:
    """The parts of a text that differ in a second one."""
    start, most = 0, min(len(old), len(new))
    while start < most and old[start] == new[start]:
        start += 1
    end = 0
    while end < most - start and old[-1 - end] == new[-1 - end]:
        end += 1
    return old[start : len(old) - end]
