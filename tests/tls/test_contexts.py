"""TLS towards clients: which name they get, which protocol, and what it costs to keep."""

from __future__ import annotations

import gc
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from handshakes import NOW, Handshake, certificate_of, new_authority, trusting
from OpenSSL import SSL
from twisted.python.failure import Failure

from buffr.tls.authority import Authority
from buffr.tls.contexts import LeafContexts, ServerTLS

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
HOST = "api.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def contexts(authority: Authority) -> LeafContexts:
    return LeafContexts(authority, lambda: NOW)


@pytest.fixture(params=VERSIONS, ids=str)
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    chosen: ssl.TLSVersion = request.param
    return chosen


def _names(handshake: Handshake) -> list[str]:
    leaf = x509.load_der_x509_certificate(certificate_of(handshake))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


class TestTheName:
    def test_is_that_of_the_hello(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion
    ) -> None:
        """SNI counts over what the CONNECT said; the client verifies it."""
        tls = ServerTLS(contexts, "other.example")
        done = Handshake(tls, trusting(authority, version=version), HOST).finish()
        assert done.client.version() == version.name.replace("_", ".")
        assert _names(done) == [HOST]
        assert (tls.name, tls.refusal) == (HOST, None)
        assert done.say(b"hello") == b"hello"

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    def test_is_that_of_the_connect_without(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion, address: str
    ) -> None:
        """An IP literal sends no SNI; the client verifies its iPAddress (SEEDS 1.15)."""
        tls = ServerTLS(contexts, address)
        done = Handshake(tls, trusting(authority, version=version), address).finish()
        assert tls.name == address
        assert done.say(b"hello") == b"hello"

    def test_is_in_lower_case(self, authority: Authority, contexts: LeafContexts) -> None:
        """Host names have no case, and one certificate does for all spellings."""
        tls = ServerTLS(contexts, "x.example")
        assert tls.context_for(b"API.example.COM") is contexts.of(HOST)
        assert contexts.minted == 1

    def test_has_to_be_what_the_client_wants(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion
    ) -> None:
        """A client without SNI that wants another address refuses the certificate."""
        shake = Handshake(
            ServerTLS(contexts, "127.0.0.2"), trusting(authority, version=version), "127.0.0.1"
        )
        with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
            shake.finish()

    def test_is_for_those_who_trust(self, contexts: LeafContexts, tmp_path: Path) -> None:
        """A client that trusts another CA refuses it, and says so in an alert."""
        shake = Handshake(ServerTLS(contexts, HOST), trusting(new_authority(tmp_path)), HOST)
        with pytest.raises(ssl.SSLCertVerificationError):
            shake.finish()
        assert "unknown ca" in _end(shake)


def _end(shake: Handshake) -> str:
    """Why the server's side ended, as its protocol is told: the last of OpenSSL's reasons."""
    assert shake.transport.disconnecting
    shake.server.connectionLost(Failure(ConnectionError()))
    assert shake.echo.lost is not None
    assert isinstance(shake.echo.lost.value, SSL.Error)
    reason: str = shake.echo.lost.value.args[0][-1][-1]
    return reason


