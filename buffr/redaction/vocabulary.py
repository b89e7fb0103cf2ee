"""What the words of a name say about its value: a header, a field, a member, a variable.

Wider than the lists in ``rules``: what only this finds is hidden on disk, in
logs and in misses, but match keys still include its pseudonym.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from urllib.parse import unquote_to_bytes

__all__ = ["NEVER", "OPAQUE_WORDS", "SECRET_PAIRS", "SECRET_WORDS", "Sense", "is_never", "sense_of"]


class Sense(Enum):
    """What a name says about its value."""

    NOTHING = "nothing"
    OPAQUE = "it is a secret if it looks made up"
    CREDENTIAL = "it is a secret"


_ABOUT = "auth|token|authorization|authentication|session|secret|password"
_FACTS = (
    "method|scheme|mode|type|status|state|url|uri|endpoint|server|provider|params?|ttl|expiry"
    "|expires?|expires-(?:in|at)|expiration|lifetime|timeout|policy|length|strength|hint|source"
    "|required|enabled|name|user|username|realm|scopes?|level|time|date|count"
)

NEVER = (
    # Positions in lists and streams, which clients send back.
    r"(?:.*-)?(?:cursor|page-token|next-token|previous-token|continuation(?:-token)?)",
    r"(?:.*-)?(?:sync-token|resume-token|start-token|scroll-id|marker|next-page|last-event-id)",
    r"(?:next|previous|page|sync|delta|skip|continuation|start|resume)-token-?.*",
    r"(?:start|end|last|first|exclusive-start|last-evaluated|next|after|before)-key",
    # Versions of documents.
    r"etag|if-.*|(?:.*-)?etags?|(?:.*-)?(?:version|revision|generation)(?:-id)?",
    # Counts.
    r"(?:.*-)?rate-?limit(?:-.*)?|(?:.*-)?(?:limit|remaining|reset|quota)(?:-.*)?",
    r"(?:max|min|total|prompt|completion|input|output|cached|reasoning|num)-.*tokens?(?:-.*)?",
    r"(?:.*-)?tokens?-(?:count|usage|type|limit|used|details|per-.*)|token-type(?:-hint)?",
    # Names of stored things.
    r"(?:.*-)?(?:cache-key|surrogate-key|partition-key|sort-key|routing-key|primary-key|row-key)",
    r"(?:.*-)?(?:foreign-key|object-key|key-name|key-type|key-size|key-length|key-usage|keyword)",
    r"(?:.*-)?(?:s3-key|file-key|translation-key|message-key|issue-key|project-key|lookup-key)",
    # Ids.
    r"(?:.*-)?(?:request|req|trace|span|correlation|transaction|upload|invocation|message)-?ids?",
    r"(?:.*-)?(?:key|token|secret|credential|session-key|certificate)-(?:id|arn|name)",
    r"(?:.*-)?idempoten(?:cy|ce|t)(?:-.*)?|(?:.*-)?client-request-token|caller-reference",
    r"traceparent|tracestate|baggage|b3|sentry-trace|x-cloud-trace-context|cf-ray|x-amz-cf-id",
    r"x-amz-id-2|served-by",
    # Public values.
    r"(?:.*-)?public-?key(?:-.*)?|(?:.*-)?(?:site|publishable|verification|ssh-public)-key",
    r"(?:.*-)?fingerprint|(?:.*-)?key-fingerprint|(?:.*-)?thumbprint|jwks?(?:-uri)?|kid|x5.*",
    rf"(?:.*-)?(?:{_ABOUT})-(?:{_FACTS})(?:-(?!.*(?:key|secret|token|password)s?\Z).*)?",
    # The connection and the body.
    r"sec-.*|content-.*|accept(?:-.*)?|(?:.*-)?digest|(?:.*-)?checksum(?:-.*)?|x-goog-hash",
    r"signature-input|x-amz-signed-?headers|(?:.*-)?signature-(?:version|method|algorithm|type)",
    r"(?:api|client|sdk|app)-(?:version|name|platform)|www-authenticate|proxy-authenticate",
    r"access-control-.*|public-key-pins.*|x-stainless-.*|user-agent|server-timing|alt-svc",
)
"""Names that never mean a secret, as patterns for their normal form: not redacted here.

