"""Reads a certificate and its key from PEM files, and checks them.

Every problem is reported in one line: the file, the problem, and what to do.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from buffr.errors import ConfigError

__all__ = ["Pair", "PairKey", "check_times", "read_key", "read_pair", "refuse_shared_key"]

PairKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""Keys that can sign a certificate that TLS clients accept."""

_LARGEST_FILE_BYTES = 2**20
_LEAST_RSA_BITS = 2048


@frozen
class Pair:
    """A certificate, the chain that follows it in its file, and its key."""

    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...]
    key: PairKey = field(repr=False)


def read_pair(what: str, cert_path: Path, key_path: Path) -> Pair:
    """The pair in two PEM files; error messages begin with ``what``, their purpose.

    The first certificate must belong to the key. Raises ``ConfigError`` if a
    file cannot be read or is not PEM, if the key is encrypted or not usable in
    TLS, or if the two do not belong together.
    """
    first, *others = _certificates(f"{what} certificate {cert_path}", cert_path)
    key = read_key(f"{what} key {key_path}", key_path)
    if _public_bytes(first) != _public_bytes(key):
        raise ConfigError(
            f"{what} certificate {cert_path} and key {key_path} do not belong together",
            hint="set both files of the same pair",
        )
    return Pair(first, tuple(others), key)


def read_key(what: str, path: Path) -> PairKey:
    """The key in a PEM file: SEC1, PKCS 1 or PKCS 8.

    Raises ``ConfigError`` as ``read_pair`` does.
    """
    data = _contents(what, path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ConfigError(
            f"{what} is encrypted", hint=f"decrypt it: openssl pkey -in {path} -out PLAIN.key"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{what} does not contain a private key in PEM") from error
    return _usable(what, key)


def check_times(what: str, certificate: x509.Certificate, now: datetime, *, hint: str) -> None:
    """Raise ``ConfigError`` if a certificate has expired, or is not valid yet."""
    if now > certificate.not_valid_after_utc:
        raise ConfigError(f"{what} expired on {_day(certificate.not_valid_after_utc)}", hint=hint)
    if now < certificate.not_valid_before_utc:
        raise ConfigError(
            f"{what} is not valid before {_day(certificate.not_valid_before_utc)}",
            hint="check this machine's clock",
        )


def refuse_shared_key(what: str, key_path: Path) -> None:
    """Raise ``ConfigError`` if others than its owner can read or change a key.

    Group access is allowed for a key that belongs to root, if buffr is not
    root: system keys and mounted secrets are provided that way.
    """
    try:
        status = key_path.stat()
    except OSError as error:
        raise _unreadable(f"{what} key {key_path}", error) from error
    handed_out = status.st_uid == 0 != os.geteuid()
    forbidden = stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if handed_out else stat.S_IRWXG)
    mode = stat.S_IMODE(status.st_mode)
    if mode & forbidden:
        raise ConfigError(
            f"{what} key {key_path} can be read by others (its mode is {mode:04o})",
            hint=f"run: chmod 600 {key_path}",
        )


def _certificates(what: str, path: Path) -> Sequence[x509.Certificate]:
    data = _contents(what, path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise ConfigError(f"{what} does not contain a certificate in PEM") from error


def _usable(what: str, key: PrivateKeyTypes) -> PairKey:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise ConfigError(
                f"{what} has {key.key_size} bits; clients refuse RSA under {_LEAST_RSA_BITS}"
            )
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key
    raise ConfigError(f"{what} must be EC or RSA")


def _contents(what: str, path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{what} is not a file")
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(what, error) from error
    except ValueError as error:
        raise ConfigError(f"{what} is not a valid file name") from error
    if len(data) > _LARGEST_FILE_BYTES:
        raise ConfigError(f"{what} is over 1 MiB, too large for a PEM file")
    return data


def _unreadable(what: str, error: OSError) -> ConfigError:
    return ConfigError(f"{what} cannot be read: {error.strerror}")


def _public_bytes(
    owner: x509.Certificate | PairKey,
) -> bytes:
    return owner.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")
