"""Certificates that buffr serves: one for a host however many ask at once, and on its own ports."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from forward_bench import (
    NO_PARENTS,
    Proxy,
    forward_proxy,
    named,
    origins_authority,
    trust_file,
    wrap,
)
from raw_http import RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Mode replay: certificates are all that it makes."""
    with forward_proxy(tmp_path_factory.mktemp("leaves"), {"mode": "replay"}) as running:
        yield running


def shown(client: RawClient) -> x509.Certificate:
    assert isinstance(client.socket, ssl.SSLSocket)
    der = client.socket.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


class TestLeaves:
    def test_fifty_first_connections_at_once_are_shown_one_leaf(self, proxy: Proxy) -> None:
        """All 50 hellos are sent before any is answered; a second leaf has another number."""
        barrier = threading.Barrier(50)
        context = proxy.trusting()

        def number(_: int) -> int:
            client = proxy.opened(b"popular.test:443")
            barrier.wait(120)
            with wrap(client, context, "popular.test"):
                return shown(client).serial_number

        with ThreadPoolExecutor(50) as threads:
            assert len(set(threads.map(number, range(50)))) == 1

    def test_hosts_have_leaves_of_their_own_and_ports_share_them(self, proxy: Proxy) -> None:
        numbers = []
        for origin in ("https://a.test", "https://a.test:8443", "https://b.test"):
            with proxy.tunnel(origin) as client:
                numbers.append(shown(client).serial_number)
        assert numbers[0] == numbers[1] != numbers[2]

    def test_a_leaf_is_what_clients_ask_for_today(self, proxy: Proxy) -> None:
        """Valid for less than 398 days, from before now; for servers; with key identifiers."""
        with proxy.tunnel("https://modern.test") as client:
            leaf = shown(client)
        authority = x509.load_pem_x509_certificate((proxy.directory / "buffr-ca.pem").read_bytes())
        now = datetime.now(UTC)
        assert leaf.not_valid_before_utc < now - timedelta(hours=1)
        assert now + timedelta(days=30) < leaf.not_valid_after_utc
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=398)
        leaf.verify_directly_issued_by(authority)
        extensions = leaf.extensions
        usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert x509.oid.ExtendedKeyUsageOID.SERVER_AUTH in usage
        key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        subject = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert key.key_identifier == subject.digest
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    def test_they_outlive_a_restart_in_the_eyes_of_clients(self, tmp_path: Path) -> None:
        """The CA is the same, so that a client trusts what it trusted."""
        with forward_proxy(tmp_path, {"mode": "replay"}) as proxy:
            context = proxy.trusting()
        with forward_proxy(tmp_path, {"mode": "replay"}) as proxy:
            client = proxy.opened(b"again.test:443")
            wrap(client, context, "again.test").close()

    def test_simultaneous_first_starts_share_one_ca(self, tmp_path: Path) -> None:
        """Seed defect 22: one certificate and key that did not fit."""
        trust_file(tmp_path)
        (tmp_path / "buffr.yaml").write_text('{"forward": {"port": 0, "mode": "replay"}}')
        with ExitStack() as stack, ThreadPoolExecutor(4) as threads:

            def started(_: int) -> Proxy:
                process = BuffrProcess.run("serve", cwd=tmp_path, env=NO_PARENTS)
                return Proxy(stack.enter_context(process), tmp_path)

            for proxy in list(threads.map(started, range(4))):
                proxy.tunnel("https://shared.test").close()

    @pytest.mark.parametrize("name", ["127.1", "odd.0x7f"])
    def test_an_odd_name_in_a_hello_is_refused(self, proxy: Proxy, name: str) -> None:
        """With an alert. Who asks for the tunnel's own host is served on."""
        client = proxy.opened(b"fine.test:443")
        with client, pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            wrap(client, proxy.trusting(), name)
        proxy.tunnel("https://fine.test").close()


class TestConnections:
    def test_a_tunnel_counts_as_one(self, tmp_path: Path) -> None:
        """``limits.connections`` bounds connections of clients, whatever happens inside."""
        forward = {"bypass": "localhost"}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, forward, limits={"connections": 6}) as proxy,
            ExitStack() as stack,
        ):
            for _ in range(2):
                stack.enter_context(proxy.tunnel("https://a.test"))
                stack.enter_context(proxy.opened(b"localhost:%d" % origin.port))
                client = stack.enter_context(proxy.opened(b"b.test:80"))
                client.send(b"GET /")
            with proxy.plain() as one_too_many:
                one_too_many.send(request(b"http://a.test/"))
                assert one_too_many.answer().status == 503


@contextmanager
def reverse_port(directory: Path, origin: FakeUpstream, **options: object) -> Iterator[Proxy]:
    """A buffr with one port, for one origin."""
    row = {"target": origin.url, "port": 0, "cassette": "api.json", **options}
    (directory / "buffr.yaml").write_text(json.dumps({"reverse": [row]}))
    with BuffrProcess.run("serve", cwd=directory, env=NO_PARENTS) as process:
        yield Proxy(process, directory)


class TestReversePorts:
    """TLS towards clients that know buffr by a base URL."""

    def test_tls_serves_a_leaf_of_the_ca_for_this_machine(self, tmp_path: Path) -> None:
        with (
            FakeUpstream(named) as origin,
            reverse_port(tmp_path, origin, tls=True) as proxy,
        ):
            numbers = set()
            for name in ("localhost", "127.0.0.1", None):
                context = proxy.trusting()
                context.check_hostname = name is not None
                client = wrap(proxy.plain(), context, name)
                with client:
                    numbers.add(shown(client).serial_number)
                    for path in (b"/a", b"/b"):
                        client.send(request(path))
                        assert client.answer().body.endswith(path)
            assert len(numbers) == 1
            with proxy.plain() as client, pytest.raises(ssl.SSLCertVerificationError):
                wrap(client, proxy.trusting(), "elsewhere.test")

    def test_tls_names_are_those_that_settings_give(self, tmp_path: Path) -> None:
        with (
            FakeUpstream(named) as origin,
            reverse_port(tmp_path, origin, tls=True, tls_names=["api.test"]) as proxy,
        ):
            wrap(proxy.plain(), proxy.trusting(), "api.test").close()
            with proxy.plain() as client, pytest.raises(ssl.SSLCertVerificationError):
                wrap(client, proxy.trusting(), "localhost")

    def test_files_are_served_as_they_are(self, tmp_path: Path) -> None:
        """Whatever name is asked for; no CA of ours is made for it."""
        made = origins_authority().issue_cert("api.test")
        (tmp_path / "api.pem").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
        (tmp_path / "api.key").write_bytes(made.private_key_pem.bytes())
        (tmp_path / "api.key").chmod(0o600)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        origins_authority().configure_trust(context)
        with (
            FakeUpstream(named) as origin,
            reverse_port(tmp_path, origin, cert="api.pem", key="api.key") as proxy,
            wrap(proxy.plain(), context, "api.test") as client,
        ):
            client.send(request(b"/x"))
            assert client.answer().body.endswith(b"/x")
        assert not (tmp_path / "buffr-ca.pem").exists()

    def test_plain_http_on_a_tls_port_is_closed(self, tmp_path: Path) -> None:
        with (
            FakeUpstream(named) as origin,
            reverse_port(tmp_path, origin, tls=True) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), 5) as client,
        ):
            client.sendall(request(b"/"))
            assert b"HTTP/1.1 200" not in b"".join(iter(lambda: client.recv(4096), b""))
            assert not origin.received
