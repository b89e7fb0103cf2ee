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

from buffr.commands.ca import formats
from buffr.commands.ca.guide import DEFAULT_PASSWORD
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.commands.run.variables import ADDED, BUNDLE, VARIABLES
from buffr.errors import ConfigError
from buffr.tls.authority import Authority

__all__ = ["TrustFiles"]


@frozen
class TrustFiles:
    """Where they are.

    ``bundle`` has the system's roots, those that the user's own variables
    name, and ours; ``added`` the last two. ``java`` is the bundle as Java
    takes it; ``wgetrc`` and ``apt_conf`` are the user's own with the bundle
    in them, and for this user alone.
    """

    bundle: Path
    added: Path
    java: Path
    wgetrc: Path
    apt_conf: Path

    @classmethod
    def write(cls, directory: Path, authority: Authority, environ: Mapping[str, str]) -> TrustFiles:
        """Write them into a directory. Raises ``OSError``."""
        roots = (*_system_roots(), *_named(BUNDLE, environ))
        files = cls(
            bundle=directory / "bundle.pem",
            added=directory / "added.pem",
            java=directory / "trust.p12",
            wgetrc=directory / "wgetrc",
            apt_conf=directory / "apt.conf",
        )
        # apt reads the bundle as a user of its own, who need not see what else is here.
        directory.chmod(0o711)
        files.bundle.write_bytes(formats.bundle(authority, roots))
        files.added.write_bytes(formats.bundle(authority, tuple(_named(ADDED, environ))))
        files.java.write_bytes(_java_store(authority, roots))
        for public in (files.bundle, files.added, files.java):
            public.chmod(0o644)
        _write_private(
            files.wgetrc, _wgetrc(environ) + f"ca_certificate = {files.bundle}\n".encode()
        )
        ca_info = f'Acquire::https::CaInfo "{files.bundle}";\n'
        _write_private(files.apt_conf, _contents(environ.get("APT_CONFIG")) + ca_info.encode())
        return files


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


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
    return _contents(environ.get("WGETRC") or str(Path(environ.get("HOME", "/"), ".wgetrc")))


def _contents(name: str | None) -> bytes:
    """The user's own settings in a file, up to a line end; empty where there is none."""
    try:
        text = Path(name).read_bytes() if name else b""
    except OSError:
        return b""
    return text if not text or text.endswith(b"\n") else text + b"\n"
