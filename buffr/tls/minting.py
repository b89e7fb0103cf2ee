"""Creates certificates: buffr's own authority, and leaves for names (RFC 5280).

All keys are ECDSA on P-256: 0.01 ms for a key and 0.1 ms for a certificate,
while RSA would block the reactor for 50 ms. Serial numbers are random
(4.1.2.2), and times are backdated for clients whose clocks are slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from buffr.tls.pair import PairKey
from buffr.tls.server_name import is_address

__all__ = ["Issuer", "new_authority", "new_key"]

_SKEW = timedelta(days=2)
_AUTHORITY_LIFE = timedelta(days=3652)
_LEAF_LIFE = timedelta(days=397)
"""The whole validity period; clients refuse certificates that are valid for 398 days or more."""
_LONGEST_COMMON_NAME = 64
"""ub-common-name of RFC 5280, appendix A.1."""
_ORGANIZATION = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "buffr")


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(key: PairKey, now: datetime) -> x509.Certificate:
    """A root certificate for this key, valid for ten years, that signs leaves only.

    Its name contains a part of the key's identifier, so that trust stores and
    people can distinguish the authorities of several machines.
    """
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    name = _name(f"buffr local CA {identifier.digest[:4].hex()}")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(_signed_by(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


@frozen
class Issuer:
    """Signs leaves, which all share one key."""

    certificate: x509.Certificate
    key: PairKey = field(repr=False)
    leaf_key: ec.EllipticCurvePrivateKey = field(repr=False)
    _common: x509.CertificateBuilder = field(init=False, repr=False, eq=False)

    @_common.default
    def _default_common(self) -> x509.CertificateBuilder:
        """What all leaves have in common."""
        public = self.leaf_key.public_key()
        serving = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return (
            x509.CertificateBuilder()
            .issuer_name(self.certificate.subject)
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(serving, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_issuer_identifier(self.certificate), critical=False)
        )

    def leaf(self, names: Sequence[str], now: datetime) -> x509.Certificate:
        """A certificate for these names, each as ``server_name`` returned it.

        Host names and addresses are in its subjectAltName (4.2.1.6); the first
        one is also its common name, if it fits. It is valid for less than 398
        days, and never outside the authority's own validity period.
        """
        first = max(now - _SKEW, self.certificate.not_valid_before_utc)
        last = min(first + _LEAF_LIFE, self.certificate.not_valid_after_utc)
        common_name = names[0] if len(names[0]) <= _LONGEST_COMMON_NAME else None
        builder = (
            self._common.subject_name(_name(common_name))
            .serial_number(x509.random_serial_number())
            .not_valid_before(first)
            .not_valid_after(last)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]),
                critical=False,
            )
        )
        return builder.sign(self.key, hashes.SHA256())


def _name(common_name: str | None) -> x509.Name:
    if common_name is None:
        return x509.Name([_ORGANIZATION])
    return x509.Name([_ORGANIZATION, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    return x509.IPAddress(ip_address(name)) if is_address(name) else x509.DNSName(name)


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """The issuer's own key identifier, or the one by RFC 5280 4.2.1.2."""
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return _signed_by(x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()))
    return _signed_by(own.value)


def _signed_by(identifier: x509.SubjectKeyIdentifier) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
