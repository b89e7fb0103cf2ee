"""The system's roots, and the bundle that they and our CA are in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from buffr.commands.ca import formats
from buffr.commands.ca.system_roots import certifi_file, certificates_in, find_roots, system_places
from buffr.errors import ConfigError
from buffr.tls.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.load_or_create(tmp_path / "ca.pem", tmp_path / "ca.key", datetime.now(UTC))


class TestSystemRoots:
    def test_are_found_here(self) -> None:
        """This machine has some."""
        certifi = certifi_file()
        places = [*system_places(), *([certifi] if certifi else [])]
        assert len(find_roots(places).certificates) > 20

    def test_are_of_the_first_place_with_any(self, tmp_path: Path, authority: Authority) -> None:
        """A file, or a directory with OpenSSL's hashes, where names of other kinds do not count."""
        pem = authority.pem
        (tmp_path / "empty.pem").write_bytes(b"# nothing\n")
        hashed = tmp_path / "certs"
        hashed.mkdir()
        (hashed / "5ed36f99.0").write_bytes(b"# a comment\n" + pem + pem)
        (hashed / "README").write_bytes(pem)
        roots = find_roots(
            [tmp_path / "absent", tmp_path / "empty.pem", hashed, tmp_path / "ca.pem"]
        )
        assert roots.source == hashed
        assert len(roots.certificates) == 1

    def test_are_missed_with_a_clear_line(self, tmp_path: Path) -> None:
        """An image without ca-certificates and without certifi."""
        with pytest.raises(ConfigError, match="nowhere to be found; install the package"):
            find_roots([tmp_path / "absent", tmp_path])

    def test_are_read_past_what_is_no_certificate(self, tmp_path: Path) -> None:
        """One bad block does not cost the others."""
        block = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
        (tmp_path / "x.pem").write_bytes(block % b"A" + b"\xff\n" + block % b"AAAA" + block % b"!")
        assert list(certificates_in(tmp_path / "x.pem")) == [b"\0\0\0"]


class TestABundle:
    def test_ends_with_ours(self, authority: Authority) -> None:
        """It is there once, also where the system trusts it already."""
        own = authority.certificate.public_bytes(Encoding.DER)
        made = formats.bundle(authority, [own, b"other"])
        assert made.count(b"BEGIN CERTIFICATE") == 2
        assert made.endswith(authority.pem)
