"""A small GET is replayed over HTTP/2 and TLS, on 16 connections with 10 streams each."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import trustme

from benchmarks.bench import Bench
from benchmarks.cost import costs_by_h2load
from benchmarks.hits import ANSWER
from benchmarks.message import Request
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import (
    check_hits,
    nginx,
    recorded_by_buffr,
    recorded_by_mitmproxy,
    replaying_mitmproxy,
)
from benchmarks.table import Row

__all__ = ["run"]

_REQUEST = Request("/answer")
_LOAD = ("-c16", "-m10", "-t1")
_DONE = re.compile(r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout")
_SIZE = re.compile(r"\((\d+)\) data")

_NGINX = """\
daemon off; master_process off; worker_processes 1; pid nginx.pid;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; default_type application/json;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:%(port)d ssl http2; ssl_certificate %(cert)s;
           ssl_certificate_key %(key)s; location = /answer { return 200 '%(answer)s'; } }
}
"""

_GO = """\
package main

import (
	"net/http"
	"os"
)

func main() {
	answer := []byte(os.Args[4])
	http.HandleFunc("/answer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})
	panic(http.ListenAndServeTLS("127.0.0.1:"+os.Args[1], os.Args[2], os.Args[3], nil))
}
"""


def run(bench: Bench) -> list[Row]:
    h2load = bench.program("h2load")
    cert, key = bench.file("cert.pem"), bench.file("key.pem")
    leaf = trustme.CA().issue_cert("127.0.0.1", "localhost")
    key.write_bytes(leaf.private_key_pem.bytes())
    cert.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    plain = nginx(bench, ANSWER)
    plain.wait()
    cassette = recorded_by_buffr(bench, plain, _REQUEST)
    ours = [_buffr(bench, cassette, cert, key, engine) for engine in ("ngh2", "h2")]
    servers = [*ours, _nginx(bench, cert, key)]
    if shutil.which("go") is not None:
        servers.append(_go(bench, cert, key))
    if bench.peers.mitmdump is not None:
        flows = recorded_by_mitmproxy(bench, plain, _REQUEST)
        servers.append(replaying_mitmproxy(bench, plain, flows))
    costs = costs_by_h2load(bench, servers, partial(_load, h2load))
    for server in ours:
        check_hits(server)
    return bench.rows("us per answer", costs, most=20)


def _load(h2load: str, server: Process, much: str) -> int:
    """Load a server. ``much`` is h2load's flag for how many requests, or for how many seconds.

    Returns the number of answers. Raises ``Failed`` if one of them is not the expected one.
    """
    url = f"https://127.0.0.1:{server.port}{_REQUEST.target}"
    done = subprocess.run([h2load, *_LOAD, much, url], capture_output=True, text=True, check=False)
    counted, size = _DONE.search(done.stdout), _SIZE.search(done.stdout)
    answers = int(counted[1]) if counted else 0
    whole = size is not None and int(size[1]) >= answers * len(ANSWER)
    if not answers or not whole or "Application protocol: h2" not in done.stdout:
        raise Failed(f"{server.name} gave other answers than expected: {done.stdout}{done.stderr}")
    server.answered += answers
    return answers


def _buffr(bench: Bench, cassette: Path, cert: Path, key: Path, engine: str) -> Process:
    port = free_port()
    row = {"port": port, "mode": "replay", "cassette": str(cassette)}
    settings = {
        "http2_engine": engine,
        "reverse": [{**row, "cert": str(cert), "key": str(key)}],
    }
    configuration = bench.file("buffr.yaml")
    configuration.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "buffr", "serve", "--config", str(configuration)]
    return bench.start("buffr" if engine == "ngh2" else f"buffr, {engine}", command, port)


def _nginx(bench: Bench, cert: Path, key: Path) -> Process:
    port = free_port()
    configuration = bench.file("nginx.conf")
    directory = configuration.parent
    values = {"port": port, "answer": ANSWER, "cert": cert, "key": key}
    configuration.write_text(_NGINX % values)
    command = [bench.program("nginx"), "-p", str(directory), "-c", "nginx.conf", "-e", "error"]
    return bench.start("nginx", command, port)


def _go(bench: Bench, cert: Path, key: Path) -> Process:
    """Go's net/http server, where Go is installed."""
    port = free_port()
    source = bench.file("main.go")
    source.write_text(_GO)
    program = source.with_name("server")
    built = subprocess.run(
        [bench.program("go"), "build", "-o", str(program), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        raise Failed(f"go build: {built.stderr}")
    return bench.start("Go", [str(program), str(port), str(cert), str(key), ANSWER], port)
