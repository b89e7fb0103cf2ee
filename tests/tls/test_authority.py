"""The authority's files: loaded, refused with a reason, and made exactly once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat
from handshakes import NOW, new_authority
from pairs import Files, any_path, as_ca, certificate, key_pem, write

from buffr.errors import ConfigError
from buffr.tls.authority import Authority, locked
from buffr.tls.minting import new_key

EC = new_key()
OTHER_EC = new_key()
RSA = rsa.generate_private_key(65537, 2048)


def _load(files: Files) -> Authority:
    return Authority.load_or_create(files.cert, files.key, NOW)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class TestANewOne:
    def test_is_made_with_safe_permissions(self, tmp_path: Path) -> None:
        """Key 0600, certificate 0644, and new directories 0700, whatever the umask."""
        directory = tmp_path / "new" / "newer"
        before = os.umask(0o000)
        try:
            authority = new_authority(directory)
        finally:
            os.umask(before)
        assert authority.created
        assert _mode(directory / "buffr-ca.key") == 0o600
        assert _mode(directory / "buffr-ca.pem") == 0o644
        assert _mode(directory) == _mode(directory.parent) == 0o700
        assert _names(directory) == ["buffr-ca.key", "buffr-ca.pem"]

    def test_is_readable_for_clients_under_a_strict_umask(self, tmp_path: Path) -> None:
        """The certificate is for everybody."""
        before = os.umask(0o077)
        try:
            new_authority(tmp_path)
        finally:
            os.umask(before)
        assert _mode(tmp_path / "buffr-ca.pem") == 0o644

    def test_leaves_a_directory_that_exists(self, tmp_path: Path) -> None:
        """Its permissions are somebody's decision."""
        tmp_path.chmod(0o755)
        new_authority(tmp_path)
        assert _mode(tmp_path) == 0o755

    def test_is_the_same_the_next_time(self, tmp_path: Path) -> None:
        """A client trusts it once."""
        first, second = new_authority(tmp_path), new_authority(tmp_path)
        assert second.certificate == first.certificate
        assert not second.created
        assert (tmp_path / "buffr-ca.pem").read_bytes() == first.pem

    def test_can_have_its_files_apart(self, tmp_path: Path) -> None:
        """The certificate may be in a volume that is shared, the key in one that is not."""
        cert, key = tmp_path / "shared" / "ca.pem", tmp_path / "own" / "ca.key"
        created = Authority.load_or_create(cert, key, NOW)
        assert Authority.load_or_create(cert, key, NOW).certificate == created.certificate

    def test_is_loaded_from_a_directory_that_cannot_be_written(self, tmp_path: Path) -> None:
        """A mounted secret is read-only."""
        created = new_authority(tmp_path)
        tmp_path.chmod(0o500)
        try:
            assert new_authority(tmp_path).certificate == created.certificate
        finally:
            tmp_path.chmod(0o700)

    def test_follows_a_shell_that_emptied_the_certificate(self, tmp_path: Path) -> None:
        """``buffr ca > buffr-ca.pem`` empties it first; with and without a key that goes well."""
        files = write(tmp_path, b"", b"")
        files.key.unlink()
        first = _load(files)
        assert files.cert.read_bytes() == first.pem
        files.cert.write_bytes(b"")
        second = _load(files)
        assert second.created
        assert files.cert.read_bytes() == second.pem
        leaf = second.leaf(("example.com",), NOW)
        leaf.verify_directly_issued_by(first.certificate)

    def test_does_not_show_its_keys(self, tmp_path: Path) -> None:
        """Neither does what shows in a traceback or a log."""
        assert "PrivateKey" not in repr(new_authority(tmp_path))


