"""``python -m benchmarks.idle [--connections N] [--tunnels N]``: what idle clients cost.

Each connection, and each tunnel that buffr has opened by its CA, gets one
answer, and is then left alone. What the process holds in memory more than
before them is divided by their number.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from buffr.testing import BuffrProcess, FakeUpstream, answer

__all__ = ["CONNECTION_KIB", "TUNNEL_KIB", "Idle", "idle", "keep_alive", "measured", "rss_kib"]

CONNECTION_KIB = 10.0
"""What an idle connection may cost."""
TUNNEL_KIB = 100.0
"""What an idle intercepted tunnel may cost."""
_WARM = 50
"""So many come first, and count for nothing: what the first of them make is there once."""
_PATIENCE_S = 20.0
_ASK = b"GET %b HTTP/1.1\r\nHost: idle.test\r\n\r\n"
_BODY = b"ok"
_SETTINGS = {
    "limits": {"client_idle_s": 3600, "connections": 30_000},
    "forward": {"port": 0, "mode": "replay", "cassette": "c.json"},
}


@frozen
class Idle:
    """The cost of each, in KiB."""

    connection_kib: float
    tunnel_kib: float


def rss_kib(pid: int) -> int:
    """What a process holds in memory, from Linux."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def measured(pid: int, open_one: Callable[[], socket.socket], count: int) -> float:
    """What each of so many connections costs a process, in KiB. They are closed after it."""
    with ExitStack() as opened:
        for _ in range(_WARM):
            opened.enter_context(open_one())
        before = rss_kib(pid)
        for _ in range(count):
            opened.enter_context(open_one())
        return (rss_kib(pid) - before) / count


def keep_alive(port: int, target: bytes = b"/") -> socket.socket:
    """A connection that has had one answer."""
    connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
    _ask(connection, target)
    return connection


def _ask(connection: socket.socket, target: bytes = b"/") -> None:
    connection.sendall(_ASK % target)
    data = b""
    while not data.endswith(_BODY):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(data.decode("latin-1"))
        data += more


def _tunnel(port: int, context: ssl.SSLContext) -> socket.socket:
    """A tunnel through the forward proxy, inside which one answer has come."""
    connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
    connection.sendall(b"CONNECT idle.test:443 HTTP/1.1\r\nHost: idle.test:443\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    inside = context.wrap_socket(connection, server_hostname="idle.test")
    _ask(inside)
    return inside


def _recorded(directory: Path) -> None:
    """One recording, whose host a forward proxy takes for any."""
    request = {"method": "GET", "path": "/"}
    response = {"status": 200, "headers": {"Content-Length": ["2"]}, "body": _BODY.decode()}
    whole = {
        "version": 1,
        "interactions": [{"type": "http", "http": {"request": request, "response": response}}],
    }
    (directory / "c.json").write_text(json.dumps(whole))


def idle(directory: Path, connections: int, tunnels: int) -> Idle:
    """What each idle connection and each idle tunnel costs a buffr that replays."""
    _recorded(directory)
    with FakeUpstream(lambda _: answer(_BODY)) as upstream:
        row = {"port": 0, "target": upstream.url, "mode": "replay", "cassette": "c.json"}
        settings = {**_SETTINGS, "reverse": [row], "data_dir": str(directory)}
        (directory / "buffr.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", cwd=directory, listeners=2) as running:
            pid = running.process.pid
            context = ssl.create_default_context(cafile=str(directory / "buffr-ca.pem"))
            reverse, forward = running.ports
            return Idle(
                measured(pid, lambda: keep_alive(reverse), connections),
                measured(pid, lambda: _tunnel(forward, context), tunnels),
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.idle", description=__doc__)
    parser.add_argument("--connections", type=int, default=9_000)
    parser.add_argument("--tunnels", type=int, default=1_000)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="buffr-idle-") as name:
        cost = idle(Path(name), given.connections, given.tunnels)
    print(f"{given.connections:,} idle connections: {cost.connection_kib:.1f} KiB each")
    print(f"{given.tunnels:,} idle intercepted tunnels: {cost.tunnel_kib:.1f} KiB each")
    ok = cost.connection_kib <= CONNECTION_KIB and cost.tunnel_kib <= TUNNEL_KIB
    print("within bounds" if ok else f"more than {CONNECTION_KIB} and {TUNNEL_KIB} KiB")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
