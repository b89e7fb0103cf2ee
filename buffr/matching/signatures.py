"""Pre-signed URLs without their temporary signature: it is new for each request."""

from __future__ import annotations

from buffr.matching.forms import field_name, without_fields

__all__ = ["unsigned"]

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
    for field in query.split(b"&"):
        name = field_name(field)
        by_name.setdefault(name.lower(), set()).add(name)
    for signs, fields in _SCHEMES:
        if signs <= by_name.keys():
            names = [name for field in fields for name in by_name.get(field, ())]
            return without_fields(query, frozenset(names))
    return query