class TestAnOddName:
    @pytest.mark.parametrize(
        "odd", [b"aaa*.example", b"aa..a.exampl", b"aaaa.exam\xff\xffe", b"aaaa exampl2"]
    )
    def test_fails_the_handshake_and_mints_nothing(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion, odd: bytes
    ) -> None:
        """The client gets an alert, and whoever serves gets the reason."""
        tls = ServerTLS(contexts, HOST)
        shake = Handshake(tls, trusting(authority, version=version), "aaaa.example")
        assert shake.first_flight.count(b"aaaa.example") == 1
        shake.first_flight = shake.first_flight.replace(b"aaaa.example", odd)
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            shake.finish()
        assert contexts.minted == 0
        assert tls.name is None
        assert tls.refusal is not None
        assert tls.refusal.message == _end(shake)

    def test_with_a_nul_is_refused_by_openssl(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion
    ) -> None:
        """``good.example\\0.evil`` is no ``good.example``."""
        shake = Handshake(
            ServerTLS(contexts, HOST), trusting(authority, version=version), "aaaa.example"
        )
        shake.first_flight = shake.first_flight.replace(b"aaaa.example", b"aa.e\0example")
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            shake.finish()
        assert contexts.minted == 0

    def test_is_refused_in_a_resumed_session_too(
        self, authority: Authority, contexts: LeafContexts
    ) -> None:
        """TLS 1.3 resumes without a certificate, so that the lack of one stops nobody."""
        client = trusting(authority, version=ssl.TLSVersion.TLSv1_3)
        first = Handshake(ServerTLS(contexts, HOST), client, HOST).finish()
        first.say(b"x")
        tls = ServerTLS(contexts, HOST)
        second = Handshake(tls, client, "*.example.com", first.client.session)
        second.finish()
        with pytest.raises(ssl.SSLError):
            second.say(b"x")
        assert tls.refusal is not None
        assert tls.refusal.message == _end(second)

    def test_comes_without_a_traceback(
        self, authority: Authority, contexts: LeafContexts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Nothing is written anywhere: whoever serves logs it once."""
        with pytest.raises(ssl.SSLError):
            Handshake(ServerTLS(contexts, HOST), trusting(authority), "*.example").finish()
        assert capsys.readouterr() == ("", "")


class TestTheProtocol:
    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [
            (None, None),
            (["http/1.1"], "http/1.1"),
            (["h2", "http/1.1"], "http/1.1"),
            (["http/1.0"], "http/1.0"),
            (["http/1.0", "http/1.1"], "http/1.1"),
        ],
    )
    @pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
    def test_is_http_1_1(
        self,
        authority: Authority,
        contexts: LeafContexts,
        version: ssl.TLSVersion,
        offered: list[str] | None,
        chosen: str | None,
        host: str,
    ) -> None:
        """With a context chosen by SNI, and by the CONNECT."""
        client = trusting(authority, version=version, offering=offered)
        done = Handshake(ServerTLS(contexts, "127.0.0.1"), client, host).finish()
        assert done.client.selected_alpn_protocol() == chosen

    def test_has_to_be_offered(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion
    ) -> None:
        """A client of HTTP/2 alone learns it by its alert (RFC 7301 3.2), without a traceback."""
        client = trusting(authority, version=version, offering=["h2"])
        shake = Handshake(ServerTLS(contexts, HOST), client, HOST)
        with pytest.raises(ssl.SSLError, match="no application protocol"):
            shake.finish()
        assert "the client offers h2" in _end(shake)

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
    def test_is_not_tls_1_1(self, authority: Authority, contexts: LeafContexts) -> None:
        """RFC 8996."""
        client = trusting(authority, version=ssl.TLSVersion.TLSv1_1)
        client.set_ciphers("ALL:@SECLEVEL=0")
        shake = Handshake(ServerTLS(contexts, HOST), client, HOST)
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            shake.finish()

    def test_is_forward_secret(self, authority: Authority, contexts: LeafContexts) -> None:
        """A client of TLS 1.2 without such ciphers is refused."""
        client = trusting(authority, version=ssl.TLSVersion.TLSv1_2)
        client.set_ciphers("ECDHE-ECDSA-AES256-SHA384:AES128-SHA")
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            Handshake(ServerTLS(contexts, HOST), client, HOST).finish()

    def test_takes_the_cheapest_cipher(self, authority: Authority, contexts: LeafContexts) -> None:
        """A client of TLS 1.3 that has another one in front does not choose."""
        client = trusting(authority, version=ssl.TLSVersion.TLSv1_3)
        assert client.get_ciphers()[0]["name"] != "TLS_AES_128_GCM_SHA256"
        chosen = Handshake(ServerTLS(contexts, HOST), client, HOST).finish().client.cipher()
        assert chosen is not None
        assert chosen[0] == "TLS_AES_128_GCM_SHA256"


class TestResumption:
    @pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
    def test_takes_a_ticket(
        self, authority: Authority, contexts: LeafContexts, version: ssl.TLSVersion, host: str
    ) -> None:
        """Also in another tunnel, and with ALPN."""
        client = trusting(authority, version=version, offering=["http/1.1"])
        first = Handshake(ServerTLS(contexts, "127.0.0.1"), client, host).finish()
        first.say(b"x")
        tls = ServerTLS(contexts, "127.0.0.1")
        second = Handshake(tls, client, host, first.client.session).finish()
        assert (first.client.session_reused, second.client.session_reused) == (False, True)
        assert second.client.selected_alpn_protocol() == "http/1.1"
        assert second.say(b"hello") == b"hello"
        assert tls.name == host

    def test_outlives_the_context_it_began_with(
        self, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        """A name that has made room for others is minted again, and its sessions hold."""
        contexts = LeafContexts(authority, lambda: NOW, bound=1)
        client = trusting(authority, version=version)
        first = Handshake(ServerTLS(contexts, "x.example"), client, HOST).finish()
        first.say(b"x")
        contexts.of("other.example")
        second = Handshake(ServerTLS(contexts, "x.example"), client, HOST, first.client.session)
        assert second.finish().client.session_reused


class TestTheStore:
    def test_mints_once_for_50_first_connections(
        self, authority: Authority, contexts: LeafContexts
    ) -> None:
        """All hellos are there before the first answer."""
        client = trusting(authority)
        shakes = [Handshake(ServerTLS(contexts, HOST), client, HOST) for _ in range(50)]
        leaves = {certificate_of(shake.finish()) for shake in shakes}
        assert contexts.minted == len(leaves) == len(contexts) == 1

    def test_keeps_within_its_bound(self, authority: Authority) -> None:
        """2,000 names through a store of 100: the memory of the last 1,500 is flat."""
        contexts = LeafContexts(authority, lambda: NOW, bound=100)
        sizes = []
        for number in range(2_000):
            contexts.of(f"host-{number}.example.com")
            assert len(contexts) <= 100
            if number % 500 == 499:
                gc.collect()
                sizes.append(_resident_kb())
        assert contexts.minted == 2_000
        assert sizes[-1] - sizes[0] < 2_000

    def test_drops_the_least_recently_used(self, authority: Authority) -> None:
        """What is asked for stays."""
        contexts = LeafContexts(authority, lambda: NOW, bound=2)
        kept = contexts.of("a.example")
        contexts.of("b.example")
        contexts.of("a.example")
        contexts.of("c.example")
        assert contexts.of("a.example") is kept
        assert contexts.minted == 3
        contexts.of("b.example")
        assert contexts.minted == 4

    @pytest.mark.parametrize(("days", "minted"), [(29, 1), (31, 2), (-1, 2)])
    def test_renews(self, authority: Authority, days: int, minted: int) -> None:
        """Long before a leaf expires, and when the clock was wrong before."""
        times = iter([NOW, NOW + timedelta(days=days)])
        contexts = LeafContexts(authority, lambda: next(times))
        contexts.of(HOST)
        contexts.of(HOST)
        assert contexts.minted == minted

    def test_refuses_once_the_authority_has_expired(self, authority: Authority) -> None:
        """The handshake fails, with the reason for the log."""
        contexts = LeafContexts(authority, lambda: NOW + timedelta(days=4000))
        tls = ServerTLS(contexts, HOST)
        with pytest.raises(ssl.SSLError, match="handshake failure"):
            Handshake(tls, trusting(authority), HOST).finish()
        assert tls.refusal is not None
        assert "expired" in tls.refusal.message


def _resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4
