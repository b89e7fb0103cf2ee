"""Fields of JSON bodies that make no difference: those that rules name, and idempotency tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

from attrs import field, frozen

from buffr.formats.json_paths import BadPath, JSONPath, Walk, both, take_out, walk_along, walk_to
from buffr.matching.canonical_json import canonical, canonical_edited, document_of
from buffr.matching.idempotency import is_token_member, may_hold_tokens, without_tokens
from buffr.matching.pieces import Pause, Piece, Text

__all__ = ["JSONFields"]

_LONGEST_TOKEN = 256


@frozen(eq=False)
class JSONFields:
    """Removes from a document what its ``paths`` (RFC 9535) select and, with ``tokens``, tokens.

    ``walk`` leads step by step from a document's root to the selected values;
    ``whole`` are the paths that need the whole document.
    """

    paths: tuple[JSONPath, ...] = ()
    tokens: bool = False
    walk: Walk = field(init=False)
    whole: tuple[JSONPath, ...] = field(init=False)

    @walk.default
    def _along_paths(self) -> Walk:
        return walk_along(self.paths)

    @whole.default
    def _without_steps(self) -> tuple[JSONPath, ...]:
        return tuple([path for path in self.paths if path.steps is None])

    @classmethod
    def of(
        cls, paths: tuple[str, ...], *, tokens: bool = False
    ) -> tuple[JSONFields, tuple[str, ...]]:
        """The valid paths, and a warning for each invalid one."""
        compiled: list[JSONPath] = []
        warnings: list[str] = []
        for place, path in enumerate(paths):
            try:
                compiled.append(JSONPath.of(path))
            except ImportError:
                warnings.append("match.json: the package jsonpath-rfc9535 is missing; skipped")
                break
            except BadPath as error:
                warnings.append(f"match.json[{place}]: {path!r}: {error}; skipped")
        return cls(tuple(compiled), tokens), tuple(warnings)

    def canonical(self, body: bytes) -> bytes | None:
        """A JSON body in canonical form without the fields; ``None`` if it is not JSON."""
        if not (self.paths or (self.tokens and may_hold_tokens(body))):
            return canonical(body)
        if not self.whole:
            return self.spelled(body, self.walk)
        return canonical_edited(body, self._without_all)

    def _without_all(self, document: Any) -> Any:
        document = take_out(document, both(self.walk, self._places_in(document)))
        return without_tokens(document) if self.tokens else document

    def _places_in(self, document: Any) -> Walk:
        return walk_to(place for path in self.whole for place in path.places(document))

    def spelled(self, document: bytes, walk: Walk | None) -> bytes | None:
        """A document in canonical form without tokens and without what a walk leads to.

        All of it without a walk; ``None`` if it is not JSON.
        """
        if walk is None:
            return canonical(document)
        tokens = self.tokens and may_hold_tokens(document)
        if not (tokens or walk.ends or _may_find(walk, document)):
            return canonical(document)
        return canonical_edited(document, partial(_without, walk, tokens=tokens))

    def in_slices(self, text: Text, pause: Pause) -> list[Piece] | None:
        """Like ``canonical``, for a long text."""
        from buffr.matching.json_in_slices import (  # noqa: PLC0415  # few texts are that long
            document_in_slices,
            spelled_in_slices,
        )

        walk = self.walk
        if self.whole:
            try:
                document = document_in_slices(text, self, pause)
            except (ValueError, RecursionError):
                return None
            walk = both(walk, self._places_in(document))
        return spelled_in_slices(text, walk, self, pause)

    def document(self, text: bytes) -> Any:
        """A small document as Python objects. Raises ``ValueError``."""
        return document_of(text)

    def is_token(self, name: str, value: Piece) -> bool:
        """Whether a member is a token, by its name and the text of its value."""
        return self.tokens and is_token_member(name, bytes(value[:_LONGEST_TOKEN]))


def _may_find(walk: Walk, document: bytes) -> bool:
    """Whether a walk may select anything in a document: a quick search for its names."""
    if walk.idle or walk.wanted is None or b"\\" in document:
        return not walk.idle
    return any(name.encode("utf-8", "surrogatepass") in document for name in walk.wanted)


def _without(walk: Walk, document: Any, *, tokens: bool) -> Any:
    document = take_out(document, walk)
    return without_tokens(document) if tokens else document
