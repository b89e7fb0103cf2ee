"""Real clients in HTTP/2 record through buffr, and see the same when the origin is gone.

Each engine serves them all: on a plain port, on one with TLS, and in tunnels.
What one version of HTTP recorded is replayed to clients of the other.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from bench import interactions
from forward_bench import NO_PARENTS, secure_origin, trust_file
from http2_clients import CLIENTS, Http2Client, Ports, Script, missing
from http2_pair import GET, POST
from memory import Memory
from raw_http import RawClient, request

from buffr.interaction import FrameKind
from buffr.message import Headers
from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked
from buffr.wire.http2.engines import ENGINES
from buffr.wire.http2.interface import Bounds, Code
from buffr.wire.websocket_frames import encode_frame
from buffr.wire.websocket_handshake import accept_for


@frozen
class Story:
    """What each client saw, or failed with: recording, and replayed; and what was recorded."""

    takes: tuple[dict[str, str | Exception], dict[str, str | Exception]]
    log: str
    versions: dict[str, set[int]]

    def take(self, phase: int, name: str) -> str:
        result = self.takes[phase][name]
        if isinstance(result, Exception):
            raise result
        return result


def _run_all(ports: Ports) -> dict[str, str | Exception]:
    takes: dict[str, str | Exception] = {}
    for name, client in CLIENTS.items():
        if not missing(name):
            try:
                takes[name] = client(ports)
            except Exception as error:  # noqa: BLE001  # the test of this client raises it
                takes[name] = error
    return takes


@pytest.fixture(scope="module", params=ENGINES)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    directory = tmp_path_factory.mktemp("http2")
    trust_file(directory)
    script = Script()
    with FakeUpstream(script) as origin, secure_origin(script) as secure:
        settings = {
            "http2_engine": request.param,
            "reverse": [
                {"target": origin.url, "port": 0, "cassette": "plain.json"},
                {"target": origin.url, "port": 0, "cassette": "secure.json", "tls": True},
            ],
            "gateway": {
                "port": 0,
                "tls": True,
                "routes": {
                    "api": {"target": origin.url, "mode": "auto", "cassette": "gateway.json"}
                },
            },
            "forward": {
                "port": 0,
                "hosts": [{"host": "localhost", "ca_file": "origins.pem"}],
            },
        }
        (directory / "buffr.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", cwd=directory, listeners=4, env=NO_PARENTS) as buffr:
            plain, tls, gateway, proxy = buffr.ports
            ports = Ports(plain, tls, proxy, gateway, secure.port)
            live = _run_all(ports)
            origin.close()
            secure.close()
            replayed = _run_all(ports)
    versions: dict[str, set[int]] = {}
    for cassette in directory.glob("*.json"):
        for one in interactions(cassette):
            asked = one["http"]["request"]
            client = asked["path"].split("/")[1]
            versions.setdefault(client, set()).add(asked.get("http_version", 1))
    return Story((live, replayed), buffr.log(), versions)


@pytest.mark.parametrize("name", CLIENTS)
class TestEachClient:
    def test_it_records_and_replays(self, story: Story, name: str) -> None:
        """The same bytes when the origin is gone."""
        if reason := missing(name):
            pytest.skip(reason)
        assert story.take(0, name)
        assert story.take(1, name) == story.take(0, name)


class TestTheWhole:
    def test_nothing_went_wrong_behind_the_scenes(self, story: Story) -> None:
        for bad in ("Traceback", "defect", "level=ERROR", "level=WARN", "src=miss"):
            assert bad not in story.log

    def test_the_version_is_kept_as_a_fact(self, story: Story) -> None:
        assert story.versions["prior"] == {2}
        assert set.union(*story.versions.values()) == {2}


@frozen
class Place:
    """A buffr with a plain port, and its upstream."""

    buffr: BuffrProcess
    upstream: FakeUpstream

    def client(self) -> Http2Client:
        return Http2Client(socket.create_connection(("127.0.0.1", self.buffr.ports[0])))


def asking(path: bytes, fields: Headers = GET) -> Headers:
    return (*fields[:3], (b":path", path))


def websocket(received: Received) -> bytes | Iterator[Step]:
    key = received.header(b"sec-websocket-key")
    if key is None:
        return Script()(received)

    def talk() -> Iterator[Step]:
        yield (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept_for(key)
        )
        yield encode_frame(FrameKind.TEXT, b"welcome")
        yield encode_frame(FrameKind.CLOSE, b"\x0f\xa1bye")

    return talk()


@pytest.fixture(scope="module", params=ENGINES)
def here(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("http2")
    with FakeUpstream(websocket) as upstream:
        settings = {
            "http2_engine": request.param,
            "reverse": [
                {"target": upstream.url, "port": 0, "cassette": "one.json"},
                {"target": upstream.url, "port": 0, "cassette": "two.json", "http2": False},
                {
                    "target": upstream.url,
                    "port": 0,
                    "cassette": "3.json",
                    "http2": False,
                    "tls": True,
                },
            ],
            "limits": {"http2_frames": 20},
        }
        (directory / "buffr.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", cwd=directory, listeners=3, env=NO_PARENTS) as buffr:
            yield Place(buffr, upstream)


class TestBothVersions:
    def test_recorded_in_2_replayed_in_1(self, here: Place) -> None:
        """And the reverse: with the bytes of the other, trailers too."""
        client = here.client()
        status, body = client.whole(client.ask(asking(b"/x")))
        raw = RawClient(here.buffr.ports[0])
        raw.send(request(b"/x", headers=[(b"TE", b"trailers"), (b"Connection", b"TE")]))
        found = raw.answer()
        assert (found.status, found.body) == (status, body)
        raw.send(request(b"/chunks"))
        first = raw.answer()
        stream = client.ask(asking(b"/chunks"))
        client.until(lambda: ("trailers", stream, ((b"x-sum", b"1"),)) in client.heard.said)
        assert client.heard.bodies[stream] == first.body
        asked = [one.target for one in here.upstream.received]
        assert (asked.count(b"/x"), asked.count(b"/chunks")) == (1, 1)

    def test_what_the_upstream_gets(self, here: Place) -> None:
        """One request in HTTP/1.1, right in every field."""
        client = here.client()
        fields = (
            *asking(b"/fields", POST),
            (b"cookie", b"a=1"),
            (b"te", b"trailers"),
            (b"x-one", b"1"),
            (b"cookie", b"b=2"),
        )
        stream = client.ask(fields, ended=False)
        client.say(stream, b"body", ended=True)
        client.whole(stream)
        (got,) = [one for one in here.upstream.received if one.target == b"/fields"]
        assert (got.line, got.body) == (b"POST /fields HTTP/1.1", b"body")
        host = here.upstream.url.removeprefix("http://").encode()
        sent = [one for one in got.headers if not one[0].startswith(b"X-Buffr")]
        assert sent == [
            (b"host", host),
            (b"cookie", b"a=1; b=2"),
            (b"x-one", b"1"),
            (b"transfer-encoding", b"chunked"),
            (b"TE", b"trailers"),
            (b"Connection", b"TE"),
        ]

    def test_ports_without_http_2(self, here: Place) -> None:
        """The preface is refused, and ALPN agrees on HTTP/1.1."""
        with socket.create_connection(("127.0.0.1", here.buffr.ports[1])) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert plain.recv(100).startswith(b"HTTP/1.1 505 ")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", here.buffr.ports[2])) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            assert secure.selected_alpn_protocol() == "http/1.1"

    def test_http_2_by_alpn_ends_as_http_2(self, tmp_path: Path) -> None:
        """What begins otherwise gets no answer in HTTP/1.1 (RFC 9113 3.4)."""
        settings = {"reverse": [{"target": "http://127.0.0.1:9", "port": 0, "tls": True}]}
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        for engine in ENGINES:
            (tmp_path / "buffr.yaml").write_text(json.dumps({**settings, "http2_engine": engine}))
            with (
                BuffrProcess.run("serve", cwd=tmp_path, env=NO_PARENTS) as buffr,
                socket.create_connection(("127.0.0.1", buffr.ports[0])) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secure,
            ):
                assert secure.selected_alpn_protocol() == "h2"
                secure.sendall(b"INVALID CONNECTION PREFACE\r\n\r\n")
                came = b""
                while more := secure.recv(1000):
                    came += more
                assert b"HTTP/1.1" not in came


class TestWebSocket:
    def test_live_and_replayed(self, here: Place) -> None:
        """In a stream beside others (RFC 8441); replayed it is the same, also in HTTP/1.1."""
        fields = (
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            *asking(b"/socket")[1:],
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-protocol", b"chat"),
        )
        expected = encode_frame(FrameKind.TEXT, b"welcome") + encode_frame(
            FrameKind.CLOSE, b"\x0f\xa1bye"
        )
        for _ in range(2):
            client = here.client()
            stream = client.ask(fields, ended=False)

            def came(client: Http2Client = client, stream: int = stream) -> bool:
                return client.heard.bodies.get(stream, b"") == expected

            client.until(came)
            other = client.ask(asking(b"/beside"))
            assert client.whole(other)[0] == 200
            head = dict(client.heard.heads[stream])
            assert (head[b":status"], head[b"sec-websocket-protocol"]) == (b"200", b"chat")
            assert b"sec-websocket-accept" not in head
            closing = encode_frame(FrameKind.CLOSE, b"\x0f\xa1bye", key=b"1234")
            client.say(stream, closing, ended=True)
            client.until(lambda: ("end", stream) in client.heard.said)  # noqa: B023
            client.socket.close()
            here.buffr.wait_for("WS /socket")
        asked = [one.target for one in here.upstream.received]
        assert asked.count(b"/socket") == 1


class TestFloods:
    def test_a_flood_is_in_the_log(self, here: Place) -> None:
        client = here.client()
        for _ in range(50):
            client.engine.ping()
        client.flush()
        calm = ("going away", 0, Code.ENHANCE_YOUR_CALM)
        client.until(lambda: calm in client.heard.said)
        line = here.buffr.wait_for("HTTP/2 connection closed.*")[0]
        assert "client=127.0.0.1" in line
        assert "over 20 frames such as" in line
        assert "limits.http2_frames" in line
        another = here.client()
        assert another.whole(another.ask())[0] == 200


class TestMemory:
    def test_a_slow_reader(self, tmp_path: Path) -> None:
        """A long answer stays with its upstream: buffr holds what is in windows and buffers."""
        piece, number = b"x" * 1_000_000, 200
        sent = []

        def long(received: Received) -> bytes | Iterator[Step]:
            return pieces() if received.target == b"/long" else answer(b"ok")

        def pieces() -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (number * len(piece))
            for at in range(number):
                sent.append(at)
                yield piece

        with FakeUpstream(long) as upstream:
            settings = {"reverse": [{"target": upstream.url, "port": 0, "mode": "passthrough"}]}
            (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
            with BuffrProcess.run("serve", cwd=tmp_path, env=NO_PARENTS) as buffr:
                client = Http2Client(socket.create_connection(("127.0.0.1", buffr.ports[0])))
                memory, came = Memory(buffr.process.pid), 0
                client.heard.held = True
                stream = client.ask(asking(b"/long"))
                window = Bounds().stream_bytes
                client.until(lambda: len(client.heard.bodies.get(stream, b"")) == window)
                raw = RawClient(buffr.ports[0])
                for _ in range(100):  # it has all the time to take more than it should
                    raw.send(request(b"/other"))
                    assert raw.answer().status == 200
                assert len(sent) < 16
                client.heard.held = False
                client.engine.consumed(stream, window)
                client.flush()
                heard = client.heard
                while stream not in heard.over:
                    client.until(lambda: bool(heard.bodies.get(stream)) or stream in heard.over)
                    came += len(heard.bodies.pop(stream, b""))
                assert came == number * len(piece)
                assert memory.more_mb < 16


class TestStopping:
    def test_a_stream_under_way_is_finished(self, tmp_path: Path) -> None:
        """SIGTERM: a GOAWAY at once, the rest of the answer, and then the end."""

        def slow(received: Received) -> Iterator[Step]:
            return chunked([b"first", b"last"], delay_s=1.0)

        with FakeUpstream(slow) as upstream:
            settings = {"reverse": [{"target": upstream.url, "port": 0, "mode": "passthrough"}]}
            (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
            with BuffrProcess.run("serve", cwd=tmp_path, env=NO_PARENTS) as buffr:
                client = Http2Client(socket.create_connection(("127.0.0.1", buffr.ports[0])))
                stream = client.ask()
                client.until(lambda: client.heard.bodies.get(stream) == b"first")
                buffr.process.terminate()
                assert client.whole(stream) == (200, b"firstlast")
                assert ("going away", stream, Code.NO_ERROR) in client.heard.said
                assert client.socket.recv(100) == b""
