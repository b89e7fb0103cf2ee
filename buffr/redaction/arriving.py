"""The search of an answer's body while it arrives.

What comes out of it is kept with the body: a search in the same manner would
find nothing either, and need not be made.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from attrs import frozen

from buffr.formats.codings import are_plain, unlabelled
from buffr.interaction import Searched
from buffr.message import Headers, media_type
from buffr.redaction.own_credentials import KnownSecrets
from buffr.redaction.rules import RedactionRules
from buffr.redaction.scanner import scanner_of
from buffr.redaction.streaming import ON_A_THREAD, StreamRedactor

__all__ = ["AnswerSearch", "Manner", "manner_of"]


@frozen
class Manner:
    """All that decides what a search of a long body finds in it."""

    rules: RedactionRules
    media_type: bytes
    known: tuple[bytes, ...]


def manner_of(rules: RedactionRules, headers: Headers, known: KnownSecrets) -> Manner | None:
    """How a long body with these fields is searched.

    ``None`` if that takes more than its bytes in their order: it is decoded first, or parsed.
    """
    codings = b",".join([value for name, value in headers if name.lower() == b"content-encoding"])
    if rules.json_paths or not are_plain(codings):
        return None
    return Manner(rules, media_type(headers), known.values)


@frozen(eq=False)
class AnswerSearch:
    """Searches the body of an answer with these fields, and hashes it.

    ``known`` are the secrets that are searched for, too.
    """

    rules: RedactionRules
    headers: Headers
    known: KnownSecrets

    def over(self, pieces: Iterator[bytes]) -> Searched | None:
        """What is known about a body of these pieces; ``None`` if it has a secret."""
        digest = sha256()
        first = next(pieces, b"")
        size_bytes = 0

        def hashed() -> Iterator[bytes]:
            nonlocal size_bytes
            piece = first
            while piece:
                digest.update(piece)
                size_bytes += len(piece)
                yield piece
                piece = next(pieces, b"")

        manner = manner_of(self.rules, self.headers, self.known)
        if manner is None or not self.rules.enabled or unlabelled(first):
            manner = None
            for _ in hashed():
                pass
        elif self._finds_any(manner, hashed()):
            return None
        return Searched(digest.hexdigest(), size_bytes, manner)

    def _finds_any(self, manner: Manner, pieces: Iterator[bytes]) -> bool:
        scanner, kind, known = scanner_of(self.rules), manner.media_type, self.known
        stretches = StreamRedactor(
            lambda text, begins: scanner.in_stretch(text, kind, known, begins=begins),
            lambda _: b"",
            ON_A_THREAD,
        )
        for _ in stretches.over(pieces):
            if stretches.changed:
                return True
        return stretches.changed
