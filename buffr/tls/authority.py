"""buffr's own certificate authority: created once, kept in two files, trusted by clients.

However many processes start together, the files are created exactly once.
Their directory is the lock, so nothing but the two files is left in it. Each
gets its name only when it is complete, the key before the certificate.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from buffr.errors import ConfigError
from buffr.stores.writable import why_not
from buffr.tls.minting import Issuer, new_authority, new_key
from buffr.tls.pair import PairKey, check_times, read_key, read_pair, refuse_shared_key

__all__ = ["Authority", "PemFile", "directories_for", "locked", "write_new"]

_WHAT = "CA"
_PAUSE_S = 0.005


@frozen
class Authority:
    """A certificate authority that signs leaves, all for one key of this process.

    ``others`` are the certificates after its own in its file. ``created`` says
    that its files have just been created.
    """

    issuer: Issuer
    others: tuple[x509.Certificate, ...] = ()
    created: bool = False

    @classmethod
    def load_or_create(cls, cert_path: Path, key_path: Path, now: datetime) -> Authority:
        """The authority in these two PEM files, which are created if neither exists.

        However many processes start together, one creates them and all get the
        same. A new key has mode 0600, its certificate 0644, and new
        directories 0700. ``now`` has a time zone.

        Raises ``ConfigError``, with one line: only one of the files exists, a
        file cannot be read or written or is not PEM, the key is encrypted or
        can be read by others, the two do not match, or the certificate has
        expired, is not valid yet, or is not a CA's.
        """
        created = _create_where_missing(cert_path, key_path, now)
        refuse_shared_key(_WHAT, key_path)
        pair = read_pair(_WHAT, cert_path, key_path)
        _check(pair.certificate, cert_path, key_path, now)
        return cls(Issuer(pair.certificate, pair.key, new_key()), pair.others, created)

    @property
    def certificate(self) -> x509.Certificate:
        return self.issuer.certificate

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """The certificates that clients have to trust: all in its file."""
        return (self.certificate, *self.others)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends after a leaf: nothing if the authority is a root.

        If another authority has signed it, a client needs the certificates
        between the leaf and the root that it trusts (RFC 8446 4.4.2).
        """
        return tuple(one for one in self.trusted if one.issuer != one.subject)

    @property
    def pem(self) -> bytes:
        """The certificates that clients have to trust, in PEM."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.trusted)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as browsers and trust stores show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def leaf(self, names: Sequence[str], now: datetime) -> x509.Certificate:
        """A new certificate for these names, each as returned by ``server_name``.

        Raises ``ConfigError`` if the authority has expired meanwhile.
        """
        check_times("the CA", self.certificate, now, hint="restart buffr with another CA")
        return self.issuer.leaf(names, now)


def _create_where_missing(cert_path: Path, key_path: Path, now: datetime) -> bool:
    """Create the files if they are missing. Returns whether this process did."""
    try:
        if _filled(cert_path) and key_path.exists():
            return False
        directories_for(key_path)
        directories_for(cert_path)
        with locked(key_path.parent):
            return _create(cert_path, key_path, now)
    except (OSError, ValueError) as error:
        why = why_not(error) if isinstance(error, OSError) else error
        raise ConfigError(
            f"the CA cannot be made as {str(cert_path)!a} and {str(key_path)!a}: {why}",
            hint="let buffr write there, or name files elsewhere (BUFFR_CA_CERT, BUFFR_CA_KEY)",
        ) from error


def _create(cert_path: Path, key_path: Path, now: datetime) -> bool:
    """Create what is missing, with the lock held.

    For ``buffr ca > buffr-ca.pem``, the shell empties that file before buffr
    runs. So an empty certificate counts as missing, and is created again for
    an existing key: under the same name, so that clients that trust the old
    one trust the new one as well.
    """
    has_key = key_path.exists()
    if _filled(cert_path):
        if has_key:
            return False
        raise _half(cert_path, key_path)
    if has_key and not cert_path.exists():
        raise _half(key_path, cert_path)
    if has_key:
        refuse_shared_key(_WHAT, key_path)
        key = read_key(f"{_WHAT} key {key_path}", key_path)
        write_new([_certificate_file(cert_path, key, now)])
    else:
        new = new_key()
        pem = new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key_file = PemFile(key_path, pem, 0o600)
        write_new([key_file, _certificate_file(cert_path, new, now)])
    return True


def _filled(path: Path) -> bool:
    """Whether the path exists and is not an empty file."""
    if not path.exists():
        return False
    status = path.stat()
    return status.st_size > 0 or not stat.S_ISREG(status.st_mode)


def _half(present: Path, missing: Path) -> ConfigError:
    return ConfigError(
        f"the CA has {present} but not {missing}",
        hint=f"put the missing file back, or remove {present} and a new CA is made",
    )


def _certificate_file(path: Path, key: PairKey, now: datetime) -> PemFile:
    return PemFile(path, new_authority(key, now).public_bytes(Encoding.PEM), 0o644)


def _check(certificate: x509.Certificate, cert_path: Path, key_path: Path, now: datetime) -> None:
    what = f"{_WHAT} certificate {cert_path}"
    hint = f"remove it and {key_path}, and a new CA is made, which clients have to trust again"
    check_times(what, certificate, now, hint=hint)
    try:
        signs = _may_sign(certificate.extensions)
    except ValueError as error:
        raise ConfigError(f"{what} cannot be read: its extensions are malformed") from error
    if not signs:
        raise ConfigError(
            f"{what} is no CA's: it may not sign certificates",
            hint="give the certificate of an authority, not of a server",
        )


def _may_sign(extensions: x509.Extensions) -> bool:
    """Whether it is a CA whose key may sign certificates (RFC 5280 4.2.1.9, 4.2.1.3)."""
    try:
        if not extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


@frozen
class PemFile:
    """A file to be written: its path, content and mode."""

    path: Path
    data: bytes
    mode: int


def directories_for(path: Path) -> None:
    """Create a file's missing directories, with mode 0700."""
    missing = []
    directory = path.parent
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(directory: Path, patience_s: float = 10.0) -> Iterator[None]:
    """Hold the lock of a directory.

    A file system without locks (some network ones) locks nobody out. Raises
    ``TimeoutError`` if another process holds the lock for longer than ``patience_s``.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for_lock(descriptor, patience_s)
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(error.errno, "another process holds its lock") from error
            time.sleep(_PAUSE_S)
        except OSError:
            return
        else:
            return


def write_new(files: Sequence[PemFile]) -> None:
    """Write the files under temporary names, then rename them in this order.

    All are complete before the first is renamed, and on the disk before this
    returns. Existing files are replaced.
    """
    with ExitStack() as leftovers:
        waiting = []
        for one in files:
            temporary = one.path.with_name(f".{one.path.name}.{os.getpid()}.new")
            leftovers.callback(temporary.unlink, missing_ok=True)
            _write(temporary, one)
            waiting.append((temporary, one.path))
        for temporary, path in waiting:
            temporary.replace(path)
            _sync_directory(path.parent)


def _write(temporary: Path, one: PemFile) -> None:
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, one.mode)
        file.write(one.data)
        file.flush()
        os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    """Sync the names. Some file systems cannot; there they reach the disk a little later."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
