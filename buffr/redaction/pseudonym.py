"""Stand-ins for secrets.

``REDACTED-name-hex8`` is the stand-in for a credential from the fixed lists;
match keys treat all of these as equal. ``REDACTED_name_hex8`` is the stand-in
for a value that is hidden on disk but still distinguishes requests by its
digest. In both the digest may be missing.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import unquote_to_bytes

__all__ = [
    "CONSTANT",
    "COUNTED",
    "COUNTED_MARK",
    "HEX_MARK",
    "MARK",
    "NO_DIGEST",
    "STAND_IN",
    "is_pseudonym",
    "pseudonym",
    "slug_of",
]

STAND_IN = b"REDACTED"
"""The beginning of every stand-in, and the whole of one that reveals nothing."""

MARK = b"REDACTED-"
"""The beginning of a stand-in for a credential."""

COUNTED_MARK = b"REDACTED_"
"""The beginning of a stand-in for a value that counts in match keys."""

HEX_MARK = b"4edac7ed"
"""The beginning of a stand-in that is a UUID or hexadecimal digits, in either case."""

NO_DIGEST = b"00000000"
"""In a stand-in of hexadecimal digits, replaces a digest that would help to guess."""

GUESSABLE_BYTES = 20
"""Shorter secrets have no digest: with the salt, all of them could be tried."""

_JWT = rb"(?:eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.)?"
_UUID = rb"4edac7ed-000%b-4000-8000-0000([0-9a-f]{8})"
_HEX = rb"(?i:4edac7ed0000000%b0{8,104}([0-9a-f]{8}))"

CONSTANT = rb"%bREDACTED(?:-[a-z0-9]+)+|%b|%b" % (_JWT, _UUID % b"0", _HEX % b"0")
"""A stand-in for a credential, in all its forms."""

COUNTED = rb"%bREDACTED_[a-z0-9]+(?:-[a-z0-9]+)*(?:_([0-9a-f]{8}))?|%b|%b" % (
    _JWT,
    _UUID % b"1",
    _HEX % b"1",
)
"""A stand-in for a value that counts in match keys, in all its forms; a group has its digest."""

_FORM = re.compile(rb"REDACTED|%b|%b" % (CONSTANT, COUNTED))
_GUESSABLE_NAME = re.compile(rb"pass|pwd|secret")
_CHANGES = re.compile(rb"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_NOT_IN_NAMES = re.compile(rb"[^a-z0-9]+")
_LONGEST_NAME = 40


def is_pseudonym(value: bytes) -> bool:
    """Whether a value was put there by redaction; such a value is not redacted again."""
    return _FORM.fullmatch(value) is not None


def slug_of(name: bytes) -> bytes:
    """The name in a stand-in, from a field's name as sent."""
    return _NOT_IN_NAMES.sub(b"-", _plain(name))[:_LONGEST_NAME].strip(b"-") or b"value"


def _plain(name: bytes) -> bytes:
    return (unquote_to_bytes(name) if b"%" in name else name).lower()


def pseudonym(
    name: bytes,
    secret: bytes,
    salt: bytes,
    *,
    digest: bool = True,
    counted: bool = False,
    compared: bool = False,
) -> bytes:
    """``REDACTED-<name>-<hex8>``, or with ``_`` if it is ``counted``.

    Valid in a URL, a cookie and a token.

    ``name`` and ``secret`` are as sent; the digest is that of the
    percent-decoded secret, so that a secret has the same digest everywhere. It
    is left out (if ``digest`` is false, for a name like ``password``, or for a
    short secret) where it would help to guess. A ``counted`` secret that is
    random has a digest under any name: otherwise two requests would become
    one. A ``compared`` secret, which distinguishes requests by a rule, has one
    under any name. An empty secret stays empty.
    """
    if not secret or is_pseudonym(secret):
        return secret
    slug = slug_of(name)
    exact = unquote_to_bytes(secret) if b"%" in secret else secret
    if not digest or _is_guessable(b"" if compared else name, exact, counted=counted):
        return (COUNTED_MARK if counted else MARK) + slug
    hex8 = hmac.digest(salt, exact, "sha256")[:4].hex().encode()
    return (b"REDACTED_%b_%b" if counted else b"REDACTED-%b-%b") % (slug, hex8)


def _is_guessable(name: bytes, secret: bytes, *, counted: bool) -> bool:
    if len(secret) < GUESSABLE_BYTES:
        return True
    if _GUESSABLE_NAME.search(_plain(name)) is None:
        return False
    # Words that a person has joined rarely alternate between letters and digits.
    return not counted or 6 * len(_CHANGES.findall(secret)) < len(secret)
