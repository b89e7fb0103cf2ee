"""Secrets in the values of credential headers: which part of a value stays, which is replaced.

A part that cannot be parsed is replaced as a whole, so that nothing escapes by
being malformed.

A browser's WebSocket cannot send additional headers, so some APIs accept the
key as another subprotocol of the handshake (RFC 6455 11.3.4):
``openai-insecure-api-key.sk-...``, a bearer token after ``token`` or
``base64url.bearer.``, a JSON Web Token alone.
"""

from __future__ import annotations

import re
from collections.abc import Container

from attrs import frozen

from buffr.redaction.fields import Replace
from buffr.redaction.forms import stand_in
from buffr.redaction.pseudonym import GUESSABLE_BYTES, is_pseudonym
from buffr.redaction.rules import RedactionRules

__all__ = [
    "COOKIES",
    "SET_COOKIES",
    "SUBPROTOCOL",
    "HeaderValues",
    "in_subprotocols",
    "secret_spans",
]

COOKIES = frozenset((b"cookie", b"cookie2"))
SET_COOKIES = frozenset((b"set-cookie", b"set-cookie2"))

_CREDENTIALS = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++)([ \t]++)(\S.*+)", re.DOTALL)

# Only known schemes stay: in "hunter2 hunter3" the first word is half of a secret.
_SCHEMES = frozenset(
    b"""
    bearer basic digest negotiate ntlm token apikey api-key key bot jwt oauth dpop gnap hawk hoba
    mac mutual privatetoken private-token vapid signature ssws splunk snowflake scram-sha-1
    scram-sha-256 aws aws4-hmac-sha256 aws4-ecdsa-p256-sha256 goog4-hmac-sha256 goog4-rsa-sha256
    googlelogin sharedkey sharedkeylite sharedaccesssignature deepl-auth-key klaviyo-api-key
    geniekey zoho-oauthtoken discogs mediabrowser wsse
    """.split()
)

_GUESSABLE_SCHEMES = frozenset((b"basic", b"digest", b"negotiate", b"ntlm"))

_COOKIE_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_ATTRIBUTES = {
    b"expires": re.compile(
        rb"[A-Za-z]{3,9},? \d\d[ -][A-Za-z]{3}[ -]\d{2,4} \d\d:\d\d:\d\d [A-Z]{3}"
    ),
    b"max-age": re.compile(rb"-?\d{1,20}"),
    b"domain": re.compile(rb"[A-Za-z0-9.-]*"),
    b"path": re.compile(rb"(?:/[^,;=]*)?"),
    b"samesite": re.compile(rb"strict|lax|none", re.IGNORECASE),
    b"priority": re.compile(rb"low|medium|high", re.IGNORECASE),
    b"secure": re.compile(rb""),
    b"httponly": re.compile(rb""),
    b"partitioned": re.compile(rb""),
}


@frozen
class HeaderValues:
    """Replaces secrets in header values; ``salt`` keys their digests.

    Fields with one of the ``compared`` names, in lower case, distinguish
    requests.
    """

    salt: bytes
    compared: Container[bytes] = ()

    def credential(self, name: bytes, value: bytes, *, counted: bool = False) -> bytes:
        """``Bearer secret`` keeps its scheme (RFC 9110 11.4).

        Any other value is replaced as a whole.
        """
        found = _CREDENTIALS.fullmatch(value)
        scheme, space, secret = b"", b"", value
        if found is not None and found[1].lower() in _SCHEMES:
            scheme, space, secret = found.groups()
        elif value.lower() in _SCHEMES:
            return value
        digest = scheme.lower() not in _GUESSABLE_SCHEMES and not _has_space(secret)
        return (
            scheme
            + space
            + stand_in(
                name,
                secret,
                self.salt,
                digest=digest,
                counted=counted,
                compared=name.lower() in self.compared,
            )
        )

    def cookie(self, name: bytes, value: bytes) -> bytes:
        """Each pair of ``Cookie`` keeps its name (RFC 6265 4.2.1)."""
        return b";".join([self._pair(name, text) for text in value.split(b";")])

    def set_cookie(self, name: bytes, value: bytes) -> bytes:
        """``Set-Cookie`` keeps the cookie's name and its attributes (RFC 6265 4.1.1)."""
        first, *attributes = value.split(b";")
        kept = [self._pair(name, first), *[self._attribute(name, text) for text in attributes]]
        return b";".join(kept)

    def _pair(self, header: bytes, text: bytes) -> bytes:
        bare = text.strip(b" \t")
        if not bare:
            return text
        before, _, after = text.partition(bare)
        name, _, value = bare.partition(b"=")
        # "c2VjcmV0c2VjcmV0c2VjcmV0==" is not a cookie without a value, but a secret without a name.
        nameless = not value.strip(b"=") and (value or len(name) >= GUESSABLE_BYTES)
        if nameless or b"=" not in bare or not _COOKIE_NAME.fullmatch(name):
            return before + stand_in(header, bare, self.salt) + after
        compared = header.lower() in self.compared
        return before + name + b"=" + stand_in(name, value, self.salt, compared=compared) + after

    def _attribute(self, header: bytes, text: bytes) -> bytes:
        bare = text.strip(b" \t")
        name, _, value = bare.partition(b"=")
        known = _ATTRIBUTES.get(name.strip(b" \t").lower())
        if not bare or (known is not None and known.fullmatch(value.strip(b" \t"))):
            return text
        # The rest of a value with a ";" in it looks like an unknown attribute.
        return text.replace(bare, stand_in(header, bare, self.salt))


