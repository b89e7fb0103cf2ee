"""The files that make clients trust buffr, for the time of one run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PKCS12Certificate,
    serialize_java_truststore,
)

from buffr.ca import formats
from buffr.ca.guide import DEFAULT_PASSWORD
from buffr.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.errors import ConfigError
from buffr.run.variables import ADDED, BUNDLE, VARIABLES
from buffr.tls.authority import Authority

__all__ = ["TrustFiles"]


@frozen
class TrustFiles:
    """Where they are.

    ``bundle`` has the system's roots, those that the user's own variables
    name, and ours; ``added`` the last two. ``java`` is the bundle as Java
    takes it, ``wgetrc`` the user's own with the bundle in it.
    """

    bundle: Path
    added: Path
    java: Path
    wgetrc: Path

    @classmethod
    def write(cls, directory: Path, authority: Authority, environ: Mapping[str, str]) -> TrustFiles:
        """Write them into a directory. Raises ``OSError``."""
        roots = (*_system_roots(), *_named(BUNDLE, environ))
        files = cls(
            bundle=directory / "bundle.pem",
            added=directory / "added.pem",
            java=directory / "trust.p12",
            wgetrc=directory / "wgetrc",
        )
        files.bundle.write_bytes(formats.bundle(authority, roots))
        files.added.write_bytes(formats.bundle(authority, tuple(_named(ADDED, environ))))
        files.java.write_bytes(_java_store(authority, roots))
        files.wgetrc.write_bytes(_wgetrc(environ) + f"ca_certificate = {files.bundle}\n".encode())
        return files


def _system_roots() -> tuple[bytes, ...]:
    """None where there are none: what a client then lacks, it lacked before."""
    certifi = certifi_file()
    try:
        return find_roots([*system_places(), *([certifi] if certifi else [])]).certificates
    except ConfigError:
        return ()


def _named(value: str, environ: Mapping[str, str]) -> Iterator[bytes]:
    """The certificates in the files that variables of one kind have named so far."""
    names = [one.name for one in VARIABLES if one.value == value]
    for path in dict.fromkeys(environ.get(name, "") for name in names):
        if path:
            yield from certificates_in(Path(path))


def _java_store(authority: Authority, roots: Iterable[bytes]) -> bytes:
    entries = [
        PKCS12Certificate(one, b"buffr-%d" % number) for number, one in enumerate(authority.trusted)
    ]
    with warnings.catch_warnings():
        # Some roots are older than the rules that cryptography warns of.
        warnings.simplefilter("ignore")
        for number, root in enumerate(dict.fromkeys(roots)):
            try:
                certificate = x509.load_der_x509_certificate(root)
            except ValueError:
                continue
            entries.append(PKCS12Certificate(certificate, b"root-%d" % number))
        encryption = BestAvailableEncryption(DEFAULT_PASSWORD.encode())
        return serialize_java_truststore(entries, encryption)


def _wgetrc(environ: Mapping[str, str]) -> bytes:
    """The user's own settings for wget, up to a line end."""
    named = environ.get("WGETRC")
    path = Path(named) if named else Path(environ.get("HOME", "/"), ".wgetrc")
    try:
        text = path.read_bytes()
    except OSError:
        return b""
    return text if text.endswith(b"\n") else text + b"\n"
