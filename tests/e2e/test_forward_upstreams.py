"""How origins are reached behind the forward proxy, and whose certificates count."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from attrs import frozen
from bench import eventually
from commands import complaint
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from forward_bench import (
    NO_PARENTS,
    Proxy,
    forward_proxy,
    named,
    origin_tls,
    origins_authority,
    secure_origin,
)
from raw_http import request

from buffr.testing import FakeUpstream


def served(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def self_signed(directory: Path, name: str) -> ssl.SSLContext:
    """A certificate that its own key has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "self-signed.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def with_client_certificates() -> ssl.SSLContext:
    """An origin that lets nobody in without a certificate of the same authority."""
    context = served(origins_authority().issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    origins_authority().configure_trust(context)
    return context


@frozen
class Served:
    """A proxy with a row for each kind of origin."""

    proxy: Proxy
    origins: dict[str, FakeUpstream]

    def url(self, name: str, path: str) -> str:
        return f"https://{name}:{self.origins[name].port}{path}"


BAD = {
    "wrong-name.test": b"not for this host name",
    "expired.test": b"has expired",
    "self-signed.test": b"is self-signed",
    "unknown.test": b"authority that is not trusted",
}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("serving")
    ours = origins_authority()
    own = ours.issue_cert("client.test")
    (directory / "own.pem").write_bytes(own.cert_chain_pems[0].bytes())
    (directory / "own.key").write_bytes(own.private_key_pem.bytes())
    certificate = {"client_cert": "own.pem", "client_key": "own.key"}
    expired = ours.issue_cert("expired.test", not_after=datetime.now(UTC) - timedelta(days=1))
    contexts = {
        "wrong-name.test": origin_tls("another.test"),
        "expired.test": served(expired),
        "self-signed.test": self_signed(directory, "self-signed.test"),
        "unknown.test": served(trustme.CA().issue_cert("unknown.test")),
        "unverified.test": served(trustme.CA().issue_cert("another.test")),
        "renamed.test": origin_tls("inner.test"),
        "mutual.test": with_client_certificates(),
        "mutual-without.test": with_client_certificates(),
        "fine.test": origin_tls("fine.test"),
    }
    options: dict[str, dict[str, object]] = {
        "unverified.test": {"verify": False},
        "renamed.test": {"sni": "inner.test"},
        "mutual.test": {**certificate, "sni": "localhost"},
        "mutual-without.test": {"sni": "localhost"},
    }
    rows = [
        {"host": name, "resolve": "127.0.0.1", "ca_file": "origins.pem", **options.get(name, {})}
        for name in contexts
    ]
    with ExitStack() as stack:
        origins = {
            name: stack.enter_context(FakeUpstream(named, tls=context))
            for name, context in contexts.items()
        }
        proxy = stack.enter_context(forward_proxy(directory, {"hosts": rows}))
        yield Served(proxy, origins)
        assert "Traceback" not in proxy.process.log()
        assert "Unhandled" not in proxy.process.log()


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A port where each connection gets these bytes for its first ones, and the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(said)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(120)


class TestCertificates:
    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_one_is_502_that_says_which(self, serving: Served, name: str) -> None:
        """The client reads it inside its tunnel, and the log has it; nothing is recorded."""
        for number in range(2):
            found = serving.proxy.get(serving.url(name, f"/{number}"))
            assert found.status == 502
            assert BAD[name] in found.body, found.body
        lines = eventually(lambda: serving.proxy.lines(f"https://{name}:")[1:])
        assert " level=ERROR " in lines[0]
        assert " status=502 " in lines[0]
        assert f"{name}.json" not in serving.proxy.files()
        assert not serving.origins[name].received

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"TLS: "),
            (b"\x15\x03\x01\x00\x02\x02\x28", b"TLS: "),
            (b"", b"connection"),
        ],
    )
    def test_an_origin_that_speaks_no_tls_is_502(
        self, tmp_path: Path, said: bytes, reason: bytes
    ) -> None:
        """It answers in plain, with an alert, or just closes."""
        with answering(said) as port, forward_proxy(tmp_path) as proxy:
            found = proxy.get(f"https://localhost:{port}/x")
            assert found.status == 502
            assert reason in found.body
            assert not proxy.files()

    def test_a_good_one_is_trusted_by_ca_file(self, serving: Served) -> None:
        assert serving.proxy.get(serving.url("fine.test", "/x")).status == 200
        assert "fine.test.json" in serving.proxy.files()

    def test_a_rows_ca_file_stands_in_the_place_of_the_general_one(self, tmp_path: Path) -> None:
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        rows = [{"host": "localhost", "ca_file": "other.pem"}]
        with (
            secure_origin(named, "localhost", "127.0.0.1") as origin,
            forward_proxy(tmp_path, {"hosts": rows}) as proxy,
        ):
            found = proxy.get(f"https://localhost:{origin.port}/")
            assert found.status == 502
            assert b"not trusted" in found.body
            assert proxy.get(f"https://127.0.0.1:{origin.port}/").status == 200

    def test_verification_is_off_for_one_host_and_said_at_the_start(self, serving: Served) -> None:
        """With its place in the settings, so that it is seen which one."""
        assert serving.proxy.get(serving.url("unverified.test", "/x")).status == 200
        said = serving.proxy.lines("not verified")
        assert len(said) == 1
        assert " level=WARN " in said[0]
        assert "forward.hosts[4].verify" in said[0]

    def test_verification_cannot_be_off_for_all_hosts(self, tmp_path: Path) -> None:
        with (
            pytest.raises(RuntimeError, match="verify"),
            forward_proxy(tmp_path, {"verify": False}),
        ):
            pass


