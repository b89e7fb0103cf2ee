"""buffr's own certificate authority: made once, kept in two files, trusted by clients."""

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

    ``others`` are the certificates that stand behind its own in its file.
    ``created`` says that its files have just been made.
    """

    issuer: Issuer
    others: tuple[x509.Certificate, ...] = ()
    created: bool = False

    @classmethod
    def load_or_create(cls, cert_path: Path, key_path: Path, now: datetime) -> Authority:
        """The authority in these two PEM files, which are made when neither is there.

        However many processes start together, one makes them and all get the
        same. A new key has mode 0600, its certificate 0644, and directories
        that are made for them 0700. ``now`` has a time zone.

        Raises ``ConfigError``, with one line: only one of the files is there,
        a file cannot be read or written or is no PEM, the key is encrypted or
        can be read by others, the two do not belong together, or the
        certificate has expired, does not hold yet, or is none of a CA.
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
        """What clients have to trust: all certificates of its file."""
        return (self.certificate, *self.others)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends behind a leaf: nothing, where the authority is a root.

        Where another has signed it, a client needs what is between the leaf
        and the root that it has (RFC 8446 4.4.2).
        """
        return tuple(one for one in self.trusted if one.issuer != one.subject)

    @property
    def pem(self) -> bytes:
        """What clients have to trust, in PEM."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.trusted)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as browsers and trust stores show it."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    def leaf(self, names: Sequence[str], now: datetime) -> x509.Certificate:
        """A new certificate for these names, each as ``server_name`` gave it.

        Raises ``ConfigError`` when the authority has expired meanwhile.
        """
        check_times("the CA", self.certificate, now, hint="restart buffr with another CA")
        return self.issuer.leaf(names, now)


def _create_where_missing(cert_path: Path, key_path: Path, now: datetime) -> bool:
    """Whether this process has made the files; another may have, meanwhile."""
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
    """Make what is missing, alone.

    A shell that is told ``buffr ca > buffr-ca.pem`` has emptied that file
    before buffr runs. So an empty certificate is as good as none, and is made
    again for a key that is there: under the same name, so that clients who
    trust the one that it was go on doing so.
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
    """Whether something is there, an empty file apart."""
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
    """RFC 5280 4.2.1.9 and 4.2.1.3: a CA says so, and its key is for signing certificates."""
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
    """A file to be written: where, what, and with which permissions."""

    path: Path
    data: bytes
    mode: int


def directories_for(path: Path) -> None:
    """Make the directories of a file, closed to others; those that exist are left as they are."""
    missing = []
    directory = path.parent
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def locked(directory: Path, patience_s: float = 10.0) -> Iterator[None]:
    """Be alone in a directory, among the processes that ask for the same.

    A file system without locks (some network ones) locks nobody out. Raises
    ``TimeoutError`` when another process holds the lock for longer than that.
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
    """Write the files under other names, and give them theirs in this order.

    All are complete before the first has its name, and on the disk before
    this returns. What is there under these names is replaced.
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
    """Some file systems cannot; then the names are on the disk a little later."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