_FIRST_START = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from buffr.tls.authority import Authority
directory = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
cert, key = directory / "a" / "ca.pem", directory / "a" / "ca.key"
authority = Authority.load_or_create(cert, key, datetime.now(UTC))
print(authority.fingerprint, authority.created)
"""


class TestSimultaneousStarts:
    def test_make_one_pair(self, tmp_path: Path) -> None:
        """14 processes that start together have one CA, made by one of them (SEEDS 1.22)."""
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _FIRST_START, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(14)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=120)[0].split() for process in processes]
        assert len({fingerprint for fingerprint, _ in outputs}) == 1
        assert sorted(created for _, created in outputs) == ["False"] * 13 + ["True"]
        assert _names(tmp_path / "a") == ["ca.key", "ca.pem"]
        loaded = Authority.load_or_create(tmp_path / "a/ca.pem", tmp_path / "a/ca.key", NOW)
        assert loaded.fingerprint == outputs[0][0]

    def test_are_kept_apart_by_the_directory(self, tmp_path: Path) -> None:
        """Whoever comes second waits, not for ever; nothing is left in the directory."""
        with locked(tmp_path), pytest.raises(TimeoutError), locked(tmp_path, patience_s=0):
            pass
        with locked(tmp_path, patience_s=0):
            assert _names(tmp_path) == []


class TestAnExistingOne:
    @pytest.mark.parametrize(
        ("key", "form"),
        [
            pytest.param(EC, PrivateFormat.TraditionalOpenSSL, id="the Go program's"),
            pytest.param(EC, PrivateFormat.PKCS8, id="EC in PKCS 8"),
            pytest.param(RSA, PrivateFormat.TraditionalOpenSSL, id="RSA in PKCS 1"),
            pytest.param(RSA, PrivateFormat.PKCS8, id="RSA in PKCS 8"),
        ],
    )
    def test_is_used(
        self, tmp_path: Path, key: ec.EllipticCurvePrivateKey, form: PrivateFormat
    ) -> None:
        """EC or RSA; it has no key identifiers that leaves depend on."""
        cert = certificate(key)
        authority = _load(write(tmp_path, cert, key_pem(key, form)))
        assert authority.pem == cert
        assert not authority.created
        leaf = authority.leaf(("example.com",), NOW)
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(cert))

    def test_may_have_parameters_before_its_key(self, tmp_path: Path) -> None:
        """As ``openssl ecparam -genkey`` writes it."""
        lines = (
            b"-----BEGIN EC PARAMETERS-----",
            b"BggqhkjOPQMBBw==",
            b"-----END EC PARAMETERS-----",
        )
        files = write(tmp_path, certificate(EC), b"\n".join((*lines, key_pem(EC))))
        assert _load(files).certificate

    def test_brings_along_what_has_signed_it(self, tmp_path: Path) -> None:
        """A company's intermediate CA is sent with leaves; its root is for clients to have."""
        root_pem = certificate(RSA, any_path, name="root")
        root = x509.load_pem_x509_certificate(root_pem)
        own = certificate(EC, issuer=(root, RSA), name="issuing")
        authority = _load(write(tmp_path, own + root_pem, key_pem(EC)))
        assert authority.chain == (authority.certificate,)
        assert authority.trusted == (authority.certificate, root)
        assert authority.pem == own + root_pem

    def test_that_is_a_root_is_not_sent(self, tmp_path: Path) -> None:
        """A client either has it, or it is of no use to it."""
        assert new_authority(tmp_path).chain == ()

    def test_that_expires_meanwhile_mints_no_more(self, tmp_path: Path) -> None:
        """A process may live as long as its CA."""
        authority = new_authority(tmp_path)
        with pytest.raises(ConfigError, match="the CA expired on 2"):
            authority.leaf(("example.com",), NOW + timedelta(days=4000))


def test_pairs_are_as_the_go_program_writes_them() -> None:
    """The table's own promise: EC in SEC 1, and a CA as Go's x509 makes it."""
    assert key_pem(EC).startswith(b"-----BEGIN EC PRIVATE KEY-----")
    loaded = x509.load_pem_x509_certificate(certificate(EC, as_ca))
    assert loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