class TestTheWay:
    def test_resolve_names_the_address_and_nothing_else(self, serving: Served) -> None:
        """``fine.test`` is in no resolver; Host, SNI and certificate are those of its name."""
        url = serving.url("fine.test", "/host")
        authority = url.removeprefix("https://").removesuffix("/host").encode()
        assert serving.proxy.get(url).body == b"GET %b/host" % authority

    def test_sni_is_what_the_certificate_is_verified_for(self, serving: Served) -> None:
        """``Host`` stays the client's."""
        url = serving.url("renamed.test", "/sni")
        authority = url.removeprefix("https://").removesuffix("/sni").encode()
        assert serving.proxy.get(url).body == b"GET %b/sni" % authority

    def test_an_address_is_never_sent_as_sni(self, tmp_path: Path) -> None:
        """RFC 6066 3."""
        asked: list[str | None] = []
        context = served(origins_authority().issue_cert("localhost", "127.0.0.1"))
        context.sni_callback = lambda _, name, __: asked.append(name)
        with FakeUpstream(named, tls=context) as origin, forward_proxy(tmp_path) as proxy:
            assert proxy.get(f"https://127.0.0.1:{origin.port}/").status == 200
            assert proxy.get(f"https://localhost:{origin.port}/").status == 200
        assert asked == [None, "localhost"]

    def test_a_client_certificate_is_shown_to_whom_it_is_for(self, serving: Served) -> None:
        assert serving.proxy.get(serving.url("mutual.test", "/x")).status == 200
        found = serving.proxy.get(serving.url("mutual-without.test", "/x"))
        assert found.status == 502
        assert b"TLS" in found.body
        assert b"certificate" in found.body
        assert "mutual-without.test.json" not in serving.proxy.files()

    def test_connections_are_kept_for_the_next_tunnel(self, serving: Served) -> None:
        origin = serving.origins["fine.test"]
        before = origin.connections
        for number in range(5):
            assert serving.proxy.get(serving.url("fine.test", f"/kept/{number}")).status == 200
        assert origin.connections - before <= 1

    @pytest.mark.parametrize(
        ("options", "named_file"),
        [
            ({"client_cert": "no.pem", "client_key": "own.key"}, "no.pem"),
            ({"client_cert": "own.pem", "client_key": "no.key"}, "no.key"),
            ({"client_cert": "own.pem", "client_key": "other.key"}, "other.key"),
            ({"client_cert": "own.pem", "client_key": "own.pem"}, "own.pem"),
            ({"ca_file": "no.pem"}, "no.pem"),
            ({"ca_file": "own.key"}, "own.key"),
        ],
    )
    def test_files_that_cannot_be_used_are_told_at_the_start(
        self, tmp_path: Path, options: dict[str, str], named_file: str
    ) -> None:
        """And not at the first request."""
        for name in ("own", "other"):
            made = origins_authority().issue_cert("client.test")
            (tmp_path / f"{name}.pem").write_bytes(made.cert_chain_pems[0].bytes())
            (tmp_path / f"{name}.key").write_bytes(made.private_key_pem.bytes())
        rows = [{"host": "fine.test"}, {"host": "a.test", **options}]
        settings = {"forward": {"port": 0, "hosts": rows}}
        (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
        lines = complaint("serve", cwd=tmp_path, env=NO_PARENTS)
        assert any(named_file in line for line in lines), lines


class TestRequests:
    def test_the_host_field_is_the_origins(self, serving: Served) -> None:
        """Whatever a client writes there (RFC 9112 3.2.2): the tunnel names the origin."""
        url = serving.url("fine.test", "")
        with serving.proxy.tunnel(url) as client:
            client.send(request(b"/field"))
            port = serving.origins["fine.test"].port
            assert client.answer().body == b"GET fine.test:%d/field" % port
