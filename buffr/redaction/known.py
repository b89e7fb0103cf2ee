"""The credentials that one exchange itself carries, wherever else they turn up in it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from urllib.parse import quote_from_bytes, unquote_to_bytes

from attrs import field, frozen

from buffr.message import Headers
from buffr.redaction.fields import fields_of
from buffr.redaction.found import Found
from buffr.redaction.header_values import COOKIES, SET_COOKIES, secret_spans
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules
from buffr.redaction.shapes import looks_random
from buffr.redaction.subprotocols import SUBPROTOCOL, in_subprotocols

__all__ = ["NOTHING_KNOWN", "Known", "Secret", "known_secrets"]

SHORTEST = 16
"""Shorter values are looked for where they are expected only: they could be a word."""

_SHORTEST_PASSWORD = 8
_LONGEST = 16 * 1024
_MOST = 64
_SHORTEST_IN_BASE64 = 12


@frozen
class Secret:
    """A plain value, and what it is called. ``digest``: nobody could guess it from one."""

    value: bytes
    name: bytes
    digest: bool = True


@frozen
class Known:
    """Finds known secrets in texts: as they are, percent-encoded, escaped as in JSON, in base64."""

    secrets: tuple[Secret, ...]
    _spellings: tuple[tuple[bytes, Secret], ...] = field(init=False, eq=False, repr=False)

    @_spellings.default
    def _all_spellings(self) -> tuple[tuple[bytes, Secret], ...]:
        found: dict[bytes, Secret] = {}
        for secret in self.secrets:
            for spelling in _spelled(secret.value):
                found.setdefault(spelling, secret)
        return tuple(found.items())

    def __bool__(self) -> bool:
        return bool(self.secrets)

    def find(self, text: bytes) -> Iterator[Found]:
        """All places of all of them, in no order."""
        for spelling, secret in self._spellings:
            at = text.find(spelling)
            while at >= 0:
                end = at + len(spelling)
                yield Found(at, end, secret.name, secret.value, "echo", digest=secret.digest)
                at = text.find(spelling, end)

    @property
    def longest(self) -> int:
        """The size of the longest spelling."""
        return max((len(spelling) for spelling, _ in self._spellings), default=0)


NOTHING_KNOWN = Known(())


def _spelled(value: bytes) -> Iterator[bytes]:
    yield value
    quoted = quote_from_bytes(value, safe="").encode()
    yield quoted
    yield quote_from_bytes(value, safe="/").encode()
    yield quote_from_bytes(value, safe="~!*'()").encode()
    yield quoted.replace(b"%20", b"+")
    yield _lower_escapes(quoted)
    with suppress(UnicodeDecodeError):
        escaped = json.dumps(value.decode())[1:-1].encode()
        yield escaped
        yield escaped.replace(b"/", b"\\/")
        yield escaped.replace(b"&", b"\\u0026").replace(b"<", b"\\u003c").replace(b">", b"\\u003e")
    yield value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b'"', b"&quot;")
    for skipped in range(3):
        # Three bytes are four characters: what begins in the middle of three is left out.
        whole = value[skipped:][: (len(value) - skipped) // 3 * 3]
        if len(whole) >= _SHORTEST_IN_BASE64:
            plain = b64encode(whole)
            yield plain
            yield plain.replace(b"+", b"-").replace(b"/", b"_")


def _lower_escapes(quoted: bytes) -> bytes:
    first, *rest = quoted.split(b"%")
    return b"%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def known_secrets(rules: RedactionRules, target: bytes, *heads: Headers) -> Known:
    """The secrets of a request's target and of the given heads: long enough to be found again."""
    if not rules.enabled:
        return NOTHING_KNOWN
    found: dict[bytes, Secret] = {}
    for each in (*_of_headers(heads, rules), *_of_target(target, rules)):
        if len(found) < _MOST and SHORTEST <= len(each.value) <= _LONGEST:
            found.setdefault(each.value, each)
    for each in _of_basic(heads, rules):
        if SHORTEST <= len(each.value) <= _LONGEST or _is_strong(each.value):
            found.setdefault(each.value, each)
    return Known(tuple(found.values())) if found else NOTHING_KNOWN


def _is_strong(password: bytes) -> bool:
    """Whether a short password could hardly be a word of an answer."""
    return _SHORTEST_PASSWORD <= len(password) < SHORTEST and not password.isalpha()


def _of_headers(heads: Iterable[Headers], rules: RedactionRules) -> Iterator[Secret]:
    for headers in heads:
        for raw_name, value in headers:
            name = raw_name.lower()
            if name == SUBPROTOCOL:
                found: list[Secret] = []
                in_subprotocols(value, rules, partial(_noted, found))
                yield from found
            elif rules.is_credential_header(name):
                for start, end, called, digest in secret_spans(name, value):
                    yield from _of_value(name, called, value[start:end], rules, digest=digest)


def _noted(found: list[Secret], name: bytes, value: bytes) -> bytes:
    if not is_pseudonym(value):
        found.append(Secret(value, name))
    return value


def _of_value(
    name: bytes, called: bytes, value: bytes, rules: RedactionRules, *, digest: bool
) -> Iterator[Secret]:
    if is_pseudonym(value):
        return
    if name in COOKIES or name in SET_COOKIES:
        bare = value.strip().strip(b'"')
        if looks_random(bare):
            yield Secret(unquote_to_bytes(bare), called)
    elif b" " not in value and b"," not in value:
        yield Secret(value, called, digest)
    else:
        # Parameters: a user name, a path or a list of headers is no secret.
        for part in value.replace(b",", b" ").split():
            parameter, equals, inner = part.partition(b"=")
            bare = inner.strip(b'"')
            if equals and rules.is_credential_field(parameter) and not is_pseudonym(bare):
                yield Secret(bare.partition(b"/")[0], called, digest=False)


def _of_basic(heads: Iterable[Headers], rules: RedactionRules) -> Iterator[Secret]:
    for headers in heads:
        for name, value in headers:
            scheme, _, encoded = value.partition(b" ")
            if scheme.lower() == b"basic" and rules.is_credential_header(name):
                with suppress(Error, ValueError):
                    password = b64decode(encoded, validate=True).partition(b":")[2]
                    if password and not is_pseudonym(password):
                        yield Secret(password, name.lower(), digest=False)


def _of_target(target: bytes, rules: RedactionRules) -> Iterator[Secret]:
    for name, start, end in fields_of(target.partition(b"?")[2], rules):
        value = unquote_to_bytes(target.partition(b"?")[2][start:end])
        if not is_pseudonym(value) and (rules.is_credential_member(name) or looks_random(value)):
            yield Secret(value, name)
