"""A certificate database for NSS, which browsers on Linux read: an SQLite file.

The format is NSS's own ``cert9.db`` (its ``lib/softoken/sdb.c``): a row for
each object, a column for each PKCS #11 attribute. Numbers have four bytes, and
an empty value is spelled as below. A database without a password has no
signatures of who is trusted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import md5, sha1
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

__all__ = ["write_database"]

_EMPTY = bytes.fromhex("a5005a")
_CERTIFICATE, _NSS_TRUST = 1, 0xCE534353
_TRUSTED_DELEGATOR, _MUST_VERIFY = 0xCE534352, 0xCE534353
_YES, _NO = b"\1", b"\0"
_COLUMNS = (
    *("a0", "a1", "a2", "a3", "a11", "a80", "a81", "a82", "a101", "a102", "a170"),
    *("ace536358", "ace536359", "ace53635a", "ace53635b", "ace536360", "ace5363b4", "ace5363b5"),
)
_FIRST_ID = 0x10000001


def write_database(directory: Path, certificates: tuple[x509.Certificate, ...]) -> None:
    """Write one with these as authorities for servers, into a directory that exists.

    There is a second file for keys, ``key4.db``: a database that has none, and no password.
    """
    with closing(sqlite3.connect(directory / "key4.db")) as keys:
        keys.execute("CREATE TABLE nssPrivate (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a0, a102)")
        keys.execute(
            "CREATE TABLE metaData (id PRIMARY KEY UNIQUE ON CONFLICT REPLACE, item1, item2)"
        )
        keys.commit()
    with closing(sqlite3.connect(directory / "cert9.db")) as database:
        columns = ", ".join(_COLUMNS)
        database.execute(
            f"CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, {columns})"
        )
        rows = (row for one in certificates for row in (_certificate(one), _trust(one)))
        for number, row in enumerate(rows, _FIRST_ID):
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            database.execute(
                f"INSERT INTO nssPublic (id, {names}) VALUES (?, {marks})",  # noqa: S608
                (number, *row.values()),
            )
        database.commit()


def _number(value: int) -> bytes:
    return value.to_bytes(4)


def _identity(certificate: x509.Certificate) -> dict[str, bytes]:
    """The attributes by which an object is of this certificate: issuer and serial number."""
    serial = certificate.serial_number
    encoded = serial.to_bytes(serial.bit_length() // 8 + 1)
    return {
        "a1": _YES,  # a token object
        "a2": _NO,  # not private
        "a81": certificate.issuer.public_bytes(),
        "a82": bytes((2, len(encoded))) + encoded,
        "a170": _YES,  # modifiable
    }


def _certificate(certificate: x509.Certificate) -> dict[str, bytes]:
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return {
        **_identity(certificate),
        "a0": _number(_CERTIFICATE),
        "a3": b"buffr",
        "a11": certificate.public_bytes(Encoding.DER),
        "a80": _number(0),  # of X.509
        "a101": certificate.subject.public_bytes(),
        "a102": key.digest,
    }


def _trust(certificate: x509.Certificate) -> dict[str, bytes]:
    der = certificate.public_bytes(Encoding.DER)
    return {
        **_identity(certificate),
        "a0": _number(_NSS_TRUST),
        "a3": _EMPTY,
        "ace536358": _number(_TRUSTED_DELEGATOR),  # servers
        "ace536359": _number(_MUST_VERIFY),  # clients
        "ace53635a": _number(_MUST_VERIFY),  # mail
        "ace53635b": _number(_MUST_VERIFY),  # code
        "ace536360": _NO,  # step-up
        "ace5363b4": sha1(der, usedforsecurity=False).digest(),
        "ace5363b5": md5(der, usedforsecurity=False).digest(),
    }
