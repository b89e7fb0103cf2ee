"""``python -m benchmarks.soak [--seconds N]``: mixed load, then a kill; what was held and kept.

Clients ask for what is recorded, for what is not yet, for event streams, for
WebSocket sessions, for what is cached, and for what a replay does not have,
beside connections that are idle. Each rests as long as it was served, so that
about half of what buffr can do is asked of it. In the end the descriptors must
be those of the start, and after a kill each answer that a client had in full
must be in the recordings.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory

from attrs import define, field, frozen
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from benchmarks.process import Failed
from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

_IDLE = 200
_EACH = 2
"""Clients of each kind."""
_KNOWN = 50
_WARM = 1 / 2
"""The part of the run after which memory counts."""
SLOPE_KIB = 50.0
"""What 1,000 requests may add to memory, beside their recordings."""
_RECORDING_KIB = 0.6
_SETTLED_S = 60.0
_FIRST_TURNS = 3
"""How often each client asks before anything is measured."""
_POOL_S = 1.0
_PATIENCE_S = 120.0
_EVENTS = [b'data: {"delta": "word %d"}\n\n' % number for number in range(50)]
_AUTO, _REPLAY, _CACHE, _PASSING, _SESSIONS, _LIVE_SESSIONS = range(6)


def _upstream(received: Received) -> bytes | Iterator[Step]:
    if received.target.startswith(b"/events"):
        return chunked(_EVENTS, [(b"Content-Type", b"text/event-stream")])
    body = b'{"asked": "%b"}' % received.target
    fields = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"max-age=2")]
    return answer(body, headers=fields)


def _echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@contextmanager
def _sessions() -> Iterator[int]:
    with serve(_echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield int(server.socket.getsockname()[1])
        server.shutdown()
        thread.join(_PATIENCE_S)


def _settings(http: str, sessions: str, cassettes: Path) -> dict[str, object]:
    rows = [
        (http, "auto", "recorded"),
        (http, "replay", "empty"),
        (http, "cache", None),
        (http, "passthrough", None),
        (sessions, "auto", "sessions"),
        (sessions, "passthrough", None),
    ]
    return {
        "reverse": [
            {"target": target, "port": 0, "mode": mode}
            | ({} if name is None else {"cassette": str(cassettes / f"{name}.json")})
            for target, mode, name in rows
        ],
        "data_dir": str(cassettes / "data"),
        "limits": {"pool_idle_s": _POOL_S, "client_idle_s": 3600},
    }


@define(eq=False)
class _Clients:
    """Those who ask ``ports`` until ``over``; ``had`` are the new paths whose answers came.

    Paths are told apart by ``numbers``.
    """

    ports: list[int]
    numbers: Iterator[int]
    over: threading.Event = field(factory=threading.Event)
    turns: Counter[str] = field(factory=Counter)
    had: list[str] = field(factory=list)
    faults: list[str] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def run(self, turn: Callable[[HTTPConnection], None], row: int) -> None:
        """Ask again and again on one connection, and rest as long as that took."""
        connection = HTTPConnection("127.0.0.1", self.ports[row], timeout=_PATIENCE_S)
        try:
            while not self.over.is_set():
                began = time.perf_counter()
                turn(connection)
                with self._lock:
                    self.turns[f"{turn.__name__} {row}"] += 1
                self.over.wait(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  # told in the end, and no thread dies in silence
            if not self.over.is_set():
                self.faults.append(f"{turn.__name__}: {type(error).__name__}: {error}")
        finally:
            connection.close()

    @property
    def requests(self) -> int:
        with self._lock:
            return self.turns.total()

    @property
    def all_had_turns(self) -> bool:
        with self._lock:
            return all(
                self.turns[f"{turn.__name__} {row}"] >= _FIRST_TURNS for turn, row in self.kinds
            )

    def _ask(self, connection: HTTPConnection, path: str, status: int = 200) -> bytes:
        connection.request("GET", path)
        got = connection.getresponse()
        body = got.read()
        if got.status != status:
            raise Failed(f"{path} got {got.status}, not {status}")
        return body

    def replay(self, connection: HTTPConnection) -> None:
        path = f"/known/{next(self.numbers) % _KNOWN}"
        if path.encode() not in self._ask(connection, path):
            raise Failed(f"{path} got another's answer")

    def record(self, connection: HTTPConnection) -> None:
        path = f"/new/{next(self.numbers)}"
        self._ask(connection, path)
        self.had.append(path)
        self.over.wait(0.02)  # or the recordings would be most of the load

    def events(self, connection: HTTPConnection) -> None:
        if self._ask(connection, "/events") != b"".join(_EVENTS):
            raise Failed("events are missing")

    def cached(self, connection: HTTPConnection) -> None:
        self._ask(connection, f"/cached/{next(self.numbers) % _KNOWN}")

    def miss(self, connection: HTTPConnection) -> None:
        self._ask(connection, f"/none/{next(self.numbers) % _KNOWN}", 599)

    def session(self, connection: HTTPConnection) -> None:
        url = f"ws://127.0.0.1:{connection.port}/session"
        with connect(url, proxy=None, open_timeout=_PATIENCE_S) as opened:
            for said in ("one", "two", "three"):
                opened.send(said)
                if opened.recv(_PATIENCE_S) != said:
                    raise Failed("a session said something else")

    @property
    def kinds(self) -> list[tuple[Callable[[HTTPConnection], None], int]]:
        return [
            (self.replay, _AUTO),
            (self.record, _AUTO),
            (self.events, _AUTO),
            (self.events, _PASSING),
            (self.cached, _CACHE),
            (self.miss, _REPLAY),
            (self.session, _SESSIONS),
            (self.session, _LIVE_SESSIONS),
        ]


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    if found is None:
        raise Failed("buffr has ended")
    return int(found[1])


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _settled(pid: int, before: int) -> int:
    """How many descriptors are open once all clients have left."""
    until = time.monotonic() + _SETTLED_S
    while (now := _descriptors(pid)) > before and time.monotonic() < until:
        time.sleep(0.1)
    return now


@contextmanager
def _asking(clients: _Clients) -> Iterator[None]:
    """All clients ask meanwhile. Raises ``Failed`` if one got something wrong."""
    threads = [
        threading.Thread(target=clients.run, args=(turn, row), daemon=True)
        for turn, row in clients.kinds
        for _ in range(_EACH)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        clients.over.set()
        for thread in threads:
            thread.join(_PATIENCE_S)
    if clients.faults:
        raise Failed("; ".join(clients.faults))


def _first(clients: _Clients) -> None:
    """Open what stays open: cassettes, the cache."""
    until = time.monotonic() + _PATIENCE_S
    with _asking(clients):
        while not (clients.all_had_turns or clients.faults):
            if time.monotonic() > until:
                raise Failed(f"in {_PATIENCE_S:g} s there were {dict(clients.turns)}")
            time.sleep(0.05)


def _load(clients: _Clients, pid: int, seconds: float) -> tuple[float, float]:
    """What 1,000 requests added to memory in KiB, and how many thousands were measured.

    Recordings are left out of it.
    """
    asked: list[float] = []
    held: list[float] = []
    began = time.monotonic()
    with _asking(clients):
        while (passed := time.monotonic() - began) < seconds and not clients.faults:
            time.sleep(min(0.5, seconds / 20))
            if passed > seconds * _WARM:
                asked.append(clients.requests / 1000)
                held.append(_resident_kib(pid) - _RECORDING_KIB * len(clients.had))
    return linear_regression(asked, held).slope, asked[-1] - asked[0]


def _lost(port: int, paths: list[str]) -> list[str]:
    """Those that a replay does not have."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    lost = []
    for path in paths:
        connection.request("GET", path)
        got = connection.getresponse()
        if got.status != 200 or path.encode() not in got.read():
            lost.append(path)
            with suppress(OSError):
                got.read()
    connection.close()
    return lost


