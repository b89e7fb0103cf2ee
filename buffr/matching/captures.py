"""What ignore rules with ``sync_response`` match, in recorded and in live requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import evolve, frozen

from buffr.formats.codings import decoded
from buffr.interaction import Interaction, RecordedRequest, WebSocketInteraction
from buffr.matching.ignore import HEADER, Ignore, Pattern
from buffr.matching.target import legal_target
from buffr.message import Headers, Request

__all__ = ["Captured", "SyncRules", "pairs", "without_redacted"]

Captured = tuple[tuple[bytes, ...], ...]
"""For each rule, its matches in order."""

_MOST = 64


def pairs(recorded: Captured, live: Captured) -> tuple[tuple[bytes, bytes], ...]:
    """What each rule matched in the recording, paired with what it matched in the live request.

    Matches are paired in order; a surplus match has no pair.
    """
    return tuple(
        pair
        for matches, others in zip(recorded, live, strict=True)
        for pair in zip(matches, others, strict=False)
    )


@frozen(eq=False)
class SyncRules:
    """The rules with ``sync_response``, in their order. ``bool()`` says whether there are any.

    They search a request's target (as keys use it), its header fields, and its
    body without content codings, if it has up to ``limit_bytes``.
    """

    patterns: tuple[Pattern, ...]
    limit_bytes: int

    @classmethod
    def of(cls, ignore: Ignore, limit_bytes: int) -> SyncRules:
        """The rules with ``sync_response`` among the ignore rules."""
        found = [pattern for pattern in ignore.patterns if pattern.rule.sync_response]
        return cls(tuple(found), limit_bytes)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def live(self, request: Request, body: bytes) -> Captured:
        """What the rules match in a live request; ``body`` is empty if it is too long."""
        return self._in(request.target, request.headers, body)

    def recorded(
        self, request: RecordedRequest, stored: Sequence[tuple[str, str]] = ()
    ) -> Captured:
        """What the rules matched when a request was recorded.

        ``stored`` are the interaction's own captures: pairs of a pattern and
        its match. For a rule without any, the recorded request is searched.
        """
        computed = self._in(request.target, request.headers, request.body.data)
        by_pattern: dict[str, list[bytes]] = {}
        for pattern, captured in stored:
            by_pattern.setdefault(pattern, []).append(captured.encode())
        return tuple(
            tuple(by_pattern.get(pattern.rule.pattern, matches))
            for pattern, matches in zip(self.patterns, computed, strict=True)
        )

    def to_store(self, request: RecordedRequest) -> tuple[tuple[str, str], ...]:
        """The captures to store with an interaction.

        Captures that are not text stay in the request only.
        """
        found = self._in(request.target, request.headers, request.body.data)
        return tuple(
            (pattern.rule.pattern, match.decode())
            for pattern, matches in zip(self.patterns, found, strict=True)
            if all(map(_is_text, matches))
            for match in matches
        )

    def frame(self, data: bytes) -> Captured:
        """What the rules match in a client's WebSocket frame."""
        return tuple(
            pattern.matches(data, _MOST) if pattern.rule.part == "websocket.frame" else ()
            for pattern in self.patterns
        )

    def _in(self, target: bytes, headers: Headers, body: bytes) -> Captured:
        path, _, query = legal_target(target).partition(b"?")
        captured = []
        for pattern in self.patterns:
            texts: Iterable[bytes] = ()
            match pattern.rule.part:
                case "request.path":
                    texts = (path,)
                case "request.query":
                    texts = (query,)
                case "request.body":
                    texts = (_plain(headers, body, self.limit_bytes),)
                case part if part.startswith(HEADER):
                    name = part.removeprefix(HEADER).lower().encode()
                    texts = [value for key, value in headers if key.lower() == name]
            found = [match for text in texts for match in pattern.matches(text, _MOST)]
            captured.append(tuple(found[:_MOST]))
        return tuple(captured)


def without_redacted(interaction: Interaction, limit_bytes: int) -> Interaction:
    """The interaction without captures that are missing from its stored request."""
    if isinstance(interaction, WebSocketInteraction) or not interaction.captures:
        return interaction
    request = interaction.request
    texts = [legal_target(request.target), *[value for _, value in request.headers]]
    texts.append(_plain(request.headers, request.body.data, limit_bytes))
    kept = [
        (pattern, captured)
        for pattern, captured in interaction.captures
        if any(captured.encode() in text for text in texts)
    ]
    return evolve(interaction, captures=tuple(kept))


def _plain(headers: Headers, body: bytes, limit_bytes: int) -> bytes:
    """The body without its content codings, as far as they are known; empty if it is long."""
    if len(body) > limit_bytes:
        return b""
    codings = b",".join([value for key, value in headers if key.lower() == b"content-encoding"])
    plain = decoded(codings, body, limit_bytes=limit_bytes) if codings else body
    return body if plain is None else plain


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
