"""Secrets after telling names, wherever a text has a name and a value.

Parameters of URLs, members of JSON and of GraphQL literals, lists under a
plural, pairs of ``name`` and ``value``, attributes and fields of XML and HTML,
lines of dotenv, YAML and INI files, header fields in command lines. Match keys
include the pseudonyms of what is found here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from urllib.parse import unquote_to_bytes

from buffr.redaction.pseudonym import STAND_IN, is_pseudonym
from buffr.redaction.randomness import SHORTEST_MADE_UP, looks_made_up
from buffr.redaction.rules import RedactionRules
from buffr.redaction.screen import boundless, compiled
from buffr.redaction.searches import Search
from buffr.redaction.spans import SecretSpan
from buffr.redaction.vocabulary import SECRET_PAIRS, SECRET_WORDS

__all__ = ["TellingNames"]

# Words in telling names; the vocabulary decides about each name.
_STEMS = (
    "token|key|secret|pass|pwd|auth|sess|sid|sign|sig|hmac|jwt|bearer|cookie|csrf|xsrf|otp|pin"
    "|contrase|ticket|licen[cs]e|cred|assertion|saml|appid|app_id|dpop|verifier|proof|login|code|hash"
)
_NAME = rf"[A-Za-z0-9_.\[\]-]{{0,64}}(?:{_STEMS})[A-Za-z0-9_.\[\]-]{{0,32}}"
_SPACED = rf"[A-Za-z0-9_. -]{{0,64}}(?:{_STEMS})[A-Za-z0-9_. -]{{0,32}}"

# A value extends to the delimiter of its place, and has four characters or more.
_IN_URL = r"[^&\s\"'<>\\#;,(){}\[\]|]{4,}"
_PARAMETER = rf"(?:[?&;#,]|u0026|%26|%3[bBfF]|amp;)({_NAME})(?:=|%3[dD])({_IN_URL})"
# RE2 takes much longer for groups, and the parts of a member are certain without its stems.
_MEMBER_WITH = r"\\*[\"'](%s)\\*[\"']\s{0,8}:\s{0,8}(%s\[\s{0,8})?\\*[\"'](%s[^\"'\\]{4,})"
_MEMBER = _MEMBER_WITH % (f"?:{_SPACED}", "?:", "?:")
_MEMBER_PARTS = re.compile((_MEMBER_WITH % ("[A-Za-z0-9_. -]*", "", "")).encode())
_PLAIN_NAME = "[A-Za-z0-9_. -]*"
_SEPARATORS = "[-_. ]*"
_FIRST, _SECOND = (
    "|".join(sorted(words))
    for words in map(set, zip(*(pair.split("-") for pair in SECRET_PAIRS), strict=True))
)
# The vocabulary also takes a name's last and first words for a pair.
_SURE = (
    rf"{_PLAIN_NAME}(?:{'|'.join(sorted(SECRET_WORDS))}|(?:{_FIRST}){_SEPARATORS}(?:{_SECOND}))"
    rf"{_PLAIN_NAME}|{_SEPARATORS}(?:{_SECOND}){_PLAIN_NAME}(?:{_FIRST}){_SEPARATORS}"
)
_MADE_UP = rf"[A-Za-z0-9._~+=:|%/-]{{{SHORTEST_MADE_UP}}}"
_SHOWN_MEMBER = (
    rf"(?i)[\"'](?:{_SURE})\\*[\"']\s*:\s*\\*[\"'][^\"'\\]{{4}}"
    rf"|[\"']{_PLAIN_NAME}(?:{_STEMS}){_PLAIN_NAME}\\*[\"']\s*:\s*"
    rf"(?:\[|\\*[\"'][^\"'\\]*{_MADE_UP})"
)
"""For other members there is nothing to hide: their values do not look made up."""
_LITERAL = rf"(?:^|[\s({{,])({_NAME})\s{{0,4}}:\s{{0,4}}\\*\"([^\"\\]{{4,}})"
_ATTRIBUTE = rf"[\s]({_NAME})\s{{0,4}}=\s{{0,4}}\\*[\"']([^\"'<>\\]{{4,}})"
_ELEMENT = rf"<(?:[A-Za-z0-9_.-]{{1,64}}:)?({_NAME})(?:\s[^<>]{{0,200}})?>([^<>]{{4,}})</"
_LINE = (
    rf"(?m)^[ \t]*(?:-[ \t]+)?(?:export[ \t]+|//[^\s=]{{1,100}}:)?({_NAME})[ \t]*[:=][ \t]*"
    r"[\"']?([^\s\"'#,;]{4,})"
)
_QUOTED_FIELD = rf"[\"' ]({_NAME}):[ \t]{{1,4}}([^\"'\\\r\n]{{4,}})"

# Two attributes or members in either order: one is the name, the other the value.
_FIELD = r"<(?:input|meta|param|property|entry|field)\b([^<>]{1,800})>"
_NAME_ATTRIBUTE = re.compile(rb"(?i)\b(?:name|id|key|property)\s*=\s*\\*[\"']([^\"'\\]+)")
_VALUE_ATTRIBUTE = re.compile(rb"(?i)\b(?:value|content)\s*=\s*\\*[\"']([^\"'\\]{4,})")
_NAME_FIRST = (
    r"\"(?:name|key|field|header|id|k)\\*\"\s{0,8}:\s{0,8}\\*\"(%s)\\*\""
    r"[^{}]{0,200}\"(?:value|val|content|v|secret)\\*\"\s{0,8}:\s{0,8}\\*\"([^\"\\]{4,})"
)
_VALUE_FIRST = (
    r"\"(?:value|val|content|v|secret)\\*\"\s{0,8}:\s{0,8}\\*\"([^\"\\]{4,})\\*\""
    r"[^{}]{0,200}\"(?:name|key|field|header|id|k)\\*\"\s{0,8}:\s{0,8}\\*\"(%s)\\*\""
)
_MORE_OF_LIST = re.compile(rb"\s*,\s*\\*[\"']([^\"'\\]{4,})")
# One word, or a beginning that only credentials have: a scheme, a parameter, a token.
_NO_PROSE = re.compile(
    rb"(?i)\S+\Z|(?:bearer|basic|digest|token|negotiate) |[^\s=]+=|(?=\S*[0-9])(?=\S*[a-z])\S{8,}"
)
_MOST_ELEMENTS = 256

_CODE = frozenset((b"code", b"device_code", b"user_code"))
_SHORTEST_CODE = 20


class TellingNames:
    """Finds values by the words of their names, judged by ``RedactionRules.hides``.

    ``searches`` are for bodies.
    """

    def __init__(self, rules: RedactionRules) -> None:
        self._rules = rules
        pairs = (
            (_PARAMETER, 1, 2),
            (_LITERAL, 1, 2),
            (_ATTRIBUTE, 1, 2),
            (_ELEMENT, 1, 2),
            (_LINE, 1, 2),
            (_NAME_FIRST % _SPACED, 1, 2),
            (_VALUE_FIRST % _SPACED, 2, 1),
        )
        self.searches = (
            *(
                _search(pattern, partial(self._pairs, "(?i)" + pattern, name, value))
                for pattern, name, value in pairs
            ),
            _search(_QUOTED_FIELD, self._quoted_fields),
            Search(_SHOWN_MEMBER, self._members),
            _search(_FIELD, self._fields),
        )

    def _pairs(self, pattern: str, name: int, value: int, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled(pattern).finditer(text):
            yield from self._judged(match[name], text, *match.span(value))

    def _quoted_fields(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled("(?i)" + _QUOTED_FIELD).finditer(text):
            if _NO_PROSE.match(match[2]) is not None:
                yield from self._judged(match[1], text, *match.span(2))

    def _members(self, text: bytes) -> Iterator[SecretSpan]:
        for place in compiled("(?i)" + _MEMBER).finditer(text):
            match = _MEMBER_PARTS.match(text, place.start())
            assert match is not None
            yield from self._of_member(text, match)

    def _fields(self, text: bytes) -> Iterator[SecretSpan]:
        for match in compiled("(?i)" + _FIELD).finditer(text):
            yield from self._of_field(text, match)

    def in_target(self, text: bytes) -> Iterator[SecretSpan]:
        """The secrets in the parameters of a request target, or of a URL in a header field."""
        for match in compiled("(?i)" + _PARAMETER).finditer(text):
            yield from self._judged(match[1], text, *match.span(2))

    def _of_member(self, text: bytes, match: re.Match[bytes]) -> Iterator[SecretSpan]:
        name, (start, end) = match[1], match.span(3)
        if self._rules.is_credential_member(name):
            return  # found by ``Named``
        yield from self._judged(name, text, start, end)
        if match[2] is None:
            return
        for _ in range(_MOST_ELEMENTS):
            quote = end + 1
            more = _MORE_OF_LIST.match(text, quote)
            if more is None:
                return
            start, end = more.span(1)
            yield from self._judged(name, text, start, end)

    def _of_field(self, text: bytes, match: re.Match[bytes]) -> Iterator[SecretSpan]:
        """``<input name=… value=…>``, in any order."""
        name = _NAME_ATTRIBUTE.search(match[1])
        value = _VALUE_ATTRIBUTE.search(match[1])
        if name is not None and value is not None:
            start = match.start(1)
            yield from self._judged(name[1], text, start + value.start(1), start + value.end(1))

    def _judged(self, name: bytes, text: bytes, start: int, end: int) -> Iterator[SecretSpan]:
        name = name.strip()
        if end - start < _shortest(self._rules, name):  # like nearly all
            return
        raw = text[start:end]
        value = unquote_to_bytes(raw) if b"%" in raw else raw
        if STAND_IN in value or is_pseudonym(value) or not self._hides(name, value):
            return
        yield SecretSpan(start, end, name, value, "name", counted=True)

    def _hides(self, name: bytes, value: bytes) -> bool:
        if name.lower() in _CODE:
            # An OAuth code (RFC 6749 4.1.2); other codes are short, or words.
            return len(value) >= _SHORTEST_CODE and looks_made_up(value)
        return self._rules.hides(name, value)


@lru_cache(maxsize=4096)
def _shortest(rules: RedactionRules, name: bytes) -> int:
    """Shorter values are not hidden for this name."""
    return _SHORTEST_CODE if name.lower() in _CODE else rules.shortest_hidden(name)


def _search(pattern: str, find: Callable[[bytes], Iterator[SecretSpan]]) -> Search:
    return Search(boundless("(?i)" + pattern), find)
