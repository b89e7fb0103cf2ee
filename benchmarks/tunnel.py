"""A small GET is replayed through a TLS tunnel: a new one for each, and many in one.

New ones are measured with a whole handshake, and with a session that is resumed.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
from benchmarks.peers import BUFFR, Build
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import check_hits
from benchmarks.table import Row

__all__ = ["run"]

_CLIENTS = 4
"""Connections that are opened at a time, where each gets one request."""
_KEPT = 64
"""Tunnels that are kept open, where each gets many: enough for the server to be always busy."""
_TARGET = "/answer"


def run(bench: Bench) -> list[Row]:
    origin = _origin(bench)
    servers = [_Target(_buffr(bench, origin, build), origin) for build in bench.peers.builds]
    ours = [server.process for server in servers]
    if bench.peers.go_buffr is not None:
        servers.append(_Target(_go(bench, origin), origin))
    if bench.peers.mitmdump is not None:
        servers.append(_Target(_mitmproxy(bench, origin), origin))
    for server in servers:
        server.process.wait()
        server.expected = server.ask()
    new = _measured(bench, servers, _new_tunnels)
    resumed = _measured(bench, servers, _resumed_tunnels)
    kept = _measured(bench, servers, _kept_tunnels)
    for process in ours:
        check_hits(process)
    go = "Go program"
    return [
        *bench.rows("ms per new tunnel", _ms(new), most=0.8, to={go: 1.8}),
        *bench.rows("ms per new tunnel, resumed", _ms(resumed), to={go: 1.1}),
        *_times(bench, "new tunnels/s", {name: one.rate for name, one in new.items()}, 5),
        *bench.rows("us per answer", _us(kept), most=45, to={go: 1.2}),
        *_times(bench, "answers/s", {name: one.rate for name, one in kept.items()}, 20),
    ]


def _ms(loads: Mapping[str, _Load]) -> dict[str, float]:
    return {name: one.cost_us / 1e3 for name, one in loads.items()}


def _us(loads: Mapping[str, _Load]) -> dict[str, float]:
    return {name: one.cost_us for name, one in loads.items()}


def _times(bench: Bench, measure: str, rates: dict[str, float], least: float) -> list[Row]:
    """The rates, and how many times mitmproxy's buffr's is."""
    rows = bench.rows(measure, rates)
    if "mitmproxy" in rates:
        times = rates["buffr"] / rates["mitmproxy"]
        rows += bench.rows(f"{measure}, to mitmproxy's", {"buffr": times}, least=least)
    return rows


def _context() -> ssl.SSLContext:
    """A client that looks at no certificate, so that the load costs little."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@define(eq=False)
