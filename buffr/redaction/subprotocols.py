"""Secrets among the subprotocols of a WebSocket handshake (RFC 6455 11.3.4).

A browser's WebSocket cannot send additional headers, so some APIs accept the
key as another subprotocol: ``openai-insecure-api-key.sk-...``, a bearer token
after ``token`` or ``base64url.bearer.``, a JSON Web Token alone.
"""

from __future__ import annotations

import re

from buffr.redaction.fields import Replace
from buffr.redaction.pseudonym import is_pseudonym
from buffr.redaction.rules import RedactionRules

__all__ = ["SUBPROTOCOL", "in_subprotocols"]

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
