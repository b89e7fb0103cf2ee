"""All searches for secrets in a text, combined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from buffr.redaction.detectors import NamedSecrets
from buffr.redaction.fields import fields_of, find_in_parts
from buffr.redaction.json_places import JSONPlaces
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets
from buffr.redaction.pseudonym import COUNTED_MARK, HEX_MARK, MARK, is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.searches import Search, Searches
from buffr.redaction.shapes import PROBE, Shapes
from buffr.redaction.spans import SecretSpan, settled
from buffr.redaction.spread import find_spread
from buffr.redaction.telling import TellingNames
from buffr.redaction.wrapped import (
    SHOWN_BASE64,
    SHOWN_ESCAPES,
    base64_runs,
    find_escaped,
    find_in_base64,
    has_escapes,
)
from buffr.transport.memo import Memo

__all__ = ["FORM", "MULTIPART", "Scanner", "scanner_of"]

FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"
_LONG = 16 * 1024
_ENTRY_BYTES = 200
_REMEMBERED = 8 * 1024
"""Longer texts are not remembered."""
_ZEROS = bytes(64)
_NAMED, _TELLING = range(2)
_TOKENS, _BASE64 = range(2)


def _nothing(_text: bytes) -> Iterator[SecretSpan]:
    return iter(())


_STAND_INS = f"{MARK.decode()}|{COUNTED_MARK.decode()}|(?i:{HEX_MARK.decode()})"
_SHOWN_ONLY = tuple(Search(pattern, _nothing) for pattern in (_STAND_INS, *SHOWN_ESCAPES))
"""Stand-ins, and what has to be decoded."""


def _is_blank(text: bytes) -> bool:
    """Whether a long text is nothing but zeros, as in images of disks and between files in a tar.

    No secret has one, unless a pattern of the settings says so.
    """
    return len(text) >= _LONG and text.startswith(_ZEROS) and text == bytes(len(text))


def _is_decoded(text: bytes) -> bool:
    """Whether escapes are decoded even if nothing is shown: beside base64 in a long text."""
    return len(text) >= _LONG and has_escapes(text) and bool(base64_runs(text))


class Scanner:
    """Finds secrets by their names, by their shapes, and known secrets.

    ``places`` need whole documents. Raises ``ValueError`` for invalid rules.
    """

    def __init__(self, rules: RedactionRules) -> None:
        self.rules = rules
        self._telling = TellingNames(rules)
        # One automaton for all has so many states that making them takes a new process long.
        self._names = Searches(
            NamedSecrets(rules).searches, self._telling.searches, _SHOWN_ONLY, probe=MARK
        )
        base64 = (Search(SHOWN_BASE64, _nothing),)
        self._shapes = Searches(Shapes(rules.patterns).searches, base64, probe=PROBE)
        self.places = JSONPlaces(rules.json_paths)
        self._bare: Memo[bytes, bool] = Memo(entries=1024, size_bytes=2 << 20)
        """The latest texts in which nothing is shown: a request's body is searched for its key, and
        again before it is stored."""

    def has_known_shape(self, value: bytes) -> bool:
        """Whether the whole value is a token of a well-known shape."""
        return self._shape_of(value) is not None

    def name_of(self, name: bytes, value: bytes) -> bytes:
        """The name in the stand-in for a field's value.

        A known shape says more than a name that may mean data.
        """
        if not self.rules.may_mean_data(name):
            return name
        return self._shape_of(value) or name

    def _shape_of(self, value: bytes) -> bytes | None:
        for found in self._tokens(value):
            if not found.counted and found.start == 0 and found.end == len(value):
                return found.name
        return None

    def is_clear(self, text: bytes, media_type: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bool:
        """Whether a quick search proves that a whole body has neither secrets nor stand-ins."""
        if self.places or media_type in (FORM, MULTIPART):
            return False
        if not self._is_bare(text):
            if self._names.shown(text) or self._shapes.shown(text) or _is_decoded(text):
                return False
            self._note_bare(text)
        return not known.secrets or not known.stand_in(text)

    def is_known_clear(self, text: bytes, media_type: bytes, known: KnownSecrets) -> bool:
        """The same of a body that was searched lately, without searching it again."""
        if self.places or media_type in (FORM, MULTIPART) or not self._is_bare(text):
            return False
        return not known.secrets or not known.stand_in(text)

    def _is_bare(self, text: bytes) -> bool:
        """Whether it is remembered that no search by name, shape or base64 finds anything."""
        return len(text) <= _REMEMBERED and self._bare.get(text) is not None

    def _note_bare(self, text: bytes) -> None:
        if len(text) <= _REMEMBERED:
            self._bare.put(text, True, len(text) + _ENTRY_BYTES)

    def in_body(
        self, text: bytes, media_type: bytes, known: KnownSecrets = NOTHING_KNOWN
    ) -> list[SecretSpan]:
        """The secrets in a whole decoded body, in order."""
        found = self._in_any(text, media_type, known, begins=True)
        if self.places:
            found += self.places.find(text)
        return settled(found) if found else found

    def in_stretch(
        self, text: bytes, media_type: bytes, known: KnownSecrets, *, begins: bool
    ) -> list[SecretSpan]:
        """The same for a stretch of a body, without searches that need a whole document.

        ``begins``: the stretch is the beginning of the body, and so of a
        form's field.
        """
        found = self._in_any(text, media_type, known, begins=begins)
        return settled(found) if found else found

    def _in_any(
        self, text: bytes, media_type: bytes, known: KnownSecrets, *, begins: bool
    ) -> list[SecretSpan]:
        found = [] if self._is_bare(text) else self._by_name_or_shape(text)
        if known:
            found += known.find(text)
        if media_type == FORM:
            found += self._in_form(text, begins=begins)
        elif media_type == MULTIPART:
            found += find_in_parts(text, self.rules)
        return found

    def _by_name_or_shape(self, text: bytes) -> list[SecretSpan]:
        found: list[SecretSpan] = []
        if not self.rules.patterns and _is_blank(text):
            return found
        names, shapes = self._names.shown(text), self._shapes.shown(text)
        tokens = self._shapes.of_group(_TOKENS, shapes)
        if names or tokens:
            # The first that finds a secret names it.
            found += [
                *self._names.find(text, self._names.of_group(_NAMED, names)),
                *self._shapes.find(text, tokens),
                *self._names.find(text, self._names.of_group(_TELLING, names)),
                *find_escaped(text, self._in_decoded),
            ]
        elif _is_decoded(text):
            found += find_escaped(text, self._in_decoded)
        if self._shapes.of_group(_BASE64, shapes):
            found += find_in_base64(text, base64_runs(text), self._in_decoded)
        elif not (names or tokens):
            self._note_bare(text)
        return found

    def in_pieces(
        self, texts: Sequence[bytes], known: KnownSecrets = NOTHING_KNOWN
    ) -> dict[int, list[SecretSpan]]:
        """The secrets that are spread over several texts, or over the lines of one."""

        def find(joined: bytes) -> list[SecretSpan]:
            found = list(self._tokens(joined))
            return settled([*found, *known.find(joined)]) if known else settled(found)

        return find_spread(texts, find)

    def in_text(self, text: bytes, known: KnownSecrets = NOTHING_KNOWN) -> list[SecretSpan]:
        """The secrets in a header's value, or in a request target, in order."""
        found = list(self._tokens(text))
        if b"=" in text and (text.startswith(b"/") or b"://" in text):
            found += self._telling.in_target(text)
        if b"%" in text:
            found += find_escaped(text, self._in_decoded)
            found += find_in_base64(text, base64_runs(text), self._in_decoded)
        if known:
            found += known.find(text)
        return settled(found) if found else found

    def _tokens(self, text: bytes) -> Iterator[SecretSpan]:
        return self._shapes.find(text, self._shapes.shown(text))

    def _in_decoded(self, text: bytes) -> Iterator[SecretSpan]:
        """The secrets in a text that was decoded first, such as JSON in a query."""
        yield from self._tokens(text)
        if b'"' in text:
            shown = self._names.shown(text)
            for group in (_NAMED, _TELLING):
                yield from self._names.find(text, self._names.of_group(group, shown))

    def _in_form(self, text: bytes, *, begins: bool) -> list[SecretSpan]:
        at = 0 if begins else text.find(b"&") + 1
        return [
            SecretSpan(at + start, at + end, self.name_of(name, value), value, "form")
            for name, start, end in fields_of(text[at:], self.rules)
            if not is_pseudonym(value := text[at + start : at + end])
        ]


@lru_cache(maxsize=16)
def scanner_of(rules: RedactionRules) -> Scanner:
    """The scanner for these rules: its patterns are compiled once."""
    return Scanner(rules)
