"""``python -m benchmarks.reliability_peers``: some promises of buffr, asked of other proxies too.

Each relays to one upstream over HTTP/1.1 and records nothing, as far as it can
be told so. mitmproxy, Hoverfly and nginx are left out where they are not
installed; ``MITMDUMP``, ``HOVERFLY`` and ``NGINX`` name the programs. Hoverfly
relays as a forward proxy only, in its mode spy with nothing to replay. Linux only.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from benchmarks.idle import keep_alive, measured, rss_kib
from benchmarks.process import free_port
from buffr.testing import FakeUpstream, Received, Step, answer, steps

_IDLE = 2_000
_LARGE = 200_000_000
_BLOCK = b"x" * 100_000
_READY_S = 60
_HELD_S = 3.0
"""How long a client does not read, and how long there are no descriptors."""
_CUT_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_CUTS = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n",
}
_NGINX = """
daemon off; master_process off; error_log stderr; pid nginx.pid;
events {{ worker_connections 16000; }}
http {{
  access_log off; keepalive_timeout 3600s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u;
  scgi_temp_path s;
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""


def _script(received: Received) -> bytes | Iterator[Step]:
    if received.target == b"/large":
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _LARGE
        return steps(head, *[_BLOCK] * (_LARGE // len(_BLOCK)))
    name = received.target[1:].decode().replace("-", " ")
    return steps(_CUTS[name], None) if name in _CUTS else answer(b"ok")


@frozen
class Peer:
    """A proxy: how it is called in the table, and how it is started."""

    name: str
    command: Sequence[str]
    port: int
    before: str = ""
    """What a target begins with: a forward proxy is told the upstream."""

    def keep_alive(self) -> socket.socket:
        """A connection that has had one answer."""
        return keep_alive(self.port, f"{self.before}/".encode())


def _peers(directory: Path, upstream: str) -> Iterator[Peer]:
    port = free_port()
    command = (sys.executable, "-m", "buffr", "passthrough", "--target", upstream)
    yield Peer("buffr", (*command, "--port", str(port)), port)
    mitmdump = os.environ.get("MITMDUMP") or shutil.which("mitmdump")
    if mitmdump:
        port = free_port()
        options = ("-q", "--set", "stream_large_bodies=1m", "--set", "flow_detail=0")
        where = ("--mode", f"reverse:{upstream}", "--listen-host", "127.0.0.1", "-p", str(port))
        yield Peer("mitmproxy", (mitmdump, *options, *where), port)
    hoverfly = os.environ.get("HOVERFLY") or shutil.which("hoverfly")
    if hoverfly:
        port, admin = free_port(), free_port()
        where = ("-pp", str(port), "-ap", str(admin), "-log-level", "error")
        yield Peer("Hoverfly", (hoverfly, "-spy", *where), port, upstream)
    nginx = os.environ.get("NGINX") or shutil.which("nginx")
    if nginx:
        port = free_port()
        settings = directory / "nginx.conf"
        settings.write_text(_NGINX.format(port=port, upstream=upstream))
        yield Peer("nginx", (nginx, "-p", str(directory), "-c", str(settings)), port)


def _wait(peer: Peer) -> None:
    patience = time.monotonic() + _READY_S
    while True:
        try:
            peer.keep_alive().close()
        except OSError:
            if time.monotonic() > patience:
                raise
            time.sleep(0.1)
        else:
            return


def _slow_reader(pid: int, peer: Peer) -> str:
    """What a client that does not read makes a proxy hold."""
    before = rss_kib(pid)
    with socket.create_connection(("127.0.0.1", peer.port)) as client:
        client.sendall(f"GET {peer.before}/large HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        time.sleep(_HELD_S)
        return f"{(rss_kib(pid) - before) / 1024:.1f} MiB"


def _cuts(peer: Peer) -> str:
    """The cuts after which a client took its answer for whole, or waited."""
    wrong = []
    for name in _CUTS:
        connection = HTTPConnection("127.0.0.1", peer.port, timeout=_CUT_S)
        try:
            connection.request("GET", f"{peer.before}/{name.replace(' ', '-')}")
            found = connection.getresponse()
            found.read()
            if found.status == 200:  # 502 in the place of the answer is right
                wrong.append(f"{name}: whole")
        except TimeoutError:
            wrong.append(f"{name}: no end")
        except (HTTPException, OSError):
            pass  # the break was seen
        finally:
            connection.close()
    return ", ".join(wrong) or "seen each time"


def _used_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _no_descriptors(pid: int, peer: Peer) -> str:
    """The part of a core that is used while clients wait and there is no descriptor for them."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken + 5, before[1]))
    with ExitStack() as clients:
        for _ in range(50):
            clients.enter_context(socket.create_connection(("127.0.0.1", peer.port)))
        time.sleep(1)
        used_s = _used_s(pid)
        time.sleep(_HELD_S)
        busy = (_used_s(pid) - used_s) / _HELD_S
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    with suppress(OSError):
        _wait(peer)
        return f"{100 * busy:.0f} % of a core, then served"
    return f"{100 * busy:.0f} % of a core, then not served"


def main() -> int:
    with TemporaryDirectory(prefix="buffr-peers-") as name, FakeUpstream(_script) as upstream:
        directory = Path(name)
        print(
            "| | idle connection | client that does not read | upstream cut off | no descriptors |"
        )
        print("| --- | --- | --- | --- | --- |")
        for peer in _peers(directory, upstream.url):
            with (directory / f"{peer.name}.log").open("wb") as log:
                process = subprocess.Popen(peer.command, stdout=log, stderr=log, cwd=directory)
            try:
                _wait(peer)
                pid = process.pid
                cells = (
                    f"{measured(pid, peer.keep_alive, _IDLE):.1f} KiB",
                    _slow_reader(pid, peer),
                    _cuts(peer),
                    _no_descriptors(pid, peer),
                )
                print(f"| {peer.name} | {' | '.join(cells)} |", flush=True)
            finally:
                process.kill()
                process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
