"""WebSocket: small messages are relayed, recorded and echoed; a recorded session is replayed."""

from __future__ import annotations

import base64
import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Self

from attrs import define

from benchmarks.bench import Bench
from benchmarks.peers import Build
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import buffr
from benchmarks.table import Row
from benchmarks.turns import alternating_cost_ms
from buffr.interaction import FrameKind
from buffr.wire.websocket_frames import encode_frame
from buffr.wire.websocket_handshake import accept_for

__all__ = ["run"]

_CLIENTS = 32
"""Sessions at a time, each with one message under way: enough to keep the server busy."""
_MESSAGE = b"m" * 64
_ASKED = encode_frame(FrameKind.TEXT, _MESSAGE, key=b"\x01\x02\x03\x04")
_ECHOED = encode_frame(FrameKind.TEXT, _MESSAGE)
_FRAMES = 1000
_CLOSE = encode_frame(FrameKind.CLOSE, b"\x03\xe8", key=b"\x01\x02\x03\x04")
_KEY = base64.b64encode(b"sixteen bytes ok")
_HANDSHAKE = (
    b"GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % _KEY
)
_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n"
)


def run(bench: Bench) -> list[Row]:
    with _Echo() as echo:
        servers = [_relaying_buffr(bench, echo, build) for build in bench.peers.builds]
        servers.append(_floor(bench, echo))
        if bench.peers.go_buffr is not None:
            servers.append(_relaying_go(bench, echo))
        if bench.peers.mitmdump is not None:
            servers.append(_relaying_mitmproxy(bench, echo))
        for server in servers:
            server.wait()
        relayed = _relayed(bench, servers, echo)
    rates = {name: one.rate for name, one in relayed.items()}
    costs = {name: one.cost_us for name, one in relayed.items()}
    to_floor = {"buffr": costs["buffr"] / costs["floor"]}
    rows = [
        *bench.rows("us per round trip", costs, most=60),
        *bench.rows("round trips/s", rates),
        *bench.rows("us per round trip, to the floor's", to_floor, most=1.5),
    ]
    if "mitmproxy" in rates:
        times = rates["buffr"] / rates["mitmproxy"]
        rows += bench.rows("round trips/s, to mitmproxy's", {"buffr": times}, least=5)
    sessions = {"buffr": _replayed(bench)}
    rows += bench.rows(f"sessions/s of {_FRAMES} frames", sessions, least=150)
    turns = {"buffr": alternating_cost_ms(bench)}
    return [*rows, *bench.rows(f"ms per session of {_FRAMES} frames in turns", turns)]


@define
class _Load:
    """What a round came to: round trips a second, and processor time for each."""

    rate: float
    cost_us: float