In the normal form words are in lower case, with one dash between them. A
leading ``x-`` is optional.
"""


def _words(text: bytes) -> frozenset[str]:
    return frozenset(text.decode("ascii").split())


SECRET_WORDS = _words(
    b"""
    password passwords passwd pwd passphrase passphrases passcode passcodes passwort
    contrasena keypass
    secret secrets secretkey clientsecret apikey apikeys credential credentials creds
    authorization authentication jwt bearer privatekey
    """
)
SECRET_PAIRS = _words(
    b"""
    api-key api-keys api-token api-tokens api-secret access-key access-keys access-token
    access-tokens refresh-token refresh-tokens id-token auth-token auth-key auth-code admin-token
    admin-key secret-key secret-token private-key private-token signing-key signing-secret
    encryption-key shared-key master-key account-key app-key app-token app-secret bot-token
    client-key user-token user-key service-token service-key session-token security-token
    license-key subscription-key webhook-secret deploy-key deploy-token server-key
    db-pass database-pass user-pass login-pass admin-pass root-pass mail-pass email-pass smtp-pass
    key-pass ftp-pass mysql-pass redis-pass integration-key write-key ingest-key storage-key
    functions-key host-key team-key
    """
)
OPAQUE_WORDS = _words(
    b"""
    token tokens key keys auth session sessions sessionid sessid sid jsessionid phpsessid sign
    signature sig hmac dpop assertion ticket cookie cookies csrf xsrf nonce otp pin appid apitoken
    license licence login saml samlresponse tokenkey pass verifier proof
    """
)
OPAQUE_PAIRS = _words(
    b"""
    session-id client-id-secret device-code user-code auth-id app-id art-api one-time
    authorization-code recovery-code backup-code reset-code invite-code magic-link
    """
)
_ENDINGS = ("token", "secret", "password", "passphrase", "apikey", "authorization", "sessionid")

_SEPARATORS = re.compile(rb"[-_.:/\s\[\]]+")
_CAMEL = re.compile(rb"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NEVER = re.compile(f"(?:x-)?(?:{'|'.join(NEVER)})")
_LONGEST = 80


def _plain(name: bytes) -> bytes:
    return unquote_to_bytes(name) if b"%" in name else name


def _normal(plain: bytes) -> str:
    spaced = _SEPARATORS.sub(b"-", _CAMEL.sub(b"-", plain)).strip(b"-").lower()
    return spaced.decode("latin-1")


@lru_cache(maxsize=8192)
def _sense(name: bytes) -> Sense:
    plain = _plain(name)
    normal = _normal(plain)
    if not normal or _NEVER.fullmatch(normal):
        return Sense.NOTHING
    # "DPoP" is one word, "apiKey" is two.
    whole = _SEPARATORS.sub(b"-", plain).lower().decode("latin-1")
    words = [*whole.split("-"), *normal.split("-")]
    pairs = {f"{one}-{other}" for one, other in pairwise(words)}
    if not SECRET_WORDS.isdisjoint(words) or not SECRET_PAIRS.isdisjoint(pairs):
        return Sense.CREDENTIAL
    if not OPAQUE_WORDS.isdisjoint(words) or not OPAQUE_PAIRS.isdisjoint(pairs):
        return Sense.OPAQUE
    return Sense.OPAQUE if words[-1].endswith(_ENDINGS) else Sense.NOTHING


def sense_of(name: bytes) -> Sense:
    """What a name says, whatever its case and its separators."""
    if len(name) > _LONGEST:
        return _sense.__wrapped__(name[-_LONGEST:])
    return _sense(name)


@lru_cache(maxsize=8192)
def is_never(name: bytes) -> bool:
    """Whether a name as written is one of ``NEVER``."""
    return _NEVER.fullmatch(_normal(_plain(name[-_LONGEST:]))) is not None
