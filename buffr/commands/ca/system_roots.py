"""The roots that this system trusts."""

from __future__ import annotations

import binascii
import re
import ssl
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from buffr.errors import ConfigError

__all__ = ["Roots", "certifi_file", "certificates_in", "find_roots", "system_places"]

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, the BSDs
)
"""Where systems keep them, for a Python whose OpenSSL was built for elsewhere."""


@frozen
class Roots:
    """Certificates (DER), each once, and the file or directory that they are from."""

    certificates: tuple[bytes, ...]
    source: Path


def system_places() -> tuple[Path, ...]:
    """Where the system's roots can be: what OpenSSL was built for, then well-known files.

    What ``SSL_CERT_FILE`` says is left out: it may well name our own file, and nothing else.
    """
    built = ssl.get_default_verify_paths()
    return tuple(map(Path, (built.openssl_cafile, *_BUNDLES, built.openssl_capath)))


def certifi_file() -> Path | None:
    """The roots of the package certifi, where it is installed."""
    try:
        import certifi  # noqa: PLC0415  # buffr does not depend on it
    except ImportError:
        return None
    return Path(certifi.where())


def find_roots(places: Iterable[Path]) -> Roots:
    """The roots of the first of these places that has any. Raises ``ConfigError`` for none."""
    for place in places:
        found = tuple(dict.fromkeys(certificates_in(place)))
        if found:
            return Roots(found, place)
    raise ConfigError(
        "this system's root certificates are nowhere to be found",
        hint="install the package ca-certificates, or certifi for Python",
    )


def certificates_in(place: Path) -> Iterator[bytes]:
    """The certificates in a file, or in a directory by OpenSSL's hashes (``c_rehash``)."""
    try:
        files = [place]
        if place.is_dir():
            files = sorted(one for one in place.iterdir() if _HASHED.fullmatch(one.name))
        contents = [one.read_bytes() for one in files]
    except OSError:
        return
    for content in contents:
        for block in _BLOCK.finditer(content):
            try:
                yield b64decode(block[1])
            except binascii.Error:
                continue
