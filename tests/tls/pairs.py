"""Pairs of files that authorities and servers may be given, good and bad."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from handshakes import NOW

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extend = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


@frozen
class Files:
    """Where a pair is."""

    cert: Path
    key: Path


def as_ca(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    """As the Go program makes one: certSign and digitalSignature, path length 0."""
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(usage, critical=True).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )


def any_path(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)


def certificate(
    key: Key,
    extend: Extend = as_ca,
    *,
    first: datetime = NOW - timedelta(hours=1),
    life: timedelta = timedelta(days=3650),
    issuer: tuple[x509.Certificate, Key] | None = None,
    name: str = "buffr local CA",
) -> bytes:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "buffr"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + life)
    )
    signer = key if issuer is None else issuer[1]
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return extend(builder).sign(signer, algorithm).public_bytes(Encoding.PEM)


def key_pem(
    key: Key,
    form: PrivateFormat = PrivateFormat.TraditionalOpenSSL,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    """By default as the Go program writes one: SEC 1 for EC, PKCS 1 for RSA."""
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


def encrypted_pem(key: Key) -> bytes:
    return key_pem(key, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


def write(directory: Path, cert: bytes, key: bytes, *, mode: int = 0o600) -> Files:
    files = Files(directory / "buffr-ca.pem", directory / "buffr-ca.key")
    files.cert.write_bytes(cert)
    files.key.write_bytes(key)
    files.key.chmod(mode)
    return files
