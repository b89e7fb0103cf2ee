"""Tunnels: what a client may begin in one, and how it ends."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from bench import eventually
from cryptography import x509
from forward_bench import Proxy, forward_proxy, named, secure_origin, wrap
from raw_http import RawClient, request

from buffr.testing import FakeUpstream, Received, Step, answer, chunked

PATIENCE_S = 120.0
HEAD_S = 5
"""Times are looked at once a second, so that one of a second would sometimes be none."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Mode auto, and little time for a tunnel in which nothing begins."""
    rows = [{"host": "named.test", "resolve": "127.0.0.1", "ca_file": "origins.pem"}]
    directory = tmp_path_factory.mktemp("tunnels")
    with forward_proxy(directory, {"hosts": rows}, limits={"head_s": HEAD_S}) as running:
        yield running
    assert "Traceback" not in running.process.log()
    assert "defect" not in running.process.log()


@pytest.fixture(scope="module")
def origin() -> Iterator[FakeUpstream]:
    """Says what it is asked, behind TLS."""
    with secure_origin(_echo, "localhost", "127.0.0.1", "named.test") as running:
        yield running


def _echo(received: Received) -> bytes | Iterator[Step]:
    return answer(b"<%b %b %b>" % (received.method, received.target, received.body))


class MemoryTLS:
    """A client whose TLS is apart from its socket, so that the test says what goes when."""

    def __init__(self, proxy: Proxy, port: int, *, early: int | None = 0) -> None:
        """Ask for a tunnel to ``localhost``, with ``early`` bytes of the hello, or all of it."""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = proxy.trusting().wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )
        self.wire = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
        with pytest.raises(ssl.SSLWantReadError):
            self.session.do_handshake()
        hello = self.outgoing.read()
        now = len(hello) if early is None else early
        self.wire.sendall(request(b"localhost:%d" % port, method=b"CONNECT") + hello[:now])
        found = b""
        while b"\r\n\r\n" not in found:
            found += self._received()
        head, _, rest = found.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        self.incoming.write(rest)
        self.wire.sendall(hello[now:])
        self._finish()

    def _received(self) -> bytes:
        data = self.wire.recv(65536)
        assert data, "the tunnel was closed"
        return data

    def _finish(self) -> None:
        while True:
            try:
                self.session.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.wire.sendall(self.outgoing.read())
                self.incoming.write(self._received())
        self.wire.sendall(self.outgoing.read())

    def encrypted(self, raw: bytes) -> bytes:
        self.session.write(raw)
        return self.outgoing.read()

    def read(self, size: int) -> bytes:
        """So many bytes or a little more, decrypted."""
        found = bytearray()
        while len(found) < size:
            try:
                found += self.session.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self._received())
        return bytes(found)


def leaf(client: RawClient) -> x509.Certificate:
    """The certificate that a client was shown."""
    assert isinstance(client.socket, ssl.SSLSocket)
    der = client.socket.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