@frozen
class Soaked:
    """What a soak measured; ``thousands`` of requests are behind ``slope_kib``."""

    requests: int
    recordings: int
    slope_kib: float
    thousands: float
    held_kib: int
    descriptors_before: int
    descriptors_after: int
    lost: list[str]

    @property
    def kept(self) -> bool:
        """Whether all bounds were kept, and nothing was lost."""
        grown = self.descriptors_after > self.descriptors_before
        return self.slope_kib <= SLOPE_KIB and not grown and not self.lost


def soak(directory: Path, seconds: float) -> Soaked:
    """Mixed load on a buffr, then a kill. Raises ``Failed`` where a client got something wrong."""
    (directory / "empty.json").write_text('{"version": 1, "interactions": []}\n')
    with ExitStack() as stack:
        http = stack.enter_context(FakeUpstream(_upstream))
        sessions = stack.enter_context(_sessions())
        settings = directory / "buffr.yaml"
        target = f"http://127.0.0.1:{sessions}"
        settings.write_text(json.dumps(_settings(http.url, target, directory)))
        command = ("serve", "--config", str(settings))
        running = stack.enter_context(
            BuffrProcess.run(*command, cwd=directory, listeners=_LIVE_SESSIONS + 1)
        )
        pid = running.process.pid
        numbers = count()
        _first(_Clients(running.ports, numbers))
        time.sleep(2 * _POOL_S)
        before = _descriptors(pid)
        clients = _Clients(running.ports, numbers)
        with ExitStack() as idle:
            for _ in range(_IDLE):
                address = ("127.0.0.1", running.ports[_AUTO])
                idle.enter_context(socket.create_connection(address, _PATIENCE_S))
            slope, thousands = _load(clients, pid, seconds)
        after = _settled(pid, before)
        held = _resident_kib(pid)
        last = _Clients(running.ports, numbers, had=clients.had)
        killed = threading.Timer(0.5, running.process.send_signal, [signal.SIGKILL])
        killed.start()
        last.run(last.record, _AUTO)
        killed.join()
        running.process.wait(_PATIENCE_S)
    cassette = str(directory / "recorded.json")
    replay = ("serve", "--mode", "replay", "--port", "0", "--cassette", cassette)
    with BuffrProcess.run(*replay, cwd=directory) as again:
        lost = _lost(again.ports[0], clients.had)
    recordings = len(clients.had)
    return Soaked(clients.requests, recordings, slope, thousands, held, before, after, lost)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    given = parser.parse_args()
    with TemporaryDirectory() as directory:
        try:
            got = soak(Path(directory), given.seconds)
        except Failed as error:
            print(f"failed: {error}")
            return 1
    print(f"requests: {got.requests:,} in {given.seconds:g} s, with {_IDLE} idle connections")
    memory = f"{got.held_kib / 1024:.1f} MiB, {got.slope_kib:+.1f} KiB per 1,000 requests"
    print(f"memory: {memory} after warm-up")
    print(f"descriptors: {got.descriptors_before} before, {got.descriptors_after} after")
    print(f"killed while recording: {len(got.lost)} of {got.recordings:,} recordings lost")
    print("kept" if got.kept else "failed: a bound was exceeded")
    return 0 if got.kept else 1


if __name__ == "__main__":
    sys.exit(main())
