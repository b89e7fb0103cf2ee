"""Request targets in the form that keys use.

A pre-signed URL has one without its temporary signature, which is new for each
request.
"""

from __future__ import annotations

import re
from string import ascii_letters, digits
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from buffr.matching.forms import field_name, sorted_pairs, without_fields
from buffr.matching.idempotency import is_token
from buffr.matching.ignore import Ignore
from buffr.matching.rules import Reading
from buffr.redaction.fields import Replace, in_target
from buffr.redaction.for_keys import KeyRedaction
from buffr.redaction.own_credentials import NOTHING_KNOWN, KnownSecrets

__all__ = ["TargetRules", "in_one_spelling", "legal_target", "unsigned"]

# The fields that show that a query is signed, and those that sign it or change with the time.
_SCHEMES = (
    (
        frozenset((b"x-amz-signature",)),
        frozenset(
            b"""
            x-amz-algorithm x-amz-credential x-amz-date x-amz-expires x-amz-signedheaders
            x-amz-signature x-amz-security-token x-amz-content-sha256
            """.split()
        ),
    ),
    (
        frozenset((b"x-goog-signature",)),
        frozenset(
            b"""
            x-goog-algorithm x-goog-credential x-goog-date x-goog-expires x-goog-signedheaders
            x-goog-signature
            """.split()
        ),
    ),
    (
        frozenset((b"awsaccesskeyid", b"signature", b"expires")),
        frozenset((b"awsaccesskeyid", b"signature", b"expires", b"x-amz-security-token")),
    ),
    (
        frozenset((b"googleaccessid", b"signature", b"expires")),
        frozenset((b"googleaccessid", b"signature", b"expires")),
    ),
    # Amazon CloudFront.
    (
        frozenset((b"key-pair-id", b"signature")),
        frozenset((b"key-pair-id", b"signature", b"expires", b"policy")),
    ),
    # Azure's shared access signatures.
    (
        frozenset((b"sig", b"sv")),
        frozenset((b"sig", b"st", b"se", b"skoid", b"sktid", b"skt", b"ske", b"sks", b"skv")),
    ),
)


def unsigned(query: bytes) -> bytes:
    """The query without its signature, key and times; a query that is not signed is unchanged."""
    if b"ig" not in query.lower():
        return query
    by_name: dict[bytes, set[bytes]] = {}
    for pair in query.split(b"&"):
        name = field_name(pair)
        by_name.setdefault(name.lower(), set()).add(name)
    for signs, fields in _SCHEMES:
        if signs <= by_name.keys():
            names = [name for field in fields for name in by_name.get(field, ())]
            return without_fields(query, frozenset(names))
    return query


# RFC 3986 3.3 and 3.4. Square brackets are illegal in a query too, but many clients send them
# unencoded, and they are never decoded there.
_ILLEGAL_IN_PATH = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^%!$&'()*+,\-./0-9:;=@A-Z_a-z~]")
_PLAIN_PATH = b"!$&'()*+,-./:;=@_~" + (ascii_letters + digits).encode()
_ILLEGAL_IN_QUERY = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^%!$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]")


def _encode(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(found[0])


def legal_target(target: bytes) -> bytes:
    """The target with every byte percent-encoded that RFC 3986 forbids.

    Recordings of the Go program contain decoded paths (``/a b``, ``/ü``) that
    were encoded in the request. A legal target is unchanged, ``%2f`` included.
    """
    path, mark, query = target.partition(b"?")
    legal = _ILLEGAL_IN_PATH.sub(_encode, path)
    return legal + mark + _ILLEGAL_IN_QUERY.sub(_encode, query) if mark else legal


_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _respelled(found: re.Match[bytes]) -> bytes:
    byte = int(found[1], 16)
    return bytes((byte,)) if byte in _UNRESERVED else found[0].upper()


def in_one_spelling(text: bytes) -> bytes:
    """A path or query in one of its equivalent spellings (RFC 3986 6.2.2.1 and 6.2.2.2).

    ``%7E`` becomes ``~`` and ``%2f`` becomes ``%2F``, but neither becomes
    ``/``. Dots are unchanged.
    """
    return _ESCAPE.sub(_respelled, text) if b"%" in text else text


@frozen(eq=False)
class TargetRules:
    """Which parts of a target count. ``credential`` replaces a credential's value."""

    redaction: KeyRedaction
    credential: Replace
    ignore: Ignore = field(factory=Ignore)
    left_out: frozenset[bytes] = frozenset()
    signatures_left_out: bool = True
    query_in_order: bool = True
    tokens_left_out: bool = False
    path_counts: bool = True
    query_counts: bool = True
    query_as_pairs: bool = False
    _leaves_out: bool = field(init=False)

    @_leaves_out.default
    def _has_rules(self) -> bool:
        """Whether rules leave something out."""
        concerns = self.ignore.concerns
        return bool(self.left_out) or concerns("request.path") or concerns("request.query")

    def parts(
        self, target: bytes, known: KnownSecrets = NOTHING_KNOWN, reading: Reading | None = None
    ) -> tuple[bytes, bytes]:
        """The path, and the query with its ``?``.

        Bytes count in order: ``%2F`` is not ``/``, ``/x?`` is not ``/x``. A
        query in which nothing counts is the same as no query. Ignore rules see
        the target as it was sent, before equivalent spellings are unified.
        ``known`` credentials are replaced wherever they appear. ``reading``
        decides which fields are credentials; the default is the one for
        recordings.
        """
        reading = reading or Reading(self.redaction.rules)
        named = in_target(target, reading, self.credential)
        return self._counting(self.redaction.text(named, known))

    def in_clear(self, target: bytes) -> tuple[bytes, bytes] | None:
        """The same for a recording's target if nothing in it is a credential.

        ``None`` if some of it may be left out: a stand-in, too, would be.
        """
        if self._leaves_out:
            return None
        if self.path_counts and not target.translate(None, _PLAIN_PATH):
            return target, b""  # like most
        if b"?" in target and (
            (self.tokens_left_out and b"oken=" in target)
            or (self.signatures_left_out and b"ig" in target.lower())
        ):
            return None
        return self._counting(target)

    def _counting(self, target: bytes) -> tuple[bytes, bytes]:
        path, mark, query = legal_target(target).partition(b"?")
        path = in_one_spelling(self.ignore.replaced("request.path", path))
        if not self.path_counts:
            path = b""
        if not self.query_counts:
            return path, b""
        if not query:
            return path, b"" if self.query_as_pairs else mark
        counting = without_fields(query, self.left_out)
        if self.tokens_left_out:
            counting = _without_tokens(counting)
        if self.signatures_left_out:
            counting = unsigned(counting)
        if not counting:
            return path, b""
        if not self.query_in_order:
            fields = sorted(counting.split(b"&"), key=field_name)
            counting = b"&".join(fields)
        counting = self.ignore.replaced("request.query", counting)
        if self.query_as_pairs:
            pairs = sorted_pairs(counting)
            return path, mark + pairs if pairs else b""
        return path, mark + in_one_spelling(counting)


def _without_tokens(query: bytes) -> bytes:
    """The query without generated idempotency tokens."""
    if b"oken=" not in query:
        return query
    kept = [
        field
        for field in query.split(b"&")
        if not is_token(field_name(field), unquote_to_bytes(field.partition(b"=")[2]))
    ]
    return b"&".join(kept)
