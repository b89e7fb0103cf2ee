"""Idempotency tokens that a program generates for each call: they do not say what is requested.

An SDK sends one with a call, and the same one with its retries, so that the
server acts once. The names are those of the AWS service models (members with
the trait ``idempotencyToken``, except those whose name means something else in
another operation, such as ``requestId`` or ``QueryExecutionId``), of Square,
and of APIs that use the same words. Only a value that looks generated is left
out.
"""

from __future__ import annotations

import re
from typing import Any

from buffr.redaction.pseudonym import is_pseudonym

__all__ = [
    "is_token",
    "is_token_member",
    "may_hold_tokens",
    "without_tokens",
    "without_tokens_in_cbor",
    "without_tokens_in_xml",
]

_NAMES_AS_SENT = frozenset(
    b"""
    clientToken ClientToken client_token client-token
    clientRequestToken ClientRequestToken client_request_token
    CreationToken ExecuteToken ProvisionToken TerminateToken
    CreatorRequestId creatorRequestId UpdaterRequestId CallerReference callerReference
    idempotencyToken IdempotencyToken idempotency_token
    idempotencyKey IdempotencyKey idempotency_key idempotency-key
    """.split()
)
_NAMES = frozenset(name.decode() for name in _NAMES_AS_SENT)

_GENERATED = re.compile(
    rb"(?i)"
    rb"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"  # a UUID, with or without its hyphens
    rb"|[0-9a-hjkmnp-tv-z]{26}"  # a ULID
    rb"|[0-9a-f]{16,128}"
    rb"|1[0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]{1,9})?"  # seconds since 1970, or their thousandths
    rb"|(?:[a-z]{1,16}[-_:.]){0,3}"  # a prefix, such as the program's name
    rb"(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{32}|[0-9]{20,40}"
    rb"|1[0-9]{9,12}[-_.]?[0-9]{1,9})"
)
_LONG = re.compile(rb"[0-9A-Za-z_+/=-]{20,128}")
_DIGIT = re.compile(rb"[0-9]")
_KINDS_OF_CHARACTERS = (_DIGIT, re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"))
_FEWEST_DIGITS = 3

_NAME = b"(?:%b)" % b"|".join(sorted(_NAMES_AS_SENT, reverse=True))
_IN_XML = re.compile(rb"(<(?:[\w.-]+:)?%b>)\s*([^<>\s]{10,128})\s*(?=</)" % _NAME)
# Text strings of up to 23 bytes, and of up to 255 (RFC 8949 3).
_IN_CBOR = re.compile(rb"([\x60-\x77])(%b)\x78(.)" % _NAME, re.DOTALL)


def is_generated(value: bytes) -> bool:
    """Whether a value is machine-generated: a UUID, a hash, a time, or random characters.

    A stand-in in a recording counts as generated, too.
    """
    if _GENERATED.fullmatch(value) is not None or is_pseudonym(value):
        return True
    return (
        _LONG.fullmatch(value) is not None
        and all(kind.search(value) is not None for kind in _KINDS_OF_CHARACTERS)
        and len(_DIGIT.findall(value)) >= _FEWEST_DIGITS
    )


def is_token(name: bytes, value: bytes) -> bool:
    """Whether a field of a query or form is a token.

    Only the last part of a dotted name counts: query protocols nest
    structures.
    """
    return name.rpartition(b".")[2] in _NAMES_AS_SENT and is_generated(value)


def is_token_member(name: str, value: bytes) -> bool:
    """Whether a member of a JSON document is a token; ``value`` is as written."""
    return name in _NAMES and value[:1] == b'"' == value[-1:] and is_generated(value[1:-1])


def may_hold_tokens(document: bytes) -> bool:
    """Whether a JSON document may contain tokens: a quick search for their names.

    ``CallerReference`` is used in XML only.
    """
    find = document.rfind  # forwards, it looks for the last byte first, and quotes are frequent
    return find(b'oken"') >= 0 or find(b"dempotency") >= 0 or find(b'rRequestId"') >= 0


def without_tokens(document: Any) -> Any:
    """A JSON document without its tokens, at any depth. The argument is changed."""
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict):
            for name in _NAMES.intersection(holder):
                value = holder[name]
                if isinstance(value, str) and is_generated(value.encode()):
                    del holder[name]
            waiting += holder.values()
        elif isinstance(holder, list):
            waiting += holder
    return document


def without_tokens_in_xml(text: bytes) -> bytes:
    """XML without the content of token elements."""
    return _IN_XML.sub(lambda one: one[1] if is_generated(one[2]) else one[0], text)


def without_tokens_in_cbor(text: bytes) -> bytes:
    """CBOR (RFC 8949) with empty token values: a name is a map's key before its value."""
    parts: list[bytes] = []
    at = 0
    for found in _IN_CBOR.finditer(text):
        head, name, size = found[1][0] - 0x60, found[2], found[3][0]
        value = text[found.end() : found.end() + size]
        if found.start() >= at and head == len(name) and is_generated(value):
            parts.append(text[at : found.end(2)] + b"\x60")
            at = found.end() + size
    return b"".join([*parts, text[at:]]) if parts else text
