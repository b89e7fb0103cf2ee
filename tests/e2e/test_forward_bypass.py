"""Bypassed hosts: their bytes pass as they are, counted and logged, and never kept."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from bench import eventually
from forward_bench import (
    Proxy,
    forward_proxy,
    named,
    origins_authority,
    secure_origin,
    wrap,
)
from ports import free_port
from raw_http import RawClient, request

from buffr.testing import FakeUpstream, Received, answer

PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """``localhost`` is bypassed, ``127.0.0.1`` is not."""
    directory = tmp_path_factory.mktemp("bypass")
    with forward_proxy(directory, {"bypass": ["localhost", "*.internal"]}) as running:
        yield running
    assert "Traceback" not in running.process.log()


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accepts one connection, and does with it what the test says; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)

        def accept() -> None:
            connection, _ = listening.accept()
            connection.settimeout(PATIENCE_S)
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until_end(connection: socket.socket) -> bytes:
    parts = iter(lambda: connection.recv(65536), b"")
    return b"".join(parts)


class TestTunnels:
    def test_the_origins_own_certificate_is_seen(self, proxy: Proxy) -> None:
        """Nothing is minted for it: a client that trusts the origin, and not buffr, is served."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        origins_authority().configure_trust(context)
        with secure_origin() as origin:
            for _ in range(2):
                with proxy.opened(b"localhost:%d" % origin.port) as client:
                    wrap(client, context, "localhost")
                    client.send(request(b"/secret-path"))
                    assert client.answer().body == b"GET client.test/secret-path"
            assert len(origin.received) == 2, "nothing is replayed"
        lines = eventually(lambda: proxy.lines(f"CONNECT localhost:{origin.port}")[1:])
        assert " level=INFO " in lines[0]
        assert " status=200 " in lines[0]
        assert lines[0].endswith(" src=bypass\n")
        assert "secret-path" not in proxy.process.log()
        assert "localhost.json" not in proxy.files()

    def test_a_tunnel_ends_in_the_log_with_how_long_it_took(self, proxy: Proxy) -> None:
        with raw_server(lambda connection: connection.sendall(b"done")) as port:
            with proxy.opened(b"localhost:%d" % port) as client:
                assert client.rest() == b"done"
            line = eventually(lambda: proxy.lines(f"CONNECT localhost:{port}"))[0]
        assert " dur=" in line

    def test_any_protocol_passes(self, proxy: Proxy) -> None:
        """Also one whose server speaks first, and what comes in one segment with the CONNECT."""

        def serve(connection: socket.socket) -> None:
            connection.sendall(b"220 hello\x00\xff")
            assert connection.recv(100) == b"\x00early\xff"
            connection.sendall(b"bye")

        with raw_server(serve) as port, proxy.plain() as client:
            authority = b"localhost:%d" % port
            client.send(request(authority, method=b"CONNECT") + b"\x00early\xff")
            assert client.answer(b"HEAD").status == 200
            assert client.rest() == b"220 hello\x00\xffbye"

    @pytest.mark.parametrize("first", ["client", "server"])
    def test_a_half_that_is_closed_leaves_the_other_open(self, proxy: Proxy, first: str) -> None:
        """Either side may have said all that it has to say, and go on listening."""
        heard: list[bytes] = []
        closed = threading.Event()

        def serve(connection: socket.socket) -> None:
            if first == "server":
                connection.sendall(b"all of mine")
                connection.shutdown(socket.SHUT_WR)
                closed.set()
            heard.append(until_end(connection))
            if first == "client":
                connection.sendall(b"all of mine")

        with raw_server(serve) as port, proxy.opened(b"localhost:%d" % port) as client:
            if first == "server":
                assert closed.wait(PATIENCE_S)
                assert client.rest() == b"all of mine"
            client.send(b"all of ours")
            client.finish()
            if first == "client":
                assert client.rest() == b"all of mine"
            eventually(lambda: heard)
        assert heard == [b"all of ours"]

    @pytest.mark.parametrize("towards", ["client", "server"])
    def test_a_slow_reader_holds_the_sender_back(self, proxy: Proxy, towards: str) -> None:
        """Buffr keeps little; once there is room again, all of it arrives."""
        total = 60_000_000
        sent = 0
        stalled = threading.Event()
        go_on = threading.Event()

        def pour(connection: socket.socket) -> None:
            nonlocal sent
            block = bytes(1_000_000)
            connection.settimeout(0.5)
            while sent < total:
                try:
                    sent += connection.send(block[: total - sent])
                except TimeoutError:
                    stalled.set()
                    assert go_on.wait(PATIENCE_S)
            connection.shutdown(socket.SHUT_WR)

        def drink(connection: socket.socket) -> None:
            assert stalled.wait(PATIENCE_S)
            go_on.set()
            received = 0
            while data := connection.recv(1_000_000):
                received += len(data)
            assert received == total

        def serve(connection: socket.socket) -> None:
            assert connection.recv(1) == b"x"
            (drink if towards == "server" else pour)(connection)

        before = _resident_bytes(proxy)
        with raw_server(serve) as port, proxy.opened(b"localhost:%d" % port) as client:
            client.socket.settimeout(PATIENCE_S)
            client.send(b"x")
            (pour if towards == "server" else drink)(client.socket)
            assert _resident_bytes(proxy) - before < total / 3
        assert sent == total

    def test_a_reset_goes_through_in_both_directions(self, proxy: Proxy) -> None:
        """The other end learns that it is over; nothing is left open."""
        over = threading.Event()

        def serve(connection: socket.socket) -> None:
            with suppress(OSError):
                until_end(connection)
            over.set()

        with raw_server(serve) as port:
            client = proxy.opened(b"localhost:%d" % port)
            client.send(b"x")
            client.reset()
            assert over.wait(PATIENCE_S)

        def reset(connection: socket.socket) -> None:
            assert connection.recv(1)
            option = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)

        with raw_server(reset) as port, proxy.opened(b"localhost:%d" % port) as client:
            client.send(b"x")
            assert client.rest() == b""

    def test_an_origin_that_is_down_is_502(self, proxy: Proxy) -> None:
        port = free_port()
        found = proxy.refused(b"localhost:%d" % port)
        assert found.status == 502
        assert b"refused the connection (localhost:%d)" % port in found.body
        found = proxy.refused(b"nobody.internal:443")
        assert found.status == 502
        assert b"does not resolve (nobody.internal)" in found.body
        assert not proxy.lines(f"CONNECT localhost:{port}", "status=200")

    def test_many_tunnels_at_once_keep_apart(self, proxy: Proxy) -> None:
        with ExitStack() as stack:
            origin = stack.enter_context(FakeUpstream(named))
            authority = b"localhost:%d" % origin.port
            clients = [stack.enter_context(proxy.opened(authority)) for _ in range(60)]
            for number, client in enumerate(clients):
                client.send(request(b"/%d" % number))
            for number, client in enumerate(clients):
                assert client.answer().body.endswith(b"/%d" % number)