class _Target:
    """A forward proxy, and the origin that it is asked for."""

    process: Process
    origin: Process
    expected: bytes = b""
    _tls: ssl.SSLContext = field(factory=_context)

    @property
    def _authority(self) -> bytes:
        return b"127.0.0.1:%d" % self.origin.port

    @property
    def request(self) -> bytes:
        return b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (_TARGET.encode(), self._authority)

    def tunnel(self, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A new tunnel, its handshake done, of a session if one is given. Raises ``Failed``."""
        connection = socket.create_connection(("127.0.0.1", self.process.port), 60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        authority = self._authority
        connection.sendall(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                raise Failed(f"{self.process.name} opens no tunnel: {head!r}")
            head += data
        if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
            raise Failed(f"{self.process.name} opens no tunnel: {head!r}")
        return self._tls.wrap_socket(connection, server_hostname="127.0.0.1", session=session)

    def ask(self) -> bytes:
        """The answer in a tunnel of its own."""
        with self.tunnel() as connection:
            connection.sendall(self.request)
            head, _, body = _until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise Failed(f"{self.process.name} answers {head!r}")
            while len(body) < len(ANSWER):
                body += connection.recv(65536)
            return head + b"\r\n\r\n" + body

    def take(self, connection: ssl.SSLSocket) -> None:
        """Read an answer to its end. Raises ``Failed`` unless it is of the size of the first."""
        size = 0
        while size < len(self.expected):
            data = connection.recv(65536)
            if not data:
                raise Failed(f"{self.process.name} closes a tunnel")
            size += len(data)
        if size > len(self.expected):
            raise Failed(f"{self.process.name} gives longer answers than expected")


def _until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = connection.recv(65536)
        if not data:
            raise Failed(f"an answer broke off: {received!r}")
        received += data
    return received


@define
class _Load:
    """What a round came to: answers a second, and processor time per answer."""

    rate: float
    cost_us: float


@define
class _Round:
    """A round of load on a server. What comes before ``begin`` does not count."""

    process: Process
    seconds: float
    _started: float = field(init=False, default=0.0)
    _used_s: float = field(init=False, default=0.0)
    _waited_s: float = field(init=False, default=0.0)

    def begin(self) -> float:
        """Start to measure. Returns when the round is over, by ``time.perf_counter``."""
        self._used_s, self._waited_s = self.process.processor_s(), self.process.waited_s()
        self._started = time.perf_counter()
        return self._started + self.seconds

    def ended(self, bench: Bench, answers: int) -> _Load:
        seconds = time.perf_counter() - self._started
        bench.waits.append((self.process.waited_s() - self._waited_s) / seconds)
        cost_us = (self.process.processor_s() - self._used_s) * 1e6 / answers
        return _Load(answers / seconds, cost_us)


def _measured(
    bench: Bench, servers: Sequence[_Target], load: Callable[[_Target, _Round], int]
) -> dict[str, _Load]:
    """The medians of rounds in which servers take turns."""
    found: dict[str, list[_Load]] = {server.process.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            one = _Round(server.process, bench.seconds)
            answers = load(server, one)
            server.process.answered += answers
            found[server.process.name].append(one.ended(bench, answers))
    for name, rounds in found.items():
        shown = ", ".join(f"{one.cost_us:.0f}" for one in sorted(rounds, key=lambda x: x.cost_us))
        bench.say(f"{name}: {shown} us of processor time per answer")
    return {
        name: _Load(median(one.rate for one in each), median(one.cost_us for one in each))
        for name, each in found.items()
    }


def _new_tunnels(server: _Target, one: _Round) -> int:
    """Connect, CONNECT, handshake, one request; again and again on a few threads."""
    return _on_threads(server, one, resumed=False)


def _resumed_tunnels(server: _Target, one: _Round) -> int:
    """The same, each with the session of the one before it, where the server keeps any."""
    return _on_threads(server, one, resumed=True)


def _on_threads(server: _Target, one: _Round, *, resumed: bool) -> int:
    until = one.begin()

    def one_after_another(_: int) -> int:
        answers = 0
        session = None
        while time.perf_counter() < until:
            with server.tunnel(session) as connection:
                connection.sendall(server.request)
                server.take(connection)
                if resumed:
                    session = connection.session
            answers += 1
        return answers

    with ThreadPoolExecutor(_CLIENTS) as threads:
        return sum(threads.map(one_after_another, range(_CLIENTS)))


def _kept_tunnels(server: _Target, one: _Round) -> int:
    """A request in each of some tunnels, then their answers, again and again."""
    answers = 0
    with ExitStack() as stack:
        connections = [stack.enter_context(server.tunnel()) for _ in range(_KEPT)]
        request, until = server.request, one.begin()
        while time.perf_counter() < until:
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                server.take(connection)
            answers += len(connections)
    return answers


def _buffr_with(
    bench: Bench,
    settings: Mapping[str, object],
    port: int,
    *,
    name: str = "",
    build: Build = BUFFR,
    core: int | None = None,
) -> Process:
    configuration = bench.file("buffr.yaml")
    configuration.write_text(json.dumps(settings))
    options = ["--config", str(configuration)]
    return bench.buffr(options, port, name=name, build=build, core=core)


def _origin_directory(bench: Bench) -> Path:
    """Where the origin's files are, among them its CA's certificate."""
    return bench.directory / "origin"


def _origin(bench: Bench) -> Process:
    """What is recorded, behind TLS; it is asked once by each proxy."""
    _origin_directory(bench).mkdir()
    cassette = _origin_directory(bench) / "origin.json"
    request = {"method": "GET", "path": _TARGET, "headers": {}}
    length = {"Content-Type": ["application/json"], "Content-Length": [str(len(ANSWER))]}
    response = {"status": 200, "headers": length, "body": ANSWER}
    recorded = {"type": "http", "http": {"request": request, "response": response}}
    cassette.write_text(json.dumps({"version": 1, "interactions": [recorded]}))
    port = free_port()
    row = {"port": port, "mode": "replay", "cassette": str(cassette), "tls": True}
    settings = {"data_dir": str(cassette.parent), "reverse": [row]}
    origin = _buffr_with(bench, settings, port, name="origin", core=bench.cores.load)
    origin.wait()
    return origin


def _buffr(bench: Bench, origin: Process, build: Build) -> Process:
    """A forward proxy by buffr that replays what it has recorded from the origin."""
    cassette = bench.file("cassette.json")
    row = {"host": "127.0.0.1", "cassette": str(cassette)}

    def started(mode: str, **options: object) -> Process:
        port = free_port()
        forward = {"port": port, "mode": mode, "hosts": [{**row, **options}]}
        settings = {"data_dir": str(cassette.parent), "forward": forward}
        return _buffr_with(bench, settings, port, build=build)

    _recorded(started("auto", verify=False), origin)
    return started("replay")


def _go(bench: Bench, origin: Process) -> Process:
    """A forward proxy by the Go program that does the same."""
    directory = bench.file("cassette.json").parent

    def started(mode: str) -> Process:
        assert bench.peers.go_buffr is not None
        port = free_port()
        command = [bench.peers.go_buffr, "proxy", f"--{mode}", "--port", str(port)]
        trusted = str(_origin_directory(bench) / "buffr-ca.pem")
        environment = {"BUFFR_DATA_DIR": str(directory), "SSL_CERT_FILE": trusted}
        return bench.start("Go program", command, port, environment=environment)

    _recorded(started("record"), origin)
    return started("replay")


def _mitmproxy(bench: Bench, origin: Process) -> Process:
    """A forward proxy by mitmproxy that does the same."""
    flows = bench.file("flows")

    def started(*options: str) -> Process:
        assert bench.peers.mitmdump is not None
        port = free_port()
        command = [
            bench.peers.mitmdump,
            "--quiet",
            "--mode",
            "regular",
            "--listen-host",
            "127.0.0.1",
        ]
        command += ["--listen-port", str(port), "--ssl-insecure", *options]
        for option in ("confdir=.", "connection_strategy=lazy", "upstream_cert=false"):
            command += ["--set", option]
        return bench.start("mitmproxy", command, port)

    _recorded(started("-w", str(flows)), origin)
    extra = ("server_replay_reuse=true", "server_replay_extra=kill")
    options = [word for option in extra for word in ("--set", option)]
    return started("--server-replay", str(flows), *options)


def _recorded(proxy: Process, origin: Process) -> None:
    proxy.wait()
    _Target(proxy, origin).ask()
    proxy.stop()
