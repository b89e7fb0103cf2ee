"""buffr and its peers, started with what they are to answer."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.message import Request, ask
from benchmarks.peers import BUFFR, Build
from benchmarks.process import Failed, Process, free_port

__all__ = [
    "buffr",
    "check_hits",
    "go_buffr",
    "mitmproxy",
    "nginx",
    "nginx_proxy",
    "recorded_by_buffr",
    "recorded_by_go_buffr",
    "recorded_by_mitmproxy",
    "replaying_mitmproxy",
    "site",
]

_LOGGED_S = 5.0
_AT_START = re.compile(r" msg=(?:listening|admin) ")

_NGINX = """\
daemon off; master_process off; worker_processes 1; pid nginx.pid;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_max_body_size 0; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  sendfile on; tcp_nodelay on; root %(root)s;
  server { listen 127.0.0.1:%(port)d backlog=1024; location = /answer { return 200 '%(answer)s'; }
           error_page 405 =200 $uri; }
}
"""

_NGINX_PROXY = """\
daemon off; master_process off; worker_processes 1; pid nginx.pid;
events { worker_connections 1024; }
http {
  access_log access.log; keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi; tcp_nodelay on;
  proxy_cache_path cache keys_zone=answers:10m;
  upstream up { server 127.0.0.1:%(upstream)d; keepalive 128; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:%(port)d backlog=1024;
           location / { proxy_pass http://up; proxy_http_version 1.1;
                        proxy_set_header Connection ""; %(more)s } }
}
"""


def buffr(
    bench: Bench,
    mode: str,
    upstream: Process | None,
    cassette: Path | None,
    build: Build = BUFFR,
) -> Process:
    """Start a reverse port of buffr as its users do."""
    port = free_port()
    options = ["--mode", mode, "--port", str(port)]
    if upstream is not None:
        options += ["--target", upstream.url]
    if cassette is not None:
        options += ["--cassette", str(cassette)]
    return bench.buffr(options, port, build=build)


def check_hits(server: Process) -> None:
    """Raises ``Failed`` unless buffr's log has its answers as replayed, and no others."""
    until = time.perf_counter() + _LOGGED_S
    while True:
        with server.log.open() as log:
            lines = [line for line in log if _AT_START.search(line) is None]
        hits = sum(1 for line in lines if " status=200 " in line and " src=cassette" in line)
        # Lines of the last answers may be under way.
        if hits >= server.answered or hits < len(lines) or time.perf_counter() > until:
            break
        time.sleep(0.05)
    if hits < server.answered or hits < len(lines):
        raise Failed(f"buffr logged {hits} hits in {len(lines)} lines, not {server.answered}")


def recorded_by_buffr(
    bench: Bench, upstream: Process, request: Request, known: Path | None = None
) -> Path:
    """A cassette with the answer to one request, and with what is known before."""
    cassette = bench.file("cassette.json") if known is None else known
    recorder = buffr(bench, "auto", upstream, cassette)
    recorder.wait()
    ask(recorder, request)
    recorder.stop()
    return cassette


def site(bench: Bench, *options: str) -> Process:
    """twisted.web's server; ``benchmarks.site`` says what it answers."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.site", str(port), *options]
    return bench.start("twisted.web", command, port)


def nginx(
    bench: Bench, answer: str, *, core: int | None = None, root: Path | None = None
) -> Process:
    """nginx, which answers ``/answer`` at once and anything else with the files of ``root``."""
    port = free_port()
    configuration = bench.file("nginx.conf")
    directory = configuration.parent
    values = {"root": root or directory, "port": port, "answer": answer}
    configuration.write_text(_NGINX % values)
    command = [bench.program("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "error"]
    return bench.start("nginx", command, port, core=core)


def nginx_proxy(bench: Bench, upstream: Process, more: str = "") -> Process:
    """A reverse proxy by nginx, with its log, and ``more`` in its location."""
    port = free_port()
    configuration = bench.file("nginx.conf")
    directory = configuration.parent
    values = {"port": port, "upstream": upstream.port, "more": more}
    configuration.write_text(_NGINX_PROXY % values)
    command = [bench.program("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "error"]
    return bench.start("nginx", command, port)


def go_buffr(
    bench: Bench, mode: str, upstream: Process | None, cassette: Path, *, name: str = "Go program"
) -> Process:
    """The Go program that buffr succeeds, where it is at hand."""
    assert bench.peers.go_buffr is not None
    port = free_port()
    command = [bench.peers.go_buffr, mode, "--port", str(port), "--cassette", str(cassette)]
    if upstream is not None:
        command += ["--target", upstream.url]
    return bench.start(name, command, port)


def recorded_by_go_buffr(bench: Bench, upstream: Process, request: Request) -> Path:
    """A cassette of the Go program's with the answer to one request."""
    cassette = bench.file("cassette.json")
    recorder = go_buffr(bench, "record", upstream, cassette)
    recorder.wait()
    ask(recorder, request)
    recorder.stop()
    return cassette


def mitmproxy(bench: Bench, upstream: Process, *options: str) -> Process:
    """A reverse proxy by mitmproxy, where that is installed."""
    assert bench.peers.mitmdump is not None
    port = free_port()
    command = [bench.peers.mitmdump, "--quiet", "--mode", f"reverse:{upstream.url}"]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(port)]
    command += ["--set", "confdir=.", "--set", "connection_strategy=lazy", *options]
    return bench.start("mitmproxy", command, port)


def recorded_by_mitmproxy(bench: Bench, upstream: Process, request: Request) -> Path:
    """A file of flows with the answer to one request."""
    flows = bench.file("flows")
    recorder = mitmproxy(bench, upstream, "-w", str(flows))
    recorder.wait()
    ask(recorder, request)
    recorder.stop()
    return flows


def replaying_mitmproxy(bench: Bench, upstream: Process, flows: Path) -> Process:
    """A server by mitmproxy that repeats what is in the file, and passes nothing on."""
    extra = ("server_replay_reuse=true", "server_replay_extra=kill")
    options = [word for option in extra for word in ("--set", option)]
    return mitmproxy(bench, upstream, "--server-replay", str(flows), *options)
