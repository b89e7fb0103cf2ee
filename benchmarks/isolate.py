"""A small GET is replayed to a command: inside ``buffr run --isolate``, and through CONNECT.

Over TLS, by Python's ``http.client``: each on a connection of its own, with the name looked
up inside, and many on one. And what ``--isolate`` adds to the start of a command.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.bench import Bench
from benchmarks.process import Failed
from benchmarks.table import Row

__all__ = ["run"]

_COUNT = 2000
_HOST, _PORT, _PATH = "api.example.test", 443, "/answer"
_CLIENT = """
import base64, http.client, os, ssl, sys, time
from urllib.parse import urlsplit

host, port, path, count, kept = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5] == "kept"
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
proxy = urlsplit(os.environ.get("HTTPS_PROXY", ""))

def opened():
    if not proxy.hostname:
        return http.client.HTTPSConnection(host, int(port), context=context)
    made = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context)
    key = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    made.set_tunnel(host, int(port), {"Proxy-Authorization": f"Basic {key}"})
    return made

def ask(connection):
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.read() and answer.status == 200

def ask_all(times):
    if kept:
        connection = opened()
    for _ in range(times):
        if not kept:
            connection = opened()
        ask(connection)
        if not kept:
            connection.close()

ask_all(50)
print(flush=True)
input()
before = time.process_time()
ask_all(count)
print(time.process_time() - before, flush=True)
input()
"""


def run(bench: Bench) -> list[Row]:
    cassette = bench.file("all.json")
    request = {"method": "GET", "scheme": "https", "host": _HOST, "port": _PORT, "path": _PATH}
    http = {"request": request, "response": {"status": 200, "body": "x" * 100}}
    cassette.write_text(
        json.dumps({"version": 1, "interactions": [{"type": "http", "http": http}]})
    )
    count = _COUNT // 20 if bench.quick else _COUNT
    rows = []
    for kind, measure in (("new", "ms per new connection"), ("kept", "ms per answer, kept")):
        costs = _in_turns(bench, lambda *flags: _cost_ms(cassette, count, kind, *flags))  # noqa: B023
        rows += bench.rows(measure, costs, to={"CONNECT": 1.15})
    _start_ms(cassette.parent)  # makes the CA
    starts = _in_turns(bench, lambda *flags: _start_ms(cassette.parent, *flags))
    more = {"buffr": starts["buffr"] - starts["CONNECT"]}
    return rows + bench.rows("ms more for `true`, inside", more, most=60)


def _in_turns(bench: Bench, measured: Callable[..., float]) -> dict[str, float]:
    """The medians inside, and beside a proxy."""
    ways = {"buffr": ("--isolate",), "CONNECT": ()}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(bench.rounds):
        for name, flags in ways.items():
            found[name].append(measured(*flags))
    return {name: median(costs) for name, costs in found.items()}


def _buffr(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "buffr", "run", *arguments]


def _cost_ms(cassette: Path, count: int, kind: str, *flags: str) -> float:
    """Processor time of buffr and of the client for an answer."""
    client = (sys.executable, "-c", _CLIENT, _HOST, str(_PORT), _PATH, str(count), kind)
    with subprocess.Popen(
        _buffr("--replay", "--cassette", str(cassette), *flags, "--", *client),
        cwd=cassette.parent,
        env={**os.environ, "NO_PROXY": "", "no_proxy": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != "\n":
            raise Failed(f"no answer {' '.join(flags)}: {process.stderr.read()[-2000:]}")
        before = _used_s(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        client_s = float(process.stdout.readline())
        used_s = _used_s(process.pid) - before
        process.communicate("\n")
    return 1e3 * (client_s + used_s) / count


def _used_s(pid: int) -> float:
    """The processor time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _start_ms(directory: Path, *flags: str) -> float:
    """The processor time of a run that does nothing, with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(_buffr(*flags, "--", "true"), cwd=directory, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
