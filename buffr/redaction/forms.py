"""Stand-ins in the format of the secret, so that programs can still parse them.

A JWT (RFC 7519) remains three parts whose harmless claims are readable, a UUID
remains a UUID, and hexadecimal digits keep their number. Everything else
becomes ``REDACTED`` and a name.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Any

from buffr.redaction.pseudonym import HEX_MARK, MARK, NO_DIGEST, is_pseudonym, pseudonym

__all__ = ["stand_in"]

_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(rb"[0-9a-f]{32,128}|[0-9A-F]{32,128}")
_JWT = re.compile(rb"(eyJ[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
_DIGEST = re.compile(rb"[-_]([0-9a-f]{8})\Z")
_FLAG_BYTES = 8
_MOST_DEPTH = 8

_READABLE = frozenset(
    b"""
    iss aud exp iat nbf auth_time azp typ token_use ver acr amr scope scp scopes roles role
    permissions gty locale zoneinfo email_verified phone_number_verified client_id appid tid
    cty alg kid idp at_use_nbf entitlements grant_type events
    """.decode().split()
)
"""Claims that do not identify the token's subject."""


def stand_in(
    name: bytes,
    secret: bytes,
    salt: bytes,
    *,
    digest: bool = True,
    counted: bool = False,
    compared: bool = False,
) -> bytes:
    """The stand-in for a secret: as in ``pseudonym``, or in the secret's own format.

    ``name`` and ``secret`` are as sent; the other arguments are as in
    ``pseudonym``.
    """
    plain = pseudonym(name, secret, salt, digest=digest, counted=counted, compared=compared)
    if not secret or is_pseudonym(secret):
        return plain
    found = _DIGEST.search(plain)
    hex8 = NO_DIGEST if found is None else found[1]
    if _UUID.fullmatch(secret):
        return b"%b-000%d-4000-8000-0000%b" % (HEX_MARK, counted, hex8)
    if _HEX.fullmatch(secret):
        return _of_hex(secret, hex8, counted=counted)
    jwt = _JWT.fullmatch(secret)
    return plain if jwt is None else _of_jwt(jwt, plain, salt)


def _of_hex(secret: bytes, hex8: bytes, *, counted: bool) -> bytes:
    start = HEX_MARK + (b"1" if counted else b"0").rjust(_FLAG_BYTES, b"0")
    made = start.ljust(len(secret) - len(hex8), b"0") + hex8
    return made.upper() if secret.isupper() else made


def _of_jwt(jwt: re.Match[bytes], plain: bytes, salt: bytes) -> bytes:
    payload = jwt[2]
    try:
        claims = json.loads(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))
    except (Error, ValueError, RecursionError):
        return plain
    if not isinstance(claims, dict):
        return plain
    claims_json = json.dumps(_claims(claims, salt, _MOST_DEPTH), separators=(",", ":"))
    encoded = urlsafe_b64encode(claims_json.encode()).rstrip(b"=")
    return b"%b.%b.%b" % (jwt[1], encoded, _as_signature(plain))


def _as_signature(plain: bytes) -> bytes:
    """A stand-in that can be decoded: no base64 has a length of 4n + 1 (RFC 4648 4).

    Some programs decode signatures that they do not verify.
    """
    if len(plain) % 4 != 1:
        return plain
    return plain[: len(MARK)] + b"a-" + plain[len(MARK) :]


def _claims(claims: dict[str, Any], salt: bytes, depth: int) -> dict[str, Any]:
    """The claims, where only those that do not identify a person keep their texts."""
    return {
        name: value if name in _READABLE else _hidden(name, value, salt, depth)
        for name, value in claims.items()
    }


def _hidden(name: str, value: Any, salt: bytes, depth: int) -> Any:
    if isinstance(value, str):
        secret = value.encode("utf-8", "surrogatepass")
        return pseudonym(name.encode("utf-8", "surrogatepass"), secret, salt).decode("ascii")
    if isinstance(value, list):
        return [_hidden(name, each, salt, depth - 1) for each in value] if depth else []
    if isinstance(value, dict):
        return _claims(value, salt, depth - 1) if depth else {}
    return value
