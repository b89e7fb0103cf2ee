"""Interactions for the tests of the stores."""

from __future__ import annotations

from buffr.interaction import Body, HTTPInteraction, IndexEntry, Interaction, RecordedRequest
from buffr.matching.body import BodyKind
from buffr.matching.key import MatchKey, RecordedKey
from buffr.matching.rough import Rough, RoughHead
from buffr.message import Headers, ResponseHead


def key(target: bytes) -> MatchKey:
    return MatchKey((("path", target), ("query", b""), ("body", b"")))


def key_of(entry: IndexEntry) -> RecordedKey:
    return RecordedKey(key(entry.request.target).digest)


def rough_of(request: RecordedRequest) -> Rough:
    return RoughHead(BodyKind(), (("path", request.target),), b"").key(b"")


def exchange_of(interaction: Interaction) -> HTTPInteraction:
    assert isinstance(interaction, HTTPInteraction)
    return interaction


def recording(
    target: bytes = b"/v1/models",
    body: bytes = b'{"ok": true}',
    *,
    headers: Headers = ((b"Content-Type", b"application/json"),),
    truncated: str | None = None,
) -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", target, ((b"accept", b"*/*"), (b"User-Agent", b"test"))),
        ResponseHead(200, b"OK", headers),
        Body.of(body),
        truncated=truncated,
        recorded_at="2026-11-21T22:02:42Z",
    )
