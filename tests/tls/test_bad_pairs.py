"""Files that cannot be an authority's, each refused with one line that says why."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat
from handshakes import NOW
from pairs import Files, any_path, certificate, encrypted_pem, key_pem, write

from buffr.errors import ConfigError
from buffr.tls.authority import Authority
from buffr.tls.minting import new_key

EC = new_key()
OTHER_EC = new_key()
RSA = rsa.generate_private_key(65537, 2048)


def _load(files: Files) -> Authority:
    return Authority.load_or_create(files.cert, files.key, NOW)


def _nothing(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder


def _no_ca(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)


def _signs_nothing(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return any_path(builder).add_extension(usage, critical=True)


_OLD = certificate(EC, first=NOW - timedelta(days=40), life=timedelta(days=30))
_COMING = certificate(EC, first=NOW + timedelta(days=3))
_GARBAGE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_WEAK = rsa.generate_private_key(65537, 1024)
_ED = ed25519.Ed25519PrivateKey.generate()

BAD_PAIRS: dict[str, tuple[bytes, bytes, str]] = {
    "mismatched": (certificate(EC), key_pem(OTHER_EC), "do not belong together"),
    "of two kinds": (certificate(EC), key_pem(RSA), "do not belong together"),
    "expired": (_OLD, key_pem(EC), r"buffr-ca\.pem expired on 2\d\d\d-.*; remove it and"),
    "of the future": (_COMING, key_pem(EC), "is not valid before 2.*clock"),
    "a server's": (certificate(EC, _no_ca), key_pem(EC), "may not sign certificates"),
    "of version 1 kind": (certificate(EC, _nothing), key_pem(EC), "may not sign certificates"),
    "no signer": (certificate(EC, _signs_nothing), key_pem(EC), "may not sign certificates"),
    "no PEM certificate": (
        b"hello",
        key_pem(EC),
        "certificate .* does not contain a certificate in PEM",
    ),
    "broken certificate": (_GARBAGE, key_pem(EC), "does not contain a certificate in PEM"),
    "key as certificate": (key_pem(EC), key_pem(EC), "does not contain a certificate in PEM"),
    "no PEM key": (certificate(EC), b"\0\xff", "key .* does not contain a private key in PEM"),
    "empty key": (certificate(EC), b"", "does not contain a private key in PEM"),
    "certificate as key": (
        certificate(EC),
        certificate(EC),
        "does not contain a private key in PEM",
    ),
    "encrypted": (certificate(EC), encrypted_pem(EC), "key .* is encrypted; decrypt it: openssl"),
    "weak": (certificate(_WEAK), key_pem(_WEAK), "1024 bits"),
    "Ed25519": (certificate(_ED), key_pem(_ED, PrivateFormat.PKCS8), "must be EC or RSA"),
    "huge": (certificate(EC), b" " * (2**20 + 1), "over 1 MiB"),
}


class TestABadPair:
    @pytest.mark.parametrize("name", BAD_PAIRS)
    def test_is_refused(self, tmp_path: Path, name: str) -> None:
        """One line, with the file and what it is; the files are left as they are."""
        cert, key, message = BAD_PAIRS[name]
        files = write(tmp_path, cert, key)
        with pytest.raises(ConfigError, match=message) as caught:
            _load(files)
        assert str(tmp_path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert (files.cert.read_bytes(), files.key.read_bytes()) == (cert, key)

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o602, 0o660, 0o777])
    def test_with_a_key_for_all_is_refused(self, tmp_path: Path, mode: int) -> None:
        """It says what to run."""
        files = write(tmp_path, certificate(EC), key_pem(EC), mode=mode)
        with pytest.raises(ConfigError, match=f"run: chmod 600 {files.key}"):
            _load(files)

    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_with_a_key_for_its_owner_is_none(self, tmp_path: Path, mode: int) -> None:
        """These are good."""
        assert _load(write(tmp_path, certificate(EC), key_pem(EC), mode=mode))

    @pytest.mark.parametrize("missing", ["cert", "key"])
    def test_that_is_half_is_refused(self, tmp_path: Path, missing: str) -> None:
        """It names both files, and makes neither."""
        files = write(tmp_path, certificate(EC), key_pem(EC))
        getattr(files, missing).unlink()
        with pytest.raises(ConfigError, match=r"the CA has .* but not .*; put the missing"):
            _load(files)
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize("which", ["cert", "key"])
    def test_that_is_no_file_is_refused(self, tmp_path: Path, which: str) -> None:
        """Nothing hangs on a pipe, and a directory is none."""
        files = write(tmp_path, certificate(EC), key_pem(EC))
        path = getattr(files, which)
        path.unlink()
        os.mkfifo(path, 0o600)
        with pytest.raises(ConfigError):
            _load(files)

    @pytest.mark.parametrize("place", ["file/x/ca", "nul\0/ca"])
    def test_that_cannot_be_made_is_refused(self, tmp_path: Path, place: str) -> None:
        """Where a directory cannot be, the error says so."""
        (tmp_path / "file").write_bytes(b"")
        path = tmp_path / place
        with pytest.raises(ConfigError, match="cannot be made"):
            Authority.load_or_create(path.with_suffix(".pem"), path.with_suffix(".key"), NOW)
