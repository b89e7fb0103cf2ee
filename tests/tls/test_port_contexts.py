"""TLS on buffr's own ports: a leaf of its CA, or given files."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from handshakes import NOW, Handshake, new_authority, trusting
from pairs import Key, any_path, certificate, encrypted_pem, key_pem, write

from buffr.errors import ConfigError
from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, files_tls, names_tls, own_names
from buffr.tls.minting import new_key

EC = new_key()
RSA = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return new_authority(tmp_path / "ca")


@pytest.fixture
def contexts(authority: Authority) -> LeafContexts:
    return LeafContexts(authority, lambda: NOW)


class TestOwnNames:
    def test_are_the_loopback_ones_and_the_machines(self) -> None:
        """What a client on this machine, or beside it, calls it."""
        assert own_names("Build-7.local") == ("localhost", "127.0.0.1", "::1", "build-7.local")

    @pytest.mark.parametrize("machine", ["localhost", "bad name", "büro", "*"])
    def test_leave_out_what_gets_no_certificate(self, machine: str) -> None:
        """A machine may be called anything; buffr starts anyway."""
        assert own_names(machine) == ("localhost", "127.0.0.1", "::1")

    def test_are_good_here(self) -> None:
        """Whatever this machine is called."""
        assert own_names()[:3] == ("localhost", "127.0.0.1", "::1")


class TestLeavesForNames:
    def test_serve_all_names_with_one_leaf(
        self, authority: Authority, contexts: LeafContexts
    ) -> None:
        """Host names and addresses, with SNI and without, each verified by the client."""
        creator = names_tls(contexts, ["localhost", "127.0.0.1", "::1", "Build-7"])
        client = trusting(authority, offering=["h2", "http/1.1"])
        for host in ("localhost", "127.0.0.1", "::1", "build-7"):
            done = Handshake(creator, client, host).finish()
            assert done.say(b"hello") == b"hello"
            assert done.client.selected_alpn_protocol() == "http/1.1"
        assert contexts.minted == 1

    def test_are_none_for_others(self, authority: Authority, contexts: LeafContexts) -> None:
        """The client refuses a name that is not among them, and gets no leaf for it."""
        creator = names_tls(contexts, ["localhost"])
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            Handshake(creator, trusting(authority), "other.example").finish()
        assert contexts.minted == 1

    def test_resume_sessions(self, authority: Authority, contexts: LeafContexts) -> None:
        """A client's second connection needs no certificate."""
        creator, client = names_tls(contexts, ["localhost"]), trusting(authority)
        first = Handshake(creator, client, "localhost").finish()
        first.say(b"x")
        second = Handshake(creator, client, "localhost", first.client.session).finish()
        assert second.client.session_reused

    def test_are_renewed(self, authority: Authority) -> None:
        """A port that is open for more than a year serves leaves that hold."""
        times = iter([NOW, NOW + timedelta(days=400), NOW + timedelta(days=400)])
        contexts = LeafContexts(authority, lambda: next(times))
        creator = names_tls(contexts, ["localhost"])
        Handshake(creator, trusting(authority), "localhost")
        assert contexts.minted == 2

    @pytest.mark.parametrize("name", ["*.example.com", "", "a..b", "büro.example", "x\udcff"])
    def test_are_none_for_odd_names(self, contexts: LeafContexts, name: str) -> None:
        """A wrong setting is said at the start."""
        with pytest.raises(ConfigError, match="tls_names: no certificate is made for"):
            names_tls(contexts, ["localhost", name])

    def test_need_a_name(self, contexts: LeafContexts) -> None:
        """An empty list is a mistake."""
        with pytest.raises(ConfigError, match="tls_names"):
            names_tls(contexts, [])


def _server_names(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([x509.DNSName("buffr.example")])
    return builder.add_extension(names, critical=False)


class TestGivenFiles:
    @pytest.mark.parametrize("key", [pytest.param(EC, id="EC"), pytest.param(RSA, id="RSA")])
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_are_served_with_their_chain(
        self, tmp_path: Path, key: Key, version: ssl.TLSVersion
    ) -> None:
        """Certificate, intermediate and key; the client knows the root alone."""
        root_key, middle_key = new_key(), new_key()
        root_pem = certificate(root_key, any_path, name="root")
        root = x509.load_pem_x509_certificate(root_pem)
        middle_pem = certificate(middle_key, any_path, issuer=(root, root_key), name="middle")
        middle = x509.load_pem_x509_certificate(middle_pem)
        leaf = certificate(key, _server_names, issuer=(middle, middle_key), name="leaf")
        files = write(tmp_path, leaf + middle_pem, key_pem(key), mode=0o640)
        client = ssl.create_default_context(cadata=root_pem.decode())
        client.minimum_version = client.maximum_version = version
        creator = files_tls(files.cert, files.key, NOW)
        assert Handshake(creator, client, "buffr.example").finish().say(b"hello") == b"hello"

    @pytest.mark.parametrize(
        ("cert", "key", "message"),
        [
            (certificate(EC), key_pem(RSA), "do not belong together"),
            (b"?", key_pem(EC), "TLS certificate .* does not contain a certificate"),
            (certificate(EC), encrypted_pem(EC), "TLS key .* is encrypted"),
            (
                certificate(EC, first=NOW - timedelta(days=9), life=timedelta(days=8)),
                key_pem(EC),
                "TLS certificate .* expired on",
            ),
            (certificate(EC, first=NOW + timedelta(days=9)), key_pem(EC), "is not valid before"),
        ],
    )
    def test_are_refused_where_they_cannot_serve(
        self, tmp_path: Path, cert: bytes, key: bytes, message: str
    ) -> None:
        """At the start, with the file and what is wrong."""
        files = write(tmp_path, cert, key)
        with pytest.raises(ConfigError, match=message):
            files_tls(files.cert, files.key, NOW)

    def test_are_refused_where_they_are_not_there(self, tmp_path: Path) -> None:
        """Nothing is made in their place."""
        with pytest.raises(ConfigError, match=r"TLS certificate .*x\.pem cannot be read: No such"):
            files_tls(tmp_path / "x.pem", tmp_path / "x.key", NOW)
        assert list(tmp_path.iterdir()) == []
