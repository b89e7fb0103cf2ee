"""The credentials that one exchange itself carries, wherever else they appear in it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from operator import attrgetter
from urllib.parse import quote_from_bytes, unquote_to_bytes

from attrs import evolve, field, frozen

from buffr.message import Headers
from buffr.redaction.fields import fields_of
from buffr.redaction.headers import COOKIES, SET_COOKIES, SUBPROTOCOL, in_subprotocols, secret_spans
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.randomness import looks_random
from buffr.redaction.rules import RedactionRules
from buffr.redaction.spans import SecretSpan

__all__ = ["NOTHING_KNOWN", "KnownSecrets", "Secret", "known_secrets", "spellings_of"]

SHORTEST = 16
"""Shorter values are only searched for in the expected places: they may be words."""

_SHORTEST_PASSWORD = 8
_LONGEST = 16 * 1024
_MOST = 64

_value_of = attrgetter("value")
_PROTOCOL_NAME_BYTES = len(SUBPROTOCOL)
_SHORTEST_IN_BASE64 = 12


@frozen(cache_hash=True)
class Secret:
    """A plain value and its name. ``digest``: its digest does not help to guess it.

    ``counted``: match keys include its pseudonym.
    """

    value: bytes
    name: bytes
    digest: bool = True
    counted: bool = False

    def stands_in(self, text: bytes) -> bool:
        """Whether the text contains the secret, in any spelling."""
        return any(map(text.__contains__, _shortest_spellings(self.value)))


@frozen(eq=False)
class KnownSecrets:
    """Finds known secrets in texts: literally, percent-encoded, escaped as in JSON, in base64.

    ``values`` are the plain secrets, of ``size_bytes`` together.
    """

    secrets: tuple[Secret, ...]
    values: tuple[bytes, ...] = field(init=False, repr=False)
    size_bytes: int = field(init=False, repr=False)

    @values.default
    def _plain_values(self) -> tuple[bytes, ...]:
        return tuple(map(_value_of, self.secrets))

    @size_bytes.default
    def _size_of_values(self) -> int:
        return sum(map(len, self.values))

    def __bool__(self) -> bool:
        return bool(self.secrets)

    def with_found(self, found: Iterable[SecretSpan]) -> KnownSecrets:
        """These secrets and those that were found, except values that may be ordinary words."""
        values = set(self.values)
        more: dict[bytes, Secret] = {}
        for each in found:
            if each.secret not in values and _is_unmistakable(each.secret):
                more.setdefault(
                    each.secret, Secret(each.secret, each.name, each.digest, each.counted)
                )
        room = max(0, _MOST - len(values))
        return (
            KnownSecrets((*self.secrets, *tuple(more.values())[:room])) if more and room else self
        )

    def stand_in(self, text: bytes) -> bool:
        """Whether the text contains any of them."""
        return any(secret.stands_in(text) for secret in self.secrets)

    def find(self, text: bytes) -> Iterator[SecretSpan]:
        """All occurrences of all secrets, in no particular order."""
        for secret in self.secrets:
            if not secret.stands_in(text):
                continue
            for spelling in spellings_of(secret.value):
                at = text.find(spelling)
                while at >= 0:
                    end = at + len(spelling)
                    yield SecretSpan(
                        at,
                        end,
                        secret.name,
                        secret.value,
                        "echo",
                        digest=secret.digest,
                        counted=secret.counted,
                    )
                    at = text.find(spelling, end)


NOTHING_KNOWN = KnownSecrets(())


@lru_cache(maxsize=256)
def spellings_of(value: bytes) -> tuple[bytes, ...]:
    """All spellings that are searched for."""
    return tuple(dict.fromkeys(_spelled(value)))


@lru_cache(maxsize=256)
def _shortest_spellings(value: bytes) -> tuple[bytes, ...]:
    """The spellings of which at least one is in any text that contains the secret."""
    short: list[bytes] = []
    for spelling in sorted(spellings_of(value), key=len):
        if not any(part in spelling for part in short):
            short.append(spelling)
    return tuple(short)


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
    for encoded in (b64encode(value), urlsafe_b64encode(value)):
        yield encoded
        yield encoded.rstrip(b"=")
    for skipped in range(3):
        # Three bytes make four characters: a group that begins before the value is left out.
        whole = value[skipped:][: (len(value) - skipped) // 3 * 3]
        if len(whole) >= _SHORTEST_IN_BASE64:
            yield b64encode(whole)
            yield urlsafe_b64encode(whole)


def _lower_escapes(quoted: bytes) -> bytes:
    first, *rest = quoted.split(b"%")
    return b"%".join([first, *(part[:2].lower() + part[2:] for part in rest)])


def known_secrets(rules: RedactionRules, target: bytes, *heads: Headers) -> KnownSecrets:
    """The secrets of a target and of header sections that are long enough to search for."""
    secrets = _known(rules, target, heads)
    return _found_again(secrets) if secrets else NOTHING_KNOWN


@lru_cache(maxsize=128)
def _found_again(secrets: tuple[Secret, ...]) -> KnownSecrets:
    """One object for the same secrets, so that what they hide in can be remembered with it."""
    return KnownSecrets(secrets)


def _known(rules: RedactionRules, target: bytes, heads: tuple[Headers, ...]) -> tuple[Secret, ...]:
    found: dict[bytes, Secret] = {}
    is_telling = rules.telling_headers
    for headers in heads:
        for name, value in headers:
            if is_telling[name] or len(name) == _PROTOCOL_NAME_BYTES:
                for each in _of_header(rules, name.lower(), value):
                    found.setdefault(each.value, each)
    if b"=" in target:
        for each in _of_target(rules, target):
            found.setdefault(each.value, each)
    return tuple(found.values())[:_MOST]


@lru_cache(maxsize=4096)
def _of_header(rules: RedactionRules, name: bytes, value: bytes) -> tuple[Secret, ...]:
    found: list[Secret] = []
    if name == SUBPROTOCOL:
        in_subprotocols(value, rules, partial(_noted, found))
    elif (sure := rules.is_credential_header(name)) or rules.hides(name, value):
        for start, end, called, digest in secret_spans(name, value):
            of_value = _of_value(name, called, value[start:end], rules, digest=digest)
            found += [evolve(each, counted=not sure) for each in of_value]
    passwords = [each for each in _of_basic(name, value) if _is_strong(each.value)]
    return (*_long(found), *passwords)


def _long(found: Iterable[Secret]) -> Iterator[Secret]:
    return (each for each in found if SHORTEST <= len(each.value) <= _LONGEST)


def _is_unmistakable(secret: bytes) -> bool:
    return SHORTEST <= len(secret) <= _LONGEST and looks_random(secret)


def _is_strong(password: bytes) -> bool:
    """Whether a password is unlikely to be a word of an answer."""
    size = len(password)
    return SHORTEST <= size <= _LONGEST or (size >= _SHORTEST_PASSWORD and not password.isalpha())


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
        # Parameters: a user name, a path or a list of headers is not a secret.
        for part in value.replace(b",", b" ").split():
            parameter, equals, inner = part.partition(b"=")
            bare = inner.strip(b'"')
            if equals and rules.is_credential_field(parameter) and not is_pseudonym(bare):
                yield Secret(bare.partition(b"/")[0], called, digest=False)


def _of_basic(name: bytes, value: bytes) -> Iterator[Secret]:
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() == b"basic":
        with suppress(Error, ValueError):
            password = b64decode(encoded, validate=True).partition(b":")[2]
            if password and not is_pseudonym(password):
                yield Secret(password, name, digest=False)


@lru_cache(maxsize=4096)
def _of_target(rules: RedactionRules, target: bytes) -> tuple[Secret, ...]:
    query = target.partition(b"?")[2]
    found = []
    for name, start, end in fields_of(query, rules):
        value = unquote_to_bytes(query[start:end])
        if not is_pseudonym(value) and (rules.is_credential_member(name) or looks_random(value)):
            found.append(Secret(value, name))
    return tuple(_long(found))
