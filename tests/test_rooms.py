"""How many rooms a request passes through, traced on a running reactor.

A room is a folder of the package; the modules beside them, which hold values
that all share, are one more. Those that a request passes through are told
apart from what a timer runs by asking more than once.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import yaml
from attrs import field, frozen
from forward_bench import NO_PARENTS, Proxy, origin_tls, trust_file
from raw_http import RawClient, request

import buffr
from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

_PROGRAM = """\
import json, os, signal, sys, threading
from twisted.internet import reactor
from buffr.__main__ import main

passed, rounds = set(), 0

def profile(frame, event, _):
    if event == "call":
        passed.add(frame.f_globals.get("__name__") or "")

def toggle(*_):
    global rounds
    rounds += 1
    if rounds % 2:
        os.write(1, b"begun %d\\n" % rounds)
        passed.clear()
        sys.setprofile(profile)
        return
    sys.setprofile(None)
    modules = sorted(name for name in passed if name.partition(".")[0] == "buffr")
    os.write(1, b"ended %d %b\\n" % (rounds, json.dumps(modules).encode()))

def listen():
    while True:
        signal.sigwait({signal.SIGUSR1})
        reactor.callFromThread(toggle)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
threading.Thread(target=listen, daemon=True).start()
sys.argv[0] = "buffr"
main()
"""
_ROOT = Path(buffr.__file__).parent
_NOT_ON_THE_WAY = ("wiring", "config")
_TIMES = 3
_EVENTS = [b"data: %d\n\n" % number for number in range(3)]


def script(received: Received) -> bytes | Iterator[Step]:
    if received.method == b"POST":
        return chunked(_EVENTS, [(b"Content-Type", b"text/event-stream")])
    return answer(b"{}", headers=[(b"Cache-Control", b"max-age=3600")])


def _room(module: str) -> str:
    names = module.split(".")
    return names[1] if (_ROOT / names[1]).is_dir() else ""


@frozen
class Traced:
    """A buffr with a reverse port, a gateway and a forward proxy, whose calls can be traced."""

    proxy: Proxy
    gateway_port: int
    reverse_port: int
    origin: FakeUpstream
    rounds: Iterator[int] = field(factory=lambda: count(1))

    def rooms(self, ask: Callable[[], None]) -> set[str]:
        """The rooms that the same request passes through each time, once warm."""
        ask()
        return set.intersection(*[self._once(ask) for _ in range(_TIMES)])

    def _once(self, ask: Callable[[], None]) -> set[str]:
        self._toggle("begun")
        ask()
        return {_room(module) for module in json.loads(self._toggle("ended"))}

    def _toggle(self, word: str) -> str:
        process, number = self.proxy.process, next(self.rounds)
        process.process.send_signal(signal.SIGUSR1)
        return process.wait_for(f"^{word} {number} ?(.*)")[1]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    directory = tmp_path_factory.mktemp("rooms")
    program = directory / "traced.py"
    program.write_text(_PROGRAM)
    with (
        FakeUpstream(script) as upstream,
        FakeUpstream(script, tls=origin_tls("localhost")) as origin,
    ):
        cached = {"target": upstream.url, "mode": "cache", "store": "sqlite:kept.db"}
        settings = {
            "reverse": [{"port": 0, "target": upstream.url}],
            "gateway": {"port": 0, "routes": {"kept": cached}},
            "forward": {"port": 0, "mode": "record", "ca_file": str(trust_file(directory))},
        }
        (directory / "buffr.yaml").write_text(yaml.safe_dump(settings))
        with BuffrProcess.run(
            "serve",
            cwd=directory,
            env=NO_PARENTS,
            listeners=3,
            command=(sys.executable, str(program)),
        ) as process:
            yield Traced(Proxy(process, directory, 2), process.ports[1], process.ports[0], origin)


class TestWayOfARequest:
    @pytest.mark.parametrize("name", [b"", b"traceparent", b"X-Name"])
    def test_a_replayed_get(self, name: bytes, traced: Traced) -> None:
        """Out of the memo of hits, which disregards trace ids, and by the engine."""
        numbers = count()
        with RawClient(traced.reverse_port) as client:

            def ask() -> None:
                field = (name, b"00-%032x-%016x-01" % (next(numbers) + 1, 1))
                client.send(request(b"/replayed", headers=[field] if name else []))
                assert client.answer().status == 200

            rooms = traced.rooms(ask)
        assert rooms.isdisjoint(_NOT_ON_THE_WAY)
        assert len(rooms) <= 10, sorted(rooms)

    def test_a_hit_in_a_gateways_sqlite_store(self, traced: Traced) -> None:
        with RawClient(traced.gateway_port) as client:

            def ask() -> None:
                client.send(request(b"/kept/hit"))
                assert client.answer().status == 200

            rooms = traced.rooms(ask)
        assert rooms.isdisjoint(_NOT_ON_THE_WAY)
        assert len(rooms) <= 9, sorted(rooms)

    def test_a_recorded_stream_of_events_inside_connect(self, traced: Traced) -> None:
        """Once the host's route is made."""
        origin = f"https://localhost:{traced.origin.port}"

        def ask() -> None:
            with traced.proxy.tunnel(origin) as client:
                client.send(request(b"/events", method=b"POST", body=b"{}"))
                assert client.answer().body == b"".join(_EVENTS)

        rooms = traced.rooms(ask)
        assert rooms.isdisjoint(_NOT_ON_THE_WAY)
        assert len(rooms) <= 16, sorted(rooms)
