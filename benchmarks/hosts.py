"""Thousands of hosts behind the forward proxy: what a new one costs, and what stays of it.

The hosts are names that nobody resolves; another buffr stands behind the one
that is measured, as its parent proxy, and answers for all of them over TLS.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import define, field

from benchmarks.bench import Bench
from benchmarks.process import Failed, Process, free_port
from benchmarks.table import Row

__all__ = ["run"]

_COUNT = 5_000
_ASKED = 750
"""Few enough that none is let go for another one (``limits.hosts``)."""
_WARM = 200
_IDLE_S = 2
"""What ``limits.host_idle_s`` is in the run that waits for hosts to be let go."""
_LET_GO_S = 5 * _IDLE_S
_ANSWER = "x" * 100


def run(bench: Bench) -> list[Row]:
    part = 20 if bench.quick else 1
    rows: list[Row] = []
    for name, visit, count, most_kib, most_ms in (
        ("CONNECT alone", _connect, _COUNT, 30.0, 1.0),
        ("and a handshake", _shake_hands, _COUNT, 30.0, None),
        ("and a request", _ask, _ASKED, None, None),
    ):
        kib, cost_ms = _cost(bench, name, visit, count // part)
        rows += bench.rows(f"KiB a new host, {name}", {"buffr": kib}, most=most_kib)
        rows += bench.rows(f"ms a new host, {name}", {"buffr": cost_ms}, most=most_ms)
    first, second = _let_go(bench, _ASKED // part)
    rows += bench.rows("MiB more, all hosts let go", {"buffr": first})
    rows += bench.rows("MiB more, as many others too", {"buffr": second})
    return rows


def _context() -> ssl.SSLContext:
    """A client that looks at no certificate, so that the load costs little."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@define
class _Proxy:
    """The proxy that is measured; ``waves`` counts names, so that each host is new."""

    process: Process
    waves: int = 0
    _tls: ssl.SSLContext = field(factory=_context)

    def tunnel(self, host: str) -> socket.socket:
        """A tunnel in which nothing has begun. Raises ``Failed``."""
        connection = socket.create_connection(("127.0.0.1", self.process.port), 60)
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                break
            head += data
        if not head.startswith(b"HTTP/1.1 200 "):
            connection.close()
            raise Failed(f"no tunnel to {host}: {head!r}")
        return connection

    def secured(self, host: str) -> ssl.SSLSocket:
        return self._tls.wrap_socket(self.tunnel(host), server_hostname=host)

    def visit(self, one: Callable[[_Proxy, str], None], count: int) -> None:
        """Visit hosts that are new, one after the other."""
        self.waves += 1
        for number in range(count):
            one(self, f"h{number}.w{self.waves}.test")


def _connect(proxy: _Proxy, host: str) -> None:
    proxy.tunnel(host).close()


def _shake_hands(proxy: _Proxy, host: str) -> None:
    proxy.secured(host).close()


def _ask(proxy: _Proxy, host: str) -> None:
    with proxy.secured(host) as connection:
        request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while data := connection.recv(65536):
            answer += data
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(_ANSWER.encode()):
        raise Failed(f"{host} answers {answer!r}")


def _cost(
    bench: Bench, name: str, visit: Callable[[_Proxy, str], None], count: int
) -> tuple[float, float]:
    """KiB of resident memory and milliseconds of processor time for each new host."""
    proxy = _proxy(bench)
    proxy.visit(visit, _WARM)
    process = proxy.process
    resident, used_s = process.resident_bytes(), process.processor_s()
    proxy.visit(visit, count)
    cost_ms = (process.processor_s() - used_s) * 1e3 / count
    kib = (process.resident_bytes() - resident) / 1024 / count
    bench.say(f"{name}: {kib:.1f} KiB and {cost_ms:.2f} ms for each of {count:,} hosts")
    process.stop()
    return kib, cost_ms


def _let_go(bench: Bench, count: int) -> tuple[float, float]:
    """MiB of resident memory more than before, when hosts that were asked are let go: two waves."""
    proxy = _proxy(bench, host_idle_s=f"{_IDLE_S}s")
    proxy.visit(_ask, _WARM)
    time.sleep(_LET_GO_S)
    process = proxy.process
    resident = process.resident_bytes()
    left = []
    for _ in range(2):
        proxy.visit(_ask, count)
        held = process.resident_bytes() - resident
        time.sleep(_LET_GO_S)
        left.append((process.resident_bytes() - resident) / 2**20)
        bench.say(f"{count:,} hosts: {held / 2**20:.1f} MiB, let go: {left[-1]:.1f} MiB")
    process.stop()
    return left[0], left[1]


def _proxy(bench: Bench, **limits: object) -> _Proxy:
    origin, authority = _origin(bench)
    port = free_port()
    forward = {"port": port, "mode": "auto", "via": origin.url, "ca_file": str(authority)}
    process = _started(bench, "buffr", {"forward": forward, "limits": limits}, port)
    return _Proxy(process)


def _origin(bench: Bench) -> tuple[Process, Path]:
    """What answers for every host, and the authority that signs for it."""
    cassette = bench.file("origin.json")
    request = {"method": "GET", "path": "/", "headers": {}}
    response = {"status": 200, "headers": {"Content-Length": [str(len(_ANSWER))]}}
    recorded = {"request": request, "response": {**response, "body": _ANSWER}}
    interaction = {"type": "http", "http": recorded}
    cassette.write_text(json.dumps({"version": 1, "interactions": [interaction]}))
    port = free_port()
    row = {"host": "*", "cassette": str(cassette)}
    forward = {"port": port, "mode": "replay", "hosts": [row]}
    data_dir = cassette.parent
    settings = {"data_dir": str(data_dir), "forward": forward}
    process = _started(bench, "origin", settings, port, bench.cores.load)
    return process, data_dir / "buffr-ca.pem"


def _started(
    bench: Bench, name: str, settings: Mapping[str, object], port: int, core: int | None = None
) -> Process:
    configuration = bench.file("buffr.yaml")
    data_dir = str(configuration.parent)
    configuration.write_text(json.dumps({"data_dir": data_dir, **settings}))
    command = [sys.executable, "-m", "buffr", "serve", "--config", str(configuration)]
    process = bench.start(name, command, port, core=core)
    process.wait()
    return process