class TestFirstBytes:
    """Seed defect 15."""

    @pytest.mark.parametrize("early", [0, 1, 60, None])
    def test_a_hello_in_the_segment_of_the_connect_is_not_lost(
        self, proxy: Proxy, origin: FakeUpstream, early: int | None
    ) -> None:
        """All of it (``None``), or as much as ``early`` says; the rest comes after the answer."""
        tls = MemoryTLS(proxy, origin.port, early=early)
        with tls.wire:
            tls.wire.sendall(tls.encrypted(request(b"/hello")))
            expected = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<GET /hello >"
            assert tls.read(len(expected)) == expected

    def test_plain_http_in_a_tunnel_is_served(self, proxy: Proxy) -> None:
        """Clients of ws:// ask for a tunnel too. The origin is asked without TLS."""
        with FakeUpstream(named) as plain:
            authority = b"127.0.0.1:%d" % plain.port
            with proxy.opened(authority) as client:
                for number in range(3):
                    client.send(request(b"/plain/%d" % number))
                    assert client.answer().body == b"GET %b/plain/%d" % (authority, number)
            with proxy.plain() as client:
                together = request(authority, method=b"CONNECT") + request(b"/plain/0")
                client.send(together)
                assert client.answer(b"HEAD").status == 200
                assert client.answer().body == b"GET %b/plain/0" % authority
            assert len(plain.received) == 3
        eventually(lambda: proxy.lines(f"127.0.0.1:{plain.port}/plain/0", " src=upstream"))

    def test_a_plain_client_that_sends_no_more_gets_its_answer(self, proxy: Proxy) -> None:
        """As ``printf ... | nc`` does, in a tunnel too."""
        go_on = threading.Event()

        def script(received: Received) -> Iterator[Step]:
            assert go_on.wait(PATIENCE_S)
            yield named(received)

        with (
            FakeUpstream(script) as plain,
            proxy.opened(b"127.0.0.1:%d" % plain.port) as client,
        ):
            client.send(request(b"/halved"))
            client.finish()
            plain.wait_for(1)
            go_on.set()
            assert client.answer().body.endswith(b"/halved")
            assert client.rest() == b""

    @pytest.mark.parametrize(
        "garbage",
        [b"\x00\x01\x02\x03", b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x\r\n", b"\xff" * 70_000],
    )
    def test_what_is_neither_tls_nor_http_gets_400_and_the_end(
        self, proxy: Proxy, origin: FakeUpstream, garbage: bytes
    ) -> None:
        before = origin.connections
        with proxy.opened(b"localhost:%d" % origin.port) as client:
            client.send(garbage)
            assert client.rest().startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert origin.connections == before

    @pytest.mark.parametrize(
        "garbage", [b"\x16\x03\x01\x00\x05hello", b"\x16" + bytes(300), b"\x16\x03\x01\xff\xff"]
    )
    def test_what_only_begins_like_tls_is_closed(
        self, proxy: Proxy, origin: FakeUpstream, garbage: bytes
    ) -> None:
        """At once, or where more could come, within ``head_s``. It is no refused certificate."""
        before = origin.connections
        with proxy.opened(b"localhost:%d" % origin.port) as client:
            client.send(garbage)
            assert b"HTTP" not in client.rest()
        assert origin.connections == before
        assert not proxy.lines("refused buffr's certificate")

    def test_a_tunnel_in_which_nothing_begins_is_closed(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """After ``limits.head_s``. A client that stops within its hello has not begun either."""
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100)
        begun = (b"", b"\x16", hello, b"GET / HT")
        clients = [proxy.opened(b"localhost:%d" % origin.port) for _ in begun]
        for client, data in zip(clients, begun, strict=True):
            client.send(data)
        for client in clients:
            client.socket.settimeout(PATIENCE_S)
        *rest, last = [client.rest() for client in clients]
        assert rest == [b"", b"", b""]
        assert last.startswith(b"HTTP/1.1 408 ")
        for client in clients:
            client.close()


class TestCertificates:
    def test_a_name_gets_a_leaf_with_that_name(self, proxy: Proxy, origin: FakeUpstream) -> None:
        with proxy.tunnel(f"https://named.test:{origin.port}") as client:
            names = alternative_names(leaf(client))
        assert names.get_values_for_type(x509.DNSName) == ["named.test"]

    def test_an_address_without_sni_gets_a_leaf_with_that_address(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """Seed defect 15: the leaf was for ``unknown``. RFC 6066 3 knows no addresses in SNI."""
        with proxy.tunnel(f"https://127.0.0.1:{origin.port}") as client:
            names = alternative_names(leaf(client))
            client.send(request(b"/address"))
            assert client.answer().body == b"<GET /address >"
        assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]
        assert names.get_values_for_type(x509.DNSName) == []

    def test_a_name_without_sni_gets_a_leaf_for_the_tunnels_host(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        context = proxy.trusting()
        context.check_hostname = False
        client = proxy.opened(b"named.test:%d" % origin.port)
        with wrap(client, context, None):
            names = alternative_names(leaf(client))
        assert names.get_values_for_type(x509.DNSName) == ["named.test"]

    def test_the_origin_is_the_tunnels_whatever_the_hello_says(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """The client gets the certificate that it asks for; the request goes where it connected."""
        client = proxy.opened(b"localhost:%d" % origin.port)
        with wrap(client, proxy.trusting(), "elsewhere.test"):
            client.send(request(b"/fronted", headers=[(b"X-A", b"b")]))
            assert client.answer().body == b"<GET /fronted >"
        received = origin.received[-1]
        assert received.header(b"host") == b"localhost:%d" % origin.port

    @pytest.mark.parametrize(
        ("offered", "expected"),
        [
            (["http/1.1", "h2"], "h2"),
            (["http/1.1"], "http/1.1"),
            (["http/1.0"], "http/1.0"),
            ([], None),
        ],
    )
    def test_a_protocol_is_agreed_on(
        self, proxy: Proxy, origin: FakeUpstream, offered: list[str], expected: str | None
    ) -> None:
        context = proxy.trusting()
        context.set_alpn_protocols(offered)
        client = proxy.opened(b"localhost:%d" % origin.port)
        with wrap(client, context, "localhost"):
            assert isinstance(client.socket, ssl.SSLSocket)
            agreed = client.socket.selected_alpn_protocol()
        assert agreed == expected

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_a_session_is_resumed_in_the_next_tunnel(
        self, proxy: Proxy, origin: FakeUpstream, version: ssl.TLSVersion
    ) -> None:
        context = proxy.trusting()
        context.minimum_version = context.maximum_version = version
        session = None
        for _ in range(2):
            client = proxy.opened(b"localhost:%d" % origin.port)
            wrapped = context.wrap_socket(
                client.socket, server_hostname="localhost", session=session
            )
            client.socket = wrapped
            client.send(request(b"/resumed"))
            assert client.answer().body == b"<GET /resumed >"
            resumed, session = wrapped.session_reused, wrapped.session
            client.close()
        assert resumed


class TestRefusedCertificates:
    def test_it_is_said_once_for_each_host(self, tmp_path: Path) -> None:
        """A client that is pinned, or trusts no CA of ours, ends the handshake with an alert."""
        with secure_origin() as origin, forward_proxy(tmp_path) as proxy:
            for host in ("localhost", "127.0.0.1", "localhost"):
                for _ in range(2):
                    client = proxy.opened(b"%b:%d" % (host.encode(), origin.port))
                    with client, pytest.raises(ssl.SSLCertVerificationError):
                        wrap(client, ssl.create_default_context(), host)
            assert proxy.get(origin.url).status == 200
            eventually(lambda: len(proxy.lines("refused buffr's certificate")) == 2)
            assert origin.connections == 1
        said = proxy.lines("refused buffr's certificate")
        assert [" host=localhost " in line for line in said] == [True, False]
        for line in said:
            assert " level=WARN " in line
            assert "buffr ca" in line
            assert "bypass" in line
        assert "Traceback" not in proxy.process.log()
        assert "Unhandled" not in proxy.process.log()

    def test_other_failures_are_said_with_their_reason(self, proxy: Proxy) -> None:
        """Once for each host: here, a client whose TLS is too old for buffr."""
        context = proxy.trusting()
        context.set_alpn_protocols(["spdy/3"])
        for _ in range(2):
            client = proxy.opened(b"failing.test:443")
            with client, pytest.raises(ssl.SSLError):
                wrap(client, context, "failing.test")
        proxy.opened(b"another.test:443").close()
        eventually(lambda: proxy.lines("TLS in a tunnel failed", " host=failing.test "))
        said = proxy.lines(" host=failing.test ")
        assert len(said) == 1
        assert "spdy/3" in said[0]

    def test_a_client_that_only_leaves_is_not_told_to_trust(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """Browsers open connections that they never use."""
        for _ in range(3):
            proxy.tunnel(f"https://localhost:{origin.port}").close()
            proxy.opened(b"localhost:%d" % origin.port).close()
        with proxy.tunnel(f"https://localhost:{origin.port}") as client:
            client.reset()
        assert proxy.get(f"{origin.url}/after").status == 200
        assert not proxy.lines("refused buffr's certificate")


class TestRequestsInATunnel:
    def test_many_requests_take_one_tunnel(self, proxy: Proxy, origin: FakeUpstream) -> None:
        """Misses, hits, and bodies of all kinds."""
        with proxy.tunnel(origin.url) as client:
            for number in range(30):
                path = b"/many/%d" % (number % 10)
                body = b"x" * (number % 10) * 30_000
                client.send(request(path, method=b"POST", body=body))
                assert client.answer().body == b"<POST %b %b>" % (path, body)
        asked = [one for one in origin.received if one.target.startswith(b"/many/")]
        assert len(asked) == 10

    def test_pipelined_requests_are_answered_in_order(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """RFC 9112 9.3.2."""
        raws = [
            request(b"/pipe/%d" % (number % 7), method=b"POST", body=b"y" * (number % 7) * 9_000)
            for number in range(40)
        ]
        expected = b"".join(
            answer(b"<POST /pipe/%d %b>" % (number % 7, b"y" * (number % 7) * 9_000))
            for number in range(40)
        )
        tls = MemoryTLS(proxy, origin.port)
        with tls.wire:
            # Python's TLS is for one thread at a time; what it has made is for any.
            ready = tls.encrypted(b"".join(raws))
            sender = threading.Thread(target=tls.wire.sendall, args=(ready,))
            sender.start()
            assert tls.read(len(expected)) == expected
            sender.join(120)

    def test_an_absolute_target_in_a_tunnel_names_no_other_origin(
        self, proxy: Proxy, origin: FakeUpstream
    ) -> None:
        """RFC 9112 3.2.2 lets clients send it; the tunnel says where it goes."""
        with proxy.tunnel(origin.url) as client:
            client.send(request(b"http://elsewhere.test/absolute?q=1"))
            assert client.answer().body == b"<GET /absolute?q=1 >"

    def test_a_tunnel_is_not_opened_in_a_tunnel(self, proxy: Proxy, origin: FakeUpstream) -> None:
        with proxy.tunnel(origin.url) as client:
            client.send(request(b"127.0.0.1:1", method=b"CONNECT"))
            assert client.answer().status == 400
            assert client.rest() == b""

    def test_a_bad_request_gets_400_and_the_end(self, proxy: Proxy, origin: FakeUpstream) -> None:
        """As outside of tunnels: nothing of it reaches the origin."""
        before = len(origin.received)
        for bad in (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
        ):
            with proxy.tunnel(origin.url) as client:
                client.send(bad)
                assert client.answer().status == 400
                assert client.rest() == b""
        assert len(origin.received) == before

    def test_events_arrive_live(self, proxy: Proxy) -> None:
        """Each before the next is sent; the replay has the same chunks."""
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            parts = chunked([b"data: %d\n\n" % n for n in range(3)], [_EVENTS])
            for part in parts:
                yield part
                if b"data" in (part if isinstance(part, bytes) else b""):
                    assert arrived.wait(PATIENCE_S)
                    arrived.clear()

        with secure_origin(script) as origin:
            with proxy.tunnel(origin.url) as client:
                client.send(request(b"/events"))
                client.until(b"\r\n\r\n")
                for number in range(3):
                    assert client.chunk() == b"data: %d\n\n" % number
                    arrived.set()
                assert client.chunk() == b""
            assert proxy.get(f"{origin.url}/events").chunks == tuple(
                b"data: %d\n\n" % n for n in range(3)
            )
            assert len(origin.received) == 1

    def test_a_slow_reader_holds_the_origin_back(self, proxy: Proxy) -> None:
        """Through TLS on both sides; all of it arrives, and is recorded."""
        block, count = bytes(range(256)) * 4_000, 50
        sent: list[float] = []

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(block) * count)
            for __ in range(count):
                sent.append(time.monotonic())
                yield block

        with secure_origin(script) as origin:
            with proxy.tunnel(origin.url) as client:
                client.send(request(b"/large"))
                eventually(lambda: sent and time.monotonic() - sent[-1] > 0.3)
                assert len(sent) < count / 2
                assert client.answer().body == block * count
            assert proxy.get(f"{origin.url}/large").body == block * count
            assert len(origin.received) == 1

    def test_an_answer_that_breaks_off_is_seen_as_such(self, proxy: Proxy) -> None:
        """Seed defect 11. TLS ends without a close_notify, or HTTP's framing tells."""

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
            yield None

        with secure_origin(script) as origin:
            for asked in (1, 2):
                with proxy.tunnel(origin.url) as client:
                    client.send(request(b"/broken"))
                    assert client.until(b"one\r\n")
                    try:
                        rest = client.rest()
                    except ssl.SSLError:
                        rest = b""
                    assert b"0\r\n" not in rest
                assert len(origin.received) == asked

    def test_a_client_that_leaves_ends_the_call(self, proxy: Proxy) -> None:
        go_on = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
            go_on.wait(PATIENCE_S)

        with secure_origin(script) as origin:
            client = proxy.tunnel(origin.url)
            client.send(request(b"/left"))
            client.until(b"one")
            client.reset()
            eventually(lambda: proxy.lines(f":{origin.port}/left", " level=WARN "))
            go_on.set()


_EVENTS = (b"Content-Type", b"text/event-stream")


class TestStopping:
    def test_it_waits_for_no_idle_tunnel_and_for_every_answer(self, tmp_path: Path) -> None:
        """The answer under way arrives, and is recorded; code 0."""
        go_on = threading.Event()

        def script(received: Received) -> Iterator[Step]:
            if received.target == b"/under-way":
                assert go_on.wait(PATIENCE_S)
            yield named(received)

        with secure_origin(script) as origin, forward_proxy(tmp_path) as proxy:
            idle = [proxy.tunnel(origin.url), proxy.opened(b"localhost:%d" % origin.port)]
            with proxy.tunnel(origin.url) as client:
                client.send(request(b"/under-way"))
                origin.wait_for(1)
                proxy.process.process.terminate()
                for one in idle:
                    assert one.rest() == b""
                    one.close()
                go_on.set()
                assert client.answer().body.endswith(b"/under-way")
                assert client.rest() == b""
            assert proxy.process.process.wait(PATIENCE_S) == 0
        assert len(proxy.recorded("localhost.json")) == 1


class TestMalformedTargets:
    @pytest.mark.parametrize(
        "target",
        [
            b"localhost",
            b"localhost:",
            b"localhost:0",
            b"localhost:65536",
            b"localhost:443:443",
            b":443",
            b"[::1:443",
            b"::1:443",
            b"user@localhost:443",
            b"https://localhost:443",
            b"localhost:443/path",
            b"*",
            b"a..b:443",
            b"..:443",
            b"-%00:443",
            b"127.1:443",
            b"0x7f000001:443",
            b"%b.test:443" % (b"x" * 64),
        ],
    )
    def test_it_is_400(self, proxy: Proxy, target: bytes) -> None:
        found = proxy.refused(target)
        assert found.status == 400
        assert found.body.startswith(b"buffr: ")

    def test_a_connect_with_a_body_is_400(self, proxy: Proxy, origin: FakeUpstream) -> None:
        """What follows it could be taken for the body, or for the tunnel (RFC 9110 9.3.6)."""
        authority = b"localhost:%d" % origin.port
        chunked_one = [(b"Transfer-Encoding", b"chunked")]
        assert proxy.refused(authority, chunked_one).status == 400
        with proxy.plain() as client:
            client.send(request(authority, method=b"CONNECT", body=b"\x16\x03\x01"))
            assert client.answer().status == 400

    @pytest.mark.parametrize("target", [b"/", b"/v1/models", b"*"])
    def test_a_request_that_names_no_origin_is_400_with_the_reason(
        self, proxy: Proxy, target: bytes
    ) -> None:
        with proxy.plain() as client:
            client.send(request(target, method=b"OPTIONS"))
            found = client.answer()
        assert found.status == 400
        assert b"forward proxy" in found.body
        assert b"HTTPS_PROXY" in found.body


class TestHTTP10:
    """Clients of HTTP/1.0 before a proxy, and in a tunnel of it."""

    @pytest.mark.parametrize(
        "flags",
        [("--http1.0",), ("--proxy1.0",), ("--http1.0", "--proxy1.0")],
        ids=["in the tunnel", "the CONNECT", "both"],
    )
    def test_curl(self, proxy: Proxy, flags: tuple[str, ...]) -> None:
        """It offers http/1.0 by ALPN, and gets a chunked body bare."""
        where = f"127.0.0.1:{proxy.port}"
        through = ("--proxy1.0", where) if "--proxy1.0" in flags else ("-x", f"http://{where}")
        own = [flag for flag in flags if flag != "--proxy1.0"]
        with secure_origin(lambda _: chunked([b"hel", b"lo"])) as origin:
            done = subprocess.run(
                [
                    *("curl", "-sS", "--max-time", "20", "--noproxy", "", *own, *through),
                    *("--cacert", str(proxy.directory / "buffr-ca.pem"), f"{origin.url}/10"),
                ],
                capture_output=True,
                check=False,
            )
        assert (done.stdout, done.stderr) == (b"hello", b"")

    def test_one_request_after_another(self, proxy: Proxy, origin: FakeUpstream) -> None:
        """As many as the client keeps the connection for; then it is closed."""
        with proxy.tunnel(origin.url) as client:
            for number in (1, 2):
                client.send(b"GET /%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % number)
                found = client.answer()
                assert found.body == b"<GET /%d >" % number
                assert found.header(b"connection") == b"keep-alive"
            client.send(b"GET /3 HTTP/1.0\r\n\r\n")
            assert client.answer().body == b"<GET /3 >"
            assert client.rest() == b""