def _resident_bytes(proxy: Proxy) -> int:
    status = Path(f"/proc/{proxy.process.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


class TestPlainRequests:
    def test_they_are_relayed_and_not_recorded(self, proxy: Proxy) -> None:
        counted: list[Received] = []

        def script(received: Received) -> bytes:
            counted.append(received)
            return answer(b"%d" % len(counted), headers=[(b"X-Case", b"kept"), (b"x-case", b"2")])

        with FakeUpstream(script) as origin:
            url = f"http://localhost:{origin.port}/plain?key=a-secret"
            first, second = proxy.get(url), proxy.get(url)
        assert (first.body, second.body) == (b"1", b"2")
        assert first.headers[:2] == ((b"X-Case", b"kept"), (b"x-case", b"2"))
        shown = f"GET http://localhost:{origin.port}/plain"
        eventually(lambda: len(proxy.lines(shown)) == 2)
        lines = proxy.lines(shown)
        assert all(line.endswith(" src=bypass\n") for line in lines)
        assert "a-secret" not in proxy.process.log()
        assert "localhost.json" not in proxy.files()

    def test_an_origin_that_is_down_is_502(self, proxy: Proxy) -> None:
        port = free_port()
        assert proxy.get(f"http://localhost:{port}/down").status == 502
        eventually(lambda: proxy.lines(f":{port}/down", " status=502 ", " src=bypass"))


class TestEntries:
    """Whether a host is looked into shows in what TLS does: ours, or the origin's own."""

    @pytest.mark.parametrize(
        ("bypass", "no_proxy", "passed"),
        [
            ([], "", ()),
            (["*"], "", ("localhost", "127.0.0.1")),
            (["127.0.0.0/8"], "", ("127.0.0.1",)),
            (["LOCALHOST."], "", ("localhost",)),
            ([], "localhost", ("localhost",)),
            ([], "example.test, 127.0.0.1", ("127.0.0.1",)),
            ([], "*", ()),
            (["localhost:{port}"], "127.0.0.1:{port}", ("localhost", "127.0.0.1")),
            (["localhost:1"], "127.0.0.1:1,.localhost:2", ()),
        ],
    )
    def test_lists_and_no_proxy(
        self, tmp_path: Path, bypass: list[str], no_proxy: str, passed: tuple[str, ...]
    ) -> None:
        """Hosts, ports and ranges. ``*`` in ``NO_PROXY`` is for buffr's own parent proxies."""
        with secure_origin(named, "localhost", "127.0.0.1") as origin:
            written = [entry.format(port=origin.port) for entry in bypass]
            env = {"NO_PROXY": no_proxy.format(port=origin.port)}
            with forward_proxy(tmp_path, {"bypass": written}, env=env) as proxy:
                for host in ("localhost", "127.0.0.1"):
                    context = ssl.create_default_context()
                    context.check_hostname = False
                    origins_authority().configure_trust(context)
                    client = proxy.opened(f"{host}:{origin.port}".encode())
                    assert _trusts(client, context, host) == (host in passed)


def _trusts(client: RawClient, context: ssl.SSLContext, name: str) -> bool:
    try:
        with client:
            wrap(client, context, name)
    except ssl.SSLCertVerificationError:
        return False
    return True