class _Echo:
    """An upstream that sends every message back, and the clients, in one thread."""

    def __init__(self) -> None:
        self.trips = 0
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listening.setblocking(False)
        self._buffers: dict[socket.socket, bytes] = {}
        self._on(self._listening, self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _on(self, connection: socket.socket, call: Callable[[socket.socket], None]) -> None:
        self._selector.register(connection, selectors.EVENT_READ, call)

    def _accept(self, _: socket.socket) -> None:
        connection, _ = self._listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffers[connection] = b""
        self._on(connection, self._switch)

    def _switch(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        self._buffers[connection] += data
        head = self._buffers[connection]
        if not data:
            self._drop(connection)
        elif head.endswith(b"\r\n\r\n"):
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
            self._buffers[connection] = b""
            self._selector.modify(connection, selectors.EVENT_READ, self._echo)
            connection.sendall(_SWITCHED % accept_for(key))

    def _echo(self, connection: socket.socket) -> None:
        messages = self._messages(connection, len(_ASKED))
        if messages:
            connection.sendall(_ECHOED * messages)

    def _messages(self, connection: socket.socket, size: int) -> int:
        """How many more messages are here whole."""
        data = connection.recv(65536)
        if not data:
            self._drop(connection)
            return 0
        data = self._buffers[connection] + data
        messages = len(data) // size
        self._buffers[connection] = data[messages * size :]
        return messages

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        self._buffers.pop(connection, None)

    def _heard(self, connection: socket.socket) -> None:
        if self._messages(connection, len(_ECHOED)):
            self.trips += 1
            connection.sendall(_ASKED)

    @contextmanager
    def clients(self, port: int) -> Iterator[None]:
        """Sessions by way of a server, each with one message under way."""
        with ExitStack() as stack:
            for _ in range(_CLIENTS):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.sendall(_HANDSHAKE)
                head = b""
                connection.setblocking(False)
                while not head.endswith(b"\r\n\r\n"):
                    self.turn(time.perf_counter() + 0.01)
                    try:
                        head += connection.recv(4096)
                    except BlockingIOError:
                        continue
                if not head.startswith(b"HTTP/1.1 101 "):
                    raise Failed(f"no session: {head!r}")
                connection.setblocking(True)
                self._buffers[connection] = b""
                self._on(connection, self._heard)
                connection.sendall(_ASKED)
            yield
            for connection in [one for one in self._buffers if one.fileno() >= 0]:
                self._drop(connection)

    def turn(self, until: float) -> None:
        """Serve what comes until then."""
        while (left := until - time.perf_counter()) > 0:
            for key, _ in self._selector.select(left):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                key.data(connection)


def _relayed(bench: Bench, servers: list[Process], echo: _Echo) -> dict[str, _Load]:
    """The medians of rounds in which servers take turns."""
    found: dict[str, list[_Load]] = {server.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            with echo.clients(server.port):
                echo.turn(time.perf_counter() + 0.2)
                echo.trips = 0
                before, waited_s = server.processor_s(), server.waited_s()
                echo.turn(time.perf_counter() + bench.seconds)
                cost_us = (server.processor_s() - before) * 1e6 / max(1, echo.trips)
                bench.waits.append((server.waited_s() - waited_s) / bench.seconds)
                found[server.name].append(_Load(echo.trips / bench.seconds, cost_us))
    for name, loads in found.items():
        shown = ", ".join(f"{load.cost_us:.1f}" for load in loads)
        bench.say(f"{name}: {shown} us of processor time per round trip")
    return {
        name: _Load(median(one.rate for one in loads), median(one.cost_us for one in loads))
        for name, loads in found.items()
    }


def _relaying_buffr(bench: Bench, echo: _Echo, build: Build) -> Process:
    port = free_port()
    options = ["--mode", "record", "--port", str(port), "--target", echo.url]
    options += ["--cassette", str(bench.file("cassette.json"))]
    return bench.buffr(options, port, build=build)


def _floor(bench: Bench, echo: _Echo) -> Process:
    """See ``benchmarks.websocket_floor``."""
    port, upstream_port = free_port(), int(echo.url.rpartition(":")[2])
    command = [sys.executable, "-m", "benchmarks.websocket_floor", str(port), str(upstream_port)]
    return bench.start("floor", command, port)


def _relaying_go(bench: Bench, echo: _Echo) -> Process:
    assert bench.peers.go_buffr is not None
    port = free_port()
    command = [bench.peers.go_buffr, "record", "--port", str(port), "--target", echo.url]
    command += ["--cassette", str(bench.file("cassette.json"))]
    return bench.start("Go program", command, port)


def _relaying_mitmproxy(bench: Bench, echo: _Echo) -> Process:
    assert bench.peers.mitmdump is not None
    port = free_port()
    command = [bench.peers.mitmdump, "--quiet", "--mode", f"reverse:{echo.url}"]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", "confdir=."]
    return bench.start("mitmproxy", command, port)


def _replayed(bench: Bench) -> float:
    """How often a second one client has a whole session of text frames."""
    cassette = bench.file("cassette.json")
    frames = [
        {
            "direction": "server_to_client",
            "opcode": "text",
            "data": json.dumps({"type": "delta", "index": number, "delta": "some words"}),
            "delay_ms": 1,
        }
        for number in range(_FRAMES)
    ]
    recorded = {"request": {"path": "/session", "headers": {}}, "frames": frames}
    session = {"type": "websocket", "websocket": recorded}
    cassette.write_text(json.dumps({"version": 1, "interactions": [session]}))
    size_bytes = sum(
        len(encode_frame(FrameKind.TEXT, str(frame["data"]).encode())) for frame in frames
    )
    server = buffr(bench, "replay", None, cassette)
    server.wait()
    rates = []
    for _ in range(bench.rounds):
        sessions, started = 0, time.perf_counter()
        while time.perf_counter() < started + bench.seconds:
            _take(server.port, size_bytes)
            sessions += 1
        rates.append(sessions / (time.perf_counter() - started))
    bench.say(", ".join(f"{rate:.0f}" for rate in rates) + f" sessions/s of {_FRAMES} frames")
    return median(rates)


def _take(port: int, size_bytes: int) -> None:
    """Have one session, and close it."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(_HANDSHAKE)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        left = size_bytes - len(received.partition(b"\r\n\r\n")[2])
        while left > 0:
            data = connection.recv(65536)
            if not data:
                raise Failed("a session broke off")
            left -= len(data)
        if left:
            raise Failed("a session has more bytes than expected")
        connection.sendall(_CLOSE)
        while connection.recv(4096):
            pass