def _has_space(value: bytes) -> bool:
    """Several words are parameters: their digest would be new each time, or help to guess."""
    return b" " in value or b"\t" in value


def secret_spans(name: bytes, value: bytes) -> list[tuple[int, int, bytes, bool]]:
    """Where the secrets are in a credential header's value, and the name of each.

    ``name`` is in lower case. The last item says whether the secret is safe
    from guessing by its digest. A scheme or a cookie's name is not a secret;
    several words after a scheme are one secret.
    """
    if name in COOKIES or name in SET_COOKIES:
        pairs = value.split(b";") if name in COOKIES else [value.partition(b";")[0]]
        spans, at = [], 0
        for pair in pairs:
            cookie, equals, inner = pair.partition(b"=")
            start = at + len(cookie) + 1
            if equals and inner.strip():
                spans.append((start, start + len(inner), cookie.strip(), True))
            at += len(pair) + 1
        return spans
    found = _CREDENTIALS.fullmatch(value)
    if found is None or found[1].lower() not in _SCHEMES:
        whole = (0, len(value), name, not _has_space(value))
        return [] if value.lower() in _SCHEMES else [whole]
    digest = found[1].lower() not in _GUESSABLE_SCHEMES and not _has_space(found[3])
    return [(*found.span(3), name, digest)]


SUBPROTOCOL = b"sec-websocket-protocol"

_RUNS_OF_DIGITS = re.compile(rb"[0-9]+")
_RANDOM_BYTES = 24
"""Names of protocols are words, possibly with a version; only secrets are this long."""


def in_subprotocols(value: bytes, rules: RedactionRules, replace: Replace) -> bytes:
    """A list of subprotocols with secrets replaced; the other bytes are unchanged."""
    items = value.split(b",")
    kept = []
    expected = False
    for item in items:
        bare = item.strip(b" \t")
        before, _, after = item.partition(bare) if bare else (item, b"", b"")
        secret = replace(SUBPROTOCOL, bare) if expected and bare else _in_item(bare, rules, replace)
        kept.append(before + secret + after)
        expected = _names_a_credential(bare, rules)
    return b",".join(kept)


def _in_item(item: bytes, rules: RedactionRules, replace: Replace) -> bytes:
    pieces = item.split(b".")
    for number, piece in enumerate(pieces):
        if number and _names_a_credential(pieces[number - 1], rules):
            break
        if is_pseudonym(piece) or _is_random(piece):
            break
    else:
        return item
    return b".".join((*pieces[:number], replace(SUBPROTOCOL, b".".join(pieces[number:]))))


def _names_a_credential(name: bytes, rules: RedactionRules) -> bool:
    return rules.is_credential_field(name) or rules.is_credential_header(name)


def _is_random(piece: bytes) -> bool:
    return len(piece) >= _RANDOM_BYTES and len(_RUNS_OF_DIGITS.findall(piece)) > 1
