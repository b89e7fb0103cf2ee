"""Secrets after a name: members of JSON, XML elements, parameters of URLs.

They are found in any text, however it is nested or cut: JSON in a string of
JSON, in the events of a stream, one document a line. Nothing needs to be
parsed as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import unquote_to_bytes

from buffr.redaction.headers import secret_spans
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.randomness import holds_random, looks_random
from buffr.redaction.rules import RedactionRules
from buffr.redaction.screen import boundless, compiled
from buffr.redaction.searches import Search
from buffr.redaction.spans import SecretSpan

__all__ = ["NamedSecrets"]

# Words that the names of secrets end with or contain; the rules decide about each name.
_STEMS = (
    "token", "key", "secret", "pass", "passwd", "password", "passphrase", "pwd", "auth",
    "authorization", "credential", "credentials", "cookie", "jwt", "bearer", "assertion",
    "signature", "sig", "hmac", "access[-_]?id", "response",
)  # fmt: skip
_NAME = r"[A-Za-z0-9_. -]{0,64}"
_SEPARATORS = "[-_. ]*"

_MEMBER = r"""["'](%s)\\*["']\s*:\s*"""
_ELEMENT = r"<(?:[A-Za-z0-9_.-]{1,64}:)?(%s)(?:\s[^<>]{0,200})?>([^<>]+)</"
_PARAMETER = r"(?:[?&;#]|u0026|%%26|%%3[fF])(%s)(?:=|%%3[dD])([^&\s\"'<>\\#;,(){}]+)"
_USERINFO = r"://[^\s/:@\"'<>\\]{0,200}:([^\s/@\"'<>\\]{1,200})@"

_STRING = re.compile(rb'"((?:[^"\\]|\\.)*+)', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]{3,}")
_OBJECT = re.compile(rb'\{[^{}\[\]]{0,200}?\\*"value\\*"\s*+:\s*+')
_SPACE_OR_COMMA = re.compile(rb"[\s,]*+")
_MOST_ELEMENTS = 256
_TAIL_BYTES = 3

# Backslashes before the quotes of JSON in a string, of JSON in a string in a string, and so on.
_NESTED = frozenset((1, 3, 7, 15, 31, 63, 127))


def _alike(name: str) -> str:
    """A pattern for all spellings of a name: ``apiKey`` and ``API_KEY`` are the same."""
    letters = [re.escape(letter) for letter in re.sub(r"[-_.+\s]", "", name)]
    return "[-_. ]?".join(letters)


def _plain(raw: bytes) -> bytes:
    if b"\\" in raw:
        with suppress(ValueError):
            decoded = json.loads(b'"%b"' % raw, strict=False)
            return str(decoded).encode("utf-8", "surrogatepass")
    return raw


def _shown_member(rules: RedactionRules, own: str) -> str:
    """A pattern for members whose names end like credentials, and whose values may be some."""
    before: dict[str, set[str]] = {}
    for name in rules.endings_of_members():
        for stem in _STEMS:
            if name.endswith(stem.replace("[-_]?", "").encode()):
                rest = name.decode("latin-1")[: -len(stem)][-_TAIL_BYTES:]
                before.setdefault(stem, set()).add(_SEPARATORS.join([*map(re.escape, rest), ""]))
    ends = [
        stem if "" in rests else f"(?:{'|'.join(sorted(rests))}){stem}"
        for stem, rests in before.items()
    ]
    names = f"{_NAME}(?:{'|'.join(ends)}){own}"
    return rf"""(?i)["'](?:{names})\\*["']\s*:\s*["\\\[{{0-9-]"""


class NamedSecrets:
    """``searches`` find the values of names that ``rules`` call credentials."""

    def __init__(self, rules: RedactionRules) -> None:
        self._rules = rules
        own = "".join(f"|{_alike(name)}" for name in sorted(rules.json_names))
        stems = "|".join(_STEMS)
        names = f"{_NAME}(?:{stems}){own}"
        parameters = f"[A-Za-z0-9_.-]{{0,64}}(?:{stems})"
        self._member = "(?i)" + _MEMBER % names
        self._element = "(?i)" + _ELEMENT % names
        self._parameter = "(?i)" + _PARAMETER % parameters
        self.searches = (
            Search(boundless(_shown_member(rules, own)), self._members),
            Search(boundless(self._element), self._elements),
            Search(boundless(self._parameter), self._parameters),
            Search(boundless(_USERINFO), self._passwords),
        )

    def _members(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled(self._member).finditer(text):
            yield from self._of_member(match[1], text, match.end())

    def _elements(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled(self._element).finditer(text):
            if self._rules.is_credential_member(match[1]):
                yield from _whole(match[1], text, match.start(2), match.end(2), "xml")

    def _parameters(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled(self._parameter).finditer(text):
            yield from self._of_parameter(match[1], text, *match.span(2))

    def _passwords(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled(_USERINFO).finditer(text):
            yield from _whole(b"password", text, match.start(1), match.end(1), "url")

    def _of_parameter(self, name: bytes, text: bytes, start: int, end: int) -> Iterator[SecretSpan]:
        value = unquote_to_bytes(text[start:end])
        sure = self._rules.is_credential_member(name)
        if sure or (self._rules.is_credential_field(name) and holds_random(value)):
            yield from _whole(name, text, start, end, "url", value, doubtful=not sure)

    def _of_member(self, name: bytes, text: bytes, at: int) -> Iterator[SecretSpan]:
        sure = self._rules.is_credential_member(name)
        if not sure and not self._rules.may_be_credential_member(name):
            return
        if sure and text.startswith(b"{", at):
            inner = _OBJECT.match(text, at)
            at = inner.end() if inner else at
        elif text.startswith(b"[", at):
            yield from self._of_list(name, text, at + 1, sure=sure)
            return
        yield from self._of_value(name, text, at, sure=sure)

    def _of_list(self, name: bytes, text: bytes, at: int, *, sure: bool) -> Iterator[SecretSpan]:
        for _ in range(_MOST_ELEMENTS):
            at = _SPACE_OR_COMMA.match(text, at).end()  # type: ignore[union-attr]  # it may be empty
            span = _string_at(text, at)
            if span is None:
                return
            yield from self._of_value(name, text, at, sure=sure)
            at = span[2]

    def _of_value(self, name: bytes, text: bytes, at: int, *, sure: bool) -> Iterator[SecretSpan]:
        span = _string_at(text, at)
        if span is None:
            number = _NUMBER.match(text, at) if sure else None
            if number is not None:
                yield SecretSpan(at, number.end(), name, number[0], "json", quotes=True)
            return
        start, end, _ = span
        raw = text[start:end]
        if sure and self._rules.is_credential_header(name.lower()):
            for first, last, called, digest in secret_spans(name.lower(), raw):
                secret = raw[first:last]
                if secret and not is_pseudonym(secret):
                    yield SecretSpan(
                        start + first, start + last, called, _plain(secret), "json", digest=digest
                    )
        elif raw.lower() == name.lower() or not (sure or looks_random(raw)):
            return
        elif not (self._rules.ends_like_credential(name) and b" " in raw):
            yield from _whole(name, text, start, end, "json", _plain(raw), doubtful=not sure)


def _whole(
    name: bytes,
    text: bytes,
    start: int,
    end: int,
    rule: str,
    plain: bytes | None = None,
    *,
    doubtful: bool = False,
) -> Iterator[SecretSpan]:
    raw = text[start:end]
    if raw.strip() and not is_pseudonym(raw):
        secret = raw if plain is None else plain
        yield SecretSpan(start, end, name, secret, rule, doubtful=doubtful)


def _string_at(text: bytes, at: int) -> tuple[int, int, int] | None:
    """Where a string's content starts and ends, and where the text continues after it.

    The string may be nested in other strings with its quotes escaped, and its
    end may be missing.
    """
    start = at
    while text.startswith(b"\\", start):
        start += 1
    depth = start - at
    if depth == 0:
        found = _STRING.match(text, at)
        return None if found is None else (*found.span(1), found.end() + 1)
    if not text.startswith(b'"', start):
        return None
    end = start + 1
    if depth not in _NESTED:
        # Nested JSON is not followed: each level would be another reason to read to the end.
        end = text.find(b'"', end)
        last = len(text) if end < 0 else end
        value = text[start + 1 : last].rstrip(b"\\")
        return start + 1, start + 1 + len(value), last
    quote = text[at : start + 1]
    while True:
        end = text.find(quote, end)
        if end < 0:
            return start + 1, len(text), len(text)
        if text[end - 1 : end] != b"\\":
            return start + 1, end, end + len(quote)
        # More backslashes: a quote of a more deeply nested string.
        end = text.index(b'"', end) + 1
