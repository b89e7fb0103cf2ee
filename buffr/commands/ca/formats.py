"""The forms in which clients take a CA."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
)

from buffr.tls.authority import Authority

__all__ = ["bundle", "der", "p12"]


def der(authority: Authority) -> bytes:
    """The authority's certificate alone, in binary (ITU-T X.690)."""
    return authority.certificate.public_bytes(Encoding.DER)


def p12(authority: Authority, password: str) -> bytes:
    """A store of trusted certificates (RFC 7292), with the mark that Java asks for.

    There is no key in it. Java reads no store without a password.
    """
    entries = [
        PKCS12Certificate(one, f"buffr-{number}".encode() if number else b"buffr")
        for number, one in enumerate(authority.trusted)
    ]
    return serialize_java_truststore(entries, BestAvailableEncryption(password.encode()))


def bundle(authority: Authority, roots: Sequence[bytes]) -> bytes:
    """The system's roots (DER) and then ours, in PEM, for clients that know one file only."""
    ours = [one.public_bytes(Encoding.DER) for one in authority.trusted]
    all_roots = dict.fromkeys([*(one for one in roots if one not in ours), *ours])
    return "".join(map(ssl.DER_cert_to_PEM_cert, all_roots)).encode("ascii")
