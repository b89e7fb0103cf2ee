"""Finds the credential fields of queries, URLs and multipart forms (RFC 7578).

The caller chooses the replacements. Every function leaves all bytes but the
credential values unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Protocol

from buffr.formats.multipart import field_end, field_heads
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.spans import SecretSpan

__all__ = [
    "FieldRules",
    "Replace",
    "as_sent",
    "constant",
    "fields_of",
    "find_in_parts",
    "in_header",
    "in_query",
    "in_target",
]

Replace = Callable[[bytes, bytes], bytes]
"""Returns a value's replacement, given the field's name and the value, both as sent."""


class FieldRules(Protocol):
    """Decides which fields contain credentials, by their names and values as they appear."""

    def is_credential_field(self, name: bytes) -> bool:
        """Whether a field with this name may contain a credential."""

    def holds_credential(self, name: bytes, value: bytes) -> bool:
        """Whether a field with this value contains a credential.

        If not, no suffix of the value does.
        """


_URL_HEADERS = frozenset(
    (
        b"location",
        b"content-location",
        b"referer",
        b"refresh",
        b"destination",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-forwarded-uri",
        b"x-original-uri",
    )
)

# Some servers end a field at ";" and some applications nest a query in a query, so a name may begin
# after these; a credential's value always extends to the next "&". A "#" that was sent unencoded is
# percent-encoded when a recording is read back.
_NAME_STARTS = re.compile(rb"[;?#]|%23")

_USERINFO = re.compile(rb"(?<=://)[^/?#\s]*(?=@)")

_LINK = re.compile(
    rb"(?:\s*+<[^<>]*+>"
    rb"(?:\s*+;\s*+[\w!#$%&'*+.^`|~-]++(?:=(?:\"[^\"]*+\"|[^\s;,\"<>]*+))?)*+\s*+(?:,|$))++"
)
_LINK_URLS = re.compile(rb'(?<=<)[^<>]*+(?=>)|(?<=")[^"]*+(?=")')


def _value_of(text: bytes, rules: FieldRules) -> tuple[bytes, int] | None:
    """The name of a field's credential, and where its value starts."""
    if _NAME_STARTS.search(text) is None:
        name, equals_sign, value = text.partition(b"=")
        if equals_sign and rules.holds_credential(name, value):
            return name, len(name) + 1
        return None
    start = 0
    is_data = False
    while True:
        equals = text.find(b"=", start)
        if equals < 0:
            return None
        name = _NAME_STARTS.split(text[start:equals])[-1]
        if rules.is_credential_field(name):
            # A value extends to the end: the values of inner names are part of it.
            if rules.holds_credential(name, b"" if is_data else text[equals + 1 :]):
                return name, equals + 1
            is_data = True
        found = _NAME_STARTS.search(text, equals + 1)
        if found is None:
            return None
        start = found.end()


def _in_field(text: bytes, rules: FieldRules, replace: Replace) -> bytes:
    found = _value_of(text, rules)
    if found is None:
        return text
    name, start = found
    return text[:start] + replace(name, text[start:])


def fields_of(query: bytes, rules: FieldRules) -> Iterator[tuple[bytes, int, int]]:
    """The names of a query's or form's credential fields, and the positions of their values."""
    at = 0
    for text in query.split(b"&") if b"=" in query else ():
        found = _value_of(text, rules)
        if found is not None and found[1] < len(text):
            yield found[0], at + found[1], at + len(text)
        at += len(text) + 1


def constant(_name: bytes, _value: bytes) -> bytes:
    """A ``Replace`` with the same result for every value."""
    return b"REDACTED"


def as_sent(_name: bytes, value: bytes) -> bytes:
    """A ``Replace`` that replaces nothing."""
    return value


def in_query(query: bytes, rules: FieldRules, replace: Replace) -> bytes:
    """Replace the values of a query's credential fields; the query has no ``?``."""
    if b"=" not in query:
        return query
    return b"&".join([_in_field(text, rules, replace) for text in query.split(b"&")])


def in_target(target: bytes, rules: FieldRules, replace: Replace) -> bytes:
    """Replace the credential values of a request target (RFC 9112 3.2), and its userinfo."""
    path, mark, query = target.partition(b"?")
    if not path.startswith(b"/"):
        path = _without_userinfo(path, replace)
    return path + mark + in_query(query, rules, replace) if mark else path


def _without_userinfo(text: bytes, replace: Replace) -> bytes:
    return _USERINFO.sub(lambda found: replace(b"userinfo-password", found[0]), text)


def in_header(name: bytes, value: bytes, rules: FieldRules, replace: Replace) -> bytes:
    """Replace the credential values in the URLs of a header field; ``name`` is in lower case."""
    if name in _URL_HEADERS:
        return _in_url(value, rules, replace)
    return _in_links(value, rules, replace) if name == b"link" else value


def _in_url(text: bytes, rules: FieldRules, replace: Replace) -> bytes:
    reference, hash_mark, fragment = _without_userinfo(text, replace).partition(b"#")
    path, mark, query = reference.partition(b"?")
    # OAuth's implicit grant sends its tokens in the fragment (RFC 6749 4.2.2).
    parts = (path, mark, in_query(query, rules, replace))
    return b"".join((*parts, hash_mark, in_query(fragment, rules, replace)))


def _in_links(text: bytes, rules: FieldRules, replace: Replace) -> bytes:
    # RFC 8288 3. A malformed value is treated as one URL.
    if _LINK.fullmatch(text) is None:
        return _in_url(text, rules, replace)
    return _LINK_URLS.sub(lambda found: _in_url(found[0], rules, replace), text)


def find_in_parts(text: bytes, rules: RedactionRules) -> Iterator[SecretSpan]:
    """The values of the parts whose names are those of credentials; of files only the content."""
    end = data_end = 0
    for head in field_heads(text):
        start, called = head.start, head.disposition.name
        # Inside the last value, which is replaced as a whole: otherwise thousands of parts would
        # each be searched to the end.
        if start < end or head.disposition.file_name is not None:
            continue
        sure = rules.is_credential_member(called) or rules.holds_credential(called, b"")
        # Whatever is nested in a value that is data is not a credential either.
        if not sure and (start < data_end or not rules.is_credential_field(called)):
            continue
        stop = field_end(text, start)
        value = text[start:stop]
        if not (sure or rules.holds_credential(called, value)):
            data_end = stop
            continue
        end = stop
        if value.strip() and not is_pseudonym(value):
            doubtful = rules.may_mean_data(called)
            yield SecretSpan(start, end, called, value, "form", doubtful=doubtful)
