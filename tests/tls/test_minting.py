"""What stands in the certificates: of the authority, and of leaves (RFC 5280)."""

from __future__ import annotations

import subprocess
import warnings
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from handshakes import NOW

from buffr.tls.minting import Issuer, new_authority, new_key
from buffr.tls.pair import PairKey

KEY = new_key()
AUTHORITY = new_authority(KEY, NOW)
ISSUER = Issuer(AUTHORITY, KEY, new_key())


def _san(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _common_names(certificate: x509.Certificate) -> list[str | bytes]:
    return [one.value for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


class TestTheAuthority:
    def test_signs_leaves_only(self) -> None:
        """P-256; basicConstraints and keyUsage are critical; no CA below it."""
        public = AUTHORITY.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert isinstance(public.curve, ec.SECP256R1)
        basic = AUTHORITY.extensions.get_extension_for_class(x509.BasicConstraints)
        assert basic.critical
        assert (basic.value.ca, basic.value.path_length) == (True, 0)
        usage = AUTHORITY.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature

    def test_has_key_identifiers(self) -> None:
        """Subject and authority key identifier are those of its own key."""
        own = x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())
        extensions = AUTHORITY.extensions
        assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value == own
        by = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert by.key_identifier == own.digest

    def test_lives_ten_years(self) -> None:
        """From two days ago, for clients whose clocks are behind."""
        assert AUTHORITY.not_valid_before_utc <= NOW - timedelta(days=2)
        life = AUTHORITY.not_valid_after_utc - NOW
        assert timedelta(days=3650) < life < timedelta(days=3655)

    def test_can_be_told_from_another(self) -> None:
        """Two authorities do not have one name: trust stores look them up by it."""
        assert new_authority(new_key(), NOW).subject != AUTHORITY.subject


class TestALeaf:
    def test_serves_its_name_alone(self) -> None:
        """No CA, for server authentication, with the identifiers that a chain is built by."""
        leaf = ISSUER.leaf(("example.com",), NOW)
        assert [one.value for one in _san(leaf)] == ["example.com"]
        assert _common_names(leaf) == ["example.com"]
        extensions = leaf.extensions
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
            ExtendedKeyUsageOID.SERVER_AUTH
        ]
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.digital_signature
        assert not usage.key_cert_sign
        by = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        issuer = AUTHORITY.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert by.key_identifier == issuer.digest
        leaf.verify_directly_issued_by(AUTHORITY)

    def test_names_addresses_as_such(self) -> None:
        """An IP literal is an iPAddress, which is all that clients look at for one."""
        leaf = ISSUER.leaf(("127.0.0.1", "::1", "localhost"), NOW)
        assert _san(leaf).get_values_for_type(x509.IPAddress) == [
            ip_address("127.0.0.1"),
            ip_address("::1"),
        ]
        assert _san(leaf).get_values_for_type(x509.DNSName) == ["localhost"]

    @pytest.mark.parametrize(("length", "there"), [(64, True), (65, False)])
    def test_has_a_common_name_where_it_fits(self, length: int, *, there: bool) -> None:
        """64 characters are the most (ub-common-name); the subject is not empty without."""
        name = ("a" * 60 + ".example")[-length:].rjust(length, "b")
        leaf = ISSUER.leaf((name,), NOW)
        assert _common_names(leaf) == ([name] if there else [])
        assert len(leaf.subject.rdns) > 0
        assert [one.value for one in _san(leaf)] == [name]

    def test_is_valid_for_less_than_398_days(self) -> None:
        """And from two days ago."""
        leaf = ISSUER.leaf(("example.com",), NOW + timedelta(days=50))
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=398)
        assert leaf.not_valid_before_utc <= NOW + timedelta(days=48)
        assert leaf.not_valid_after_utc > NOW + timedelta(days=50 + 390)

    @pytest.mark.parametrize("days", [-1, 0, 3650])
    def test_is_never_valid_outside_the_authority(self, days: int) -> None:
        """At both ends of the authority's life a leaf's is cut."""
        leaf = ISSUER.leaf(("example.com",), NOW + timedelta(days=days))
        assert leaf.not_valid_before_utc >= AUTHORITY.not_valid_before_utc
        assert leaf.not_valid_after_utc <= AUTHORITY.not_valid_after_utc

    def test_has_a_serial_number_of_its_own(self) -> None:
        """Two leaves for one name differ in it: Firefox refuses reused ones."""
        first, second = (ISSUER.leaf(("example.com",), NOW) for _ in range(2))
        assert first.serial_number != second.serial_number
        assert first.serial_number.bit_length() > 64

    @pytest.mark.parametrize(
        "key",
        [
            pytest.param(KEY, id="p-256"),
            pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p-384"),
            pytest.param(rsa.generate_private_key(65537, 2048), id="rsa"),
        ],
    )
    def test_is_accepted_by_openssl(self, key: PairKey, tmp_path: Path) -> None:
        """``openssl verify`` builds the chain in its strict mode, for the name and no other."""
        authority = new_authority(key, NOW)
        leaf = Issuer(authority, key, new_key()).leaf(("example.com", "10.0.0.1"), NOW)
        (tmp_path / "ca.pem").write_bytes(authority.public_bytes(Encoding.PEM))
        (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))

        def verify(*more: str) -> int:
            command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", *more]
            files = ["-CAfile", "ca.pem", "leaf.pem"]
            return subprocess.run(
                [*command, *files], cwd=tmp_path, capture_output=True, check=False
            ).returncode

        assert verify("-verify_hostname", "example.com") == 0
        assert verify("-verify_ip", "10.0.0.1") == 0
        assert verify("-verify_hostname", "other.example") != 0

    def test_is_minted_without_warnings(self) -> None:
        """Nothing in it is deprecated."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Issuer(new_authority(KEY, NOW), KEY, new_key()).leaf(("example.com",), NOW)
