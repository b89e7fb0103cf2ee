"""Hits of mode cache from an SQLite file, beside reference-api-buddy where it is installed.

python3 -m venv benchmarks/.peers
benchmarks/.peers/bin/pip install reference-api-buddy==0.5.0
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import nginx
from benchmarks.table import Row

__all__ = ["run"]

_TARGET = "/api/answer"
_PEER = Path(__file__).parent / ".peers/bin/python"
_PEER_MAIN = "import sys; from reference_api_buddy.cli import main; sys.exit(main())"


def run(bench: Bench) -> list[Row]:
    upstream = nginx(bench, ANSWER)
    upstream.wait()
    servers = [_server(bench, "buffr", [sys.executable, "-m", "buffr", "serve"], upstream)]
    if _PEER.exists():
        peer = [str(_PEER), "-c", _PEER_MAIN]
        servers.append(_server(bench, "api-buddy", peer, upstream))
    rows: list[Row] = []
    rates = {server.name: _load(bench, server, 16)[0] for server in servers}
    rows += bench.rows("answers/s at 16 connections", rates)
    slowest = {server.name: _load(bench, server, 64)[1] for server in servers}
    return rows + bench.rows("ms at 64 connections, 99 of 100", slowest, most=5)


def _server(bench: Bench, name: str, command: list[str], upstream: Process) -> Process:
    """Start a server with the settings that both understand, and fill its cache."""
    settings, port = bench.file("settings.json"), free_port()
    given = {
        "server": {"host": "127.0.0.1", "port": port},
        "cache": {"database_path": str(settings.with_name("cache.db"))},
        "domain_mappings": {"api": {"upstream": upstream.url}},
    }
    settings.write_text(json.dumps(given))
    # The other program's flag is its default's wherever it is left out.
    flags = ["--config", str(settings), "--port", str(port)]
    server = bench.start(name, [*command, *flags], port)
    server.wait()
    with urlopen(server.url + _TARGET) as answered:
        if answered.read() != ANSWER.encode():
            raise Failed(f"{name} gave another answer than the upstream's")
    return server


def _load(bench: Bench, server: Process, connections: int) -> tuple[float, float]:
    """Answers a second, and the milliseconds that all but one of a hundred took at most."""
    done = subprocess.run(
        [
            *(bench.program("wrk"), "-t1", f"-c{connections}", f"-d{bench.seconds}s"),
            *("--latency", server.url + _TARGET),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    slow = re.search(r"99%\s+([\d.]+)(us|ms|s)", done.stdout)
    if done.returncode or rate is None or slow is None or "Non-2xx" in done.stdout:
        raise Failed(f"wrk: {done.stdout}{done.stderr}")
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    return float(rate[1]), float(slow[1]) * factor
