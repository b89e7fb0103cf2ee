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
from buffr.redaction.screen import Screen
from buffr.redaction.shapes import PROBE, Shapes
from buffr.redaction.spans import SecretSpan, settled
from buffr.redaction.spread import find_spread
from buffr.redaction.telling import TellingNames
from buffr.redaction.wrapped import SCREENED, find_in_base64, find_wrapped, shows_base64

__all__ = ["FORM", "MULTIPART", "Scanner", "scanner_of"]

FORM = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data"
_LONG = 16 * 1024


class Scanner:
    """Finds secrets by their names, by their shapes, and known secrets.

    ``places`` need whole documents. Raises ``ValueError`` for invalid rules.
    """

    def __init__(self, rules: RedactionRules) -> None:
        self.rules = rules
        self._shapes = Shapes(rules.patterns)
        self._named = NamedSecrets(rules)
        self._telling = TellingNames(rules)
        # Most texts contain nothing.
        marks = f"{MARK.decode()}|{COUNTED_MARK.decode()}|(?i:{HEX_MARK.decode()})"
        named = (self._named.screened, self._telling.screened)
        self._screen = Screen(named, (marks, *self._shapes.screened, *SCREENED), probe=PROBE)
        self.places = JSONPlaces(rules.json_paths)

    def has_known_shape(self, value: bytes) -> bool:
        """Whether the whole value is a token of a well-known shape."""
        return self._shapes.name_of(value) is not None

    def name_of(self, name: bytes, value: bytes) -> bytes:
        """The name in the stand-in for a field's value.

        A known shape says more than a name that may mean data.
        """
        if not self.rules.may_mean_data(name):
            return name
        return self._shapes.name_of(value) or name

    def is_clear(self, text: bytes, media_type: bytes, known: KnownSecrets = NOTHING_KNOWN) -> bool:
        """Whether a quick search proves that a whole body has neither secrets nor stand-ins."""
        if self.places or media_type in (FORM, MULTIPART):
            return False
        if shows_base64(text) or self._screen.shows(text):
            return False
        return not known.secrets or not known.stand_in(text)

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
        found: list[SecretSpan] = []
        base64 = shows_base64(text)
        # For much base64 the screen takes longer than the searches.
        if (base64 and len(text) >= _LONG) or self._screen.shows(text):
            found += [
                *self._named.find(text),
                *self._shapes.find(text),
                *self._telling.find(text),
                *find_wrapped(text, self._in_decoded),
            ]
        elif base64:
            found += find_in_base64(text, self._in_decoded)
        if known:
            found += known.find(text)
        if media_type == FORM:
            found += self._in_form(text, begins=begins)
        elif media_type == MULTIPART:
            found += find_in_parts(text, self.rules)
        return found

    def in_pieces(
        self, texts: Sequence[bytes], known: KnownSecrets = NOTHING_KNOWN
    ) -> dict[int, list[SecretSpan]]:
        """The secrets that are spread over several texts, or over the lines of one."""

        def find(joined: bytes) -> list[SecretSpan]:
            found = list(self._shapes.find(joined))
            return settled([*found, *known.find(joined)]) if known else settled(found)

        return find_spread(texts, find)

    def in_text(self, text: bytes, known: KnownSecrets = NOTHING_KNOWN) -> list[SecretSpan]:
        """The secrets in a header's value, or in a request target, in order."""
        found = list(self._shapes.find(text))
        if b"=" in text and (text.startswith(b"/") or b"://" in text):
            found += self._telling.in_target(text)
        if b"%" in text:
            found += find_wrapped(text, self._in_decoded)
        if known:
            found += known.find(text)
        return settled(found) if found else found

    def _in_decoded(self, text: bytes) -> Iterator[SecretSpan]:
        """The secrets in a text that was decoded first, such as JSON in a query."""
        yield from self._shapes.find(text)
        if b'"' in text:
            yield from self._named.find(text)
            yield from self._telling.find(text)

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
