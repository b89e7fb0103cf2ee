"""A small GET is replayed through a TLS tunnel: a new one for each, and many in one."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
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
    servers = [_Target(_buffr(bench, origin), origin)]
    if bench.mitmdump is not None:
        servers.append(_Target(_mitmproxy(bench, origin), origin))
    for server in servers:
        server.process.wait()
        server.expected = server.ask()
    new = _measured(bench, servers, _new_tunnels)
    kept = _measured(bench, servers, _kept_tunnels)
    check_hits(servers[0].process)
    return [
        *bench.rows("ms per new tunnel", _ms(new), most=0.8),
        *_times(bench, "new tunnels/s", {name: one.rate for name, one in new.items()}, 5),
        *bench.rows("us per answer", {name: one.cost_us for name, one in kept.items()}, most=45),
        *_times(bench, "answers/s", {name: one.rate for name, one in kept.items()}, 20),
    ]


def _ms(loads: Mapping[str, _Load]) -> dict[str, float]:
    return {name: one.cost_us / 1e3 for name, one in loads.items()}


def _times(bench: Bench, measure: str, rates: dict[str, float], least: float) -> list[Row]:
    """The rates, and how many times mitmproxy's buffr's is."""
    rows = bench.rows(measure, rates)
    if "mitmproxy" in rates:
        times = rates["buffr"] / rates["mitmproxy"]
        rows += bench.rows(f"{measure}, to mitmproxy's", {"buffr": times}, least=least)
    return rows


def _context() -> ssl.SSLContext:
    """A client that looks at no certificate, so that the load costs little; it resumes nothing."""
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

    def tunnel(self) -> ssl.SSLSocket:
        """A new tunnel, its handshake done. Raises ``Failed``."""
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
        return self._tls.wrap_socket(connection, server_hostname="127.0.0.1")

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


def _measured(
    bench: Bench, servers: Sequence[_Target], load: Callable[[_Target, float], int]
) -> dict[str, _Load]:
    """The medians of rounds in which servers take turns."""
    found: dict[str, list[_Load]] = {server.process.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            process = server.process
            before, waited_s = process.processor_s(), process.waited_s()
            started = time.perf_counter()
            answers = load(server, started + bench.seconds)
            seconds = time.perf_counter() - started
            process.answered += answers
            bench.waits.append((process.waited_s() - waited_s) / seconds)
            cost_us = (process.processor_s() - before) * 1e6 / answers
            found[process.name].append(_Load(answers / seconds, cost_us))
    for name, rounds in found.items():
        shown = ", ".join(f"{one.cost_us:.0f}" for one in sorted(rounds, key=lambda x: x.cost_us))
        bench.say(f"{name}: {shown} us of processor time per answer")
    return {
        name: _Load(median(one.rate for one in each), median(one.cost_us for one in each))
        for name, each in found.items()
    }


def _new_tunnels(server: _Target, until: float) -> int:
    """Connect, CONNECT, handshake, one request; again and again on a few threads."""

    def one_after_another(_: int) -> int:
        answers = 0
        while time.perf_counter() < until:
            with server.tunnel() as connection:
                connection.sendall(server.request)
                server.take(connection)
            answers += 1
        return answers

    with ThreadPoolExecutor(_CLIENTS) as threads:
        return sum(threads.map(one_after_another, range(_CLIENTS)))


def _kept_tunnels(server: _Target, until: float) -> int:
    """A request in each of some tunnels, then their answers, again and again."""
    answers = 0
    with ExitStack() as stack:
        connections = [stack.enter_context(server.tunnel()) for _ in range(_KEPT)]
        request = server.request
        while time.perf_counter() < until:
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                server.take(connection)
            answers += len(connections)
    return answers


def _buffr_with(
    bench: Bench, name: str, settings: Mapping[str, object], port: int, core: int | None = None
) -> Process:
    configuration = bench.file("buffr.yaml")
    configuration.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "buffr", "serve", "--config", str(configuration)]
    return bench.start(name, command, port, core=core)


def _origin(bench: Bench) -> Process:
    """What is recorded, behind TLS; it is asked once by each proxy."""
    cassette = bench.file("origin.json")
    request = {"method": "GET", "path": _TARGET, "headers": {}}
    length = {"Content-Type": ["application/json"], "Content-Length": [str(len(ANSWER))]}
    response = {"status": 200, "headers": length, "body": ANSWER}
    recorded = {"type": "http", "http": {"request": request, "response": response}}
    cassette.write_text(json.dumps({"version": 1, "interactions": [recorded]}))
    port = free_port()
    row = {"port": port, "mode": "replay", "cassette": str(cassette), "tls": True}
    settings = {"data_dir": str(cassette.parent), "reverse": [row]}
    origin = _buffr_with(bench, "origin", settings, port, bench.cores.load)
    origin.wait()
    return origin


def _buffr(bench: Bench, origin: Process) -> Process:
    """A forward proxy by buffr that replays what it has recorded from the origin."""
    cassette = bench.file("cassette.json")
    row = {"host": "127.0.0.1", "cassette": str(cassette)}

    def started(mode: str, **options: object) -> Process:
        port = free_port()
        forward = {"port": port, "mode": mode, "hosts": [{**row, **options}]}
        settings = {"data_dir": str(cassette.parent), "forward": forward}
        return _buffr_with(bench, "buffr", settings, port)

    _recorded(started("auto", verify=False), origin)
    return started("replay")


def _mitmproxy(bench: Bench, origin: Process) -> Process:
    """A forward proxy by mitmproxy that does the same."""
    flows = bench.file("flows")

    def started(*options: str) -> Process:
        assert bench.mitmdump is not None
        port = free_port()
        command = [bench.mitmdump, "--quiet", "--mode", "regular", "--listen-host", "127.0.0.1"]
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
