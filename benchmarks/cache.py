"""Hits of mode cache from an SQLite file, beside nginx's cache and reference-api-buddy."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from statistics import median
from urllib.request import urlopen

from attrs import frozen

from benchmarks.bench import Bench
from benchmarks.hits import ANSWER
from benchmarks.process import Failed, Process, free_port
from benchmarks.servers import nginx, nginx_proxy
from benchmarks.table import Row

__all__ = ["run"]

_TARGET = "/api/answer"
_NGINX = "rewrite ^/api(/.*) $1 break; proxy_cache answers; proxy_cache_valid 200 1d;"
_PEER_MAIN = "import sys; from reference_api_buddy.cli import main; sys.exit(main())"


def run(bench: Bench) -> list[Row]:
    upstream = nginx(bench, ANSWER)
    upstream.wait()
    servers = [
        _server(bench, build.name, [*build.command, "serve"], upstream, build.environment)
        for build in bench.peers.builds
    ]
    servers.append(_nginx(bench, upstream))
    if bench.peers.api_buddy is not None:
        peer = [bench.peers.api_buddy, "-c", _PEER_MAIN]
        servers.append(_server(bench, "api-buddy", peer, upstream))
    few = _loads(bench, servers, 16)
    rates = {name: median(load.rate for load in loads) for name, loads in few.items()}
    rows = bench.rows("answers/s at 16 connections", rates)
    costs = {name: median(load.cost_us for load in loads) for name, loads in few.items()}
    rows += bench.rows("us per answer", costs, to={"nginx": 1.6})
    if "api-buddy" in rates:
        times = rates["buffr"] / rates["api-buddy"]
        rows += bench.rows("answers/s, to api-buddy's", {"buffr": times}, least=10)
    many = _loads(bench, servers, 64)
    slowest = {name: median(load.slowest_ms for load in loads) for name, loads in many.items()}
    rows += bench.rows("ms at 64 connections, 99 of 100", slowest, most=5)
    _check_hits(servers[0], sum(load.answers for load in few["buffr"] + many["buffr"]))
    return rows


@frozen
class _Load:
    """Answers, answers a second, and the milliseconds that 99 of 100 took at most.

    ``cost_us`` is microseconds of processor time per answer.
    """

    answers: int
    rate: float
    cost_us: float
    slowest_ms: float


def _loads(bench: Bench, servers: list[Process], connections: int) -> dict[str, list[_Load]]:
    """Rounds of load, in which the servers take turns."""
    loads: dict[str, list[_Load]] = {server.name: [] for server in servers}
    for _ in range(bench.rounds):
        for server in servers:
            loads[server.name].append(_load(bench, server, connections))
    return loads


def _check_hits(server: Process, answers: int) -> None:
    """Raises ``Failed`` unless buffr's log has all its answers but the first as hits."""
    with server.log.open() as log:
        lines = [line for line in log if ' msg="GET ' in line]
    hits = sum(1 for line in lines if " status=200 " in line and " src=cache" in line)
    if hits < answers or hits < len(lines) - 1:
        raise Failed(f"buffr logged {hits} hits in {len(lines)} lines, not {answers}")


def _nginx(bench: Bench, upstream: Process) -> Process:
    server = nginx_proxy(bench, upstream, _NGINX)
    server.wait()
    _fill(server)
    return server


def _server(
    bench: Bench,
    name: str,
    command: list[str],
    upstream: Process,
    environment: Mapping[str, str] | None = None,
) -> Process:
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
    server = bench.start(name, [*command, *flags], port, environment=environment)
    server.wait()
    _fill(server)
    return server


def _fill(server: Process) -> None:
    with urlopen(server.url + _TARGET) as answered:
        if answered.read() != ANSWER.encode():
            raise Failed(f"{server.name} gave another answer than the upstream's")


def _load(bench: Bench, server: Process, connections: int) -> _Load:
    used_s, waited_s = server.processor_s(), server.waited_s()
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
    count = re.search(r"(\d+) requests in", done.stdout)
    failed = done.returncode or rate is None or slow is None or count is None
    if failed or "Non-2xx" in done.stdout:
        raise Failed(f"wrk: {done.stdout}{done.stderr}")
    factor = {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]
    bench.waits.append((server.waited_s() - waited_s) / bench.seconds)
    cost_us = (server.processor_s() - used_s) * 1e6 / int(count[1])
    return _Load(int(count[1]), float(rate[1]), cost_us, float(slow[1]) * factor)
