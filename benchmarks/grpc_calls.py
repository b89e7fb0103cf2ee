"""A unary call of gRPC is replayed, on 16 connections with 10 streams each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import grpc

from benchmarks.bench import Bench
from benchmarks.cost import costs_by_h2load
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import buffr, check_hits
from benchmarks.table import Row

__all__ = ["run"]

_METHOD = "/helloworld.Greeter/SayHello"
_ASKED = b"\n\x05world"
_ANSWER = "\n\rHello, world!"
_FIELDS = ("content-type: application/grpc", "te: trailers", "user-agent: grpc-python/1.85.3")
_LOAD = ("-c16", "-m10", "-t1")
_DONE = re.compile(r"(\d+) succeeded, 0 failed, 0 errored, 0 timeout")


def run(bench: Bench) -> list[Row]:
    h2load = bench.program("h2load")
    body = bench.file("body")
    body.write_bytes(b"\0" + len(_ASKED).to_bytes(4, "big") + _ASKED)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.grpc_server", str(port), _ANSWER]
    own = bench.start("grpcio", command, port)
    own.wait()
    cassette = _recorded(bench, own)
    ours = [_buffr(bench, cassette, engine) for engine in ("ngh2", "h2")]
    servers = [*ours, own]
    for server in servers:
        server.wait()
        _ask(server)
    costs = costs_by_h2load(bench, servers, partial(_load, h2load, body))
    for server in ours:
        check_hits(server)
    return bench.rows("us per unary call", costs, most=costs["grpcio"] / 3)


def _recorded(bench: Bench, own: Process) -> Path:
    cassette = bench.file("cassette.json")
    recorder = buffr(bench, "record", own, cassette)
    recorder.wait()
    _ask(recorder)
    recorder.stop()
    return cassette


def _ask(server: Process) -> None:
    """Raises ``Failed`` for another answer than the expected one."""
    options = (("grpc.enable_http_proxy", 0),)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        answer = channel.unary_unary(_METHOD)(_ASKED, timeout=60)
    if answer != _ANSWER.encode():
        raise Failed(f"{server.name} gave another answer than expected: {answer!r}")
    server.answered += 1


def _buffr(bench: Bench, cassette: Path, engine: str) -> Process:
    port = free_port()
    row = {"port": port, "mode": "replay", "cassette": str(cassette)}
    configuration = bench.file("buffr.yaml")
    configuration.write_text(json.dumps({"http2_engine": engine, "reverse": [row]}))
    command = [sys.executable, "-m", "buffr", "serve", "--config", str(configuration)]
    return bench.start("buffr" if engine == "ngh2" else f"buffr, {engine}", command, port)


def _load(h2load: str, body: Path, server: Process, much: str) -> int:
    """Load a server. ``much`` is as in ``benchmarks.http2``. Returns the number of answers."""
    fields = [part for field in _FIELDS for part in ("-H", field)]
    url = f"http://127.0.0.1:{server.port}{_METHOD}"
    command = [h2load, *_LOAD, much, "-d", str(body), *fields, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counted = _DONE.search(done.stdout)
    if counted is None or not int(counted[1]):
        raise Failed(f"{server.name} failed under load: {done.stdout}{done.stderr}")
    server.answered += int(counted[1])
    return int(counted[1])
