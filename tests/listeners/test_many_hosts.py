"""Thousands of hosts behind the forward proxy: what each makes, and what is let go of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from OpenSSL import SSL
from service_bench import Made, ServiceBench, service
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from buffr.exchanges.route import Passing, Recorded
from buffr.matching.matcher import Matcher
from buffr.stores.cassette.store import Cassette
from buffr.upstream.upstream import Upstream

MADE = (Passing, Recorded, Upstream, Cassette, Matcher, SSL.Context)
IDLE_S = 20
MANY = 5_000


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines other than those of exchanges."""
    lines: list[str] = []

    @provider(ILogObserver)
    def observer(event: LogEvent) -> None:
        lines.append(event.get("buffr_text", ""))

    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


def address(number: int) -> str:
    """A host of its own, which needs no look-up."""
    return f"10.9.{number // 250}.{number % 250 + 1}"


OTHERS: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    """Threads that other tests left behind are none of these."""
    OTHERS.clear()
    OTHERS.update(threading.enumerate())


def writers() -> int:
    mine = set(threading.enumerate()) - OTHERS
    return sum(thread.name.startswith("cassette ") for thread in mine)


class TestConnect:
    def test_nothing_is_made_for_a_host_that_is_asked_nothing(self, tmp_path: Path) -> None:
        """Whatever their number: no route, no upstream, no cassette, no TLS context."""
        with service(tmp_path, {"forward": {"port": 0}}) as bench:
            since = Made(*MADE)
            for number in range(MANY):
                answer = bench.connect(f"h{number}.test:443")
                assert answer == b"HTTP/1.1 200 Connection Established\r\n\r\n"
            assert not since.count()
            assert bench.reactor.tcpClients == []
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "buffr-ca.key",
            "buffr-ca.pem",
            "buffr.yaml",
        ]

    def test_what_is_not_allowed_is_refused_by_then(self, tmp_path: Path) -> None:
        settings = {"forward": {"port": 0, "deny_private": True}}
        with service(tmp_path, settings) as bench:
            assert bench.connect("10.1.2.3:443").startswith(b"HTTP/1.1 403 ")
            assert bench.connect("93.184.215.14:443").startswith(b"HTTP/1.1 200 ")

    def test_a_request_makes_what_it_needs_and_one_context_for_all(self, tmp_path: Path) -> None:
        rows = [{"host": "*", "mode": "passthrough", "resolve": "10.0.0.1"}]
        with service(tmp_path, {"forward": {"port": 0, "hosts": rows}}) as bench:
            since = Made(*MADE)
            for number in range(20):
                client = bench.client()
                name = f"h{number}.test"
                client.send(f"GET https://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            made = since.count()
            assert made[Upstream] == made[Passing] == 20
            assert made[SSL.Context] == 1


class TestNumber:
    def test_thousands_are_served_and_few_are_held(self, tmp_path: Path) -> None:
        """No bound ends in a refusal, and no host is held for good."""
        settings = {"limits": {"hosts": 50}, "forward": {"port": 0, "mode": "passthrough"}}
        with service(tmp_path, settings) as bench:
            since = Made(*MADE)
            for number in range(MANY):
                assert bench.ask(address(number)).endswith(b"ok")
                bench.forget_origins()
            made = since.count()
            assert made[Passing] == made[Upstream] == 50

    def test_few_cassettes_are_held(self, tmp_path: Path) -> None:
        settings = {"limits": {"hosts": 50}, "forward": {"port": 0, "mode": "replay"}}
        with service(tmp_path, settings) as bench:
            since = Made(*MADE)
            for number in range(300):
                assert bench.ask(address(number)).startswith(b"HTTP/1.1 599 ")
            made = since.count()
            assert made[Recorded] == made[Cassette] == made[Matcher] == 50

    def test_recordings_of_all_are_kept(self, tmp_path: Path) -> None:
        """Each host has its own writer while it is held, and all that was recorded is there."""
        settings = {"limits": {"hosts": 5}, "forward": {"port": 0}}
        with service(tmp_path, settings) as bench:
            for number in range(30):
                assert bench.ask(address(number)).endswith(b"ok")
            assert writers() <= 6
            asked = len(bench.reactor.tcpClients)
            for number in range(30):
                assert bench.recorded(f"{address(number)}.json") == ["/"]
                assert bench.ask(address(number)).endswith(b"ok")
            assert len(bench.reactor.tcpClients) == asked == 30
        assert writers() == 0

    def test_hosts_in_use_are_not_let_go_for_others(self, tmp_path: Path) -> None:
        """They may be more than ``limits.hosts`` as long as they are."""
        settings = {"limits": {"hosts": 3}, "forward": {"port": 0}}
        with service(tmp_path, settings) as bench:
            bench.held = True
            clients = [bench.asking(address(number)) for number in range(8)]
            bench.until(lambda: len(bench.origins) == 8)
            bench.held = False
            bench.until(lambda: all(client.wire.value() for client in clients))
            assert all(client.wire.value().endswith(b"ok") for client in clients)
            assert all(bench.recorded(f"{address(number)}.json") for number in range(8))


class TestIdle:
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[ServiceBench]:
        limits = {"host_idle_s": IDLE_S, "linger_s": 600}
        with service(tmp_path, {"limits": limits, "forward": {"port": 0}}) as bench:
            yield bench

    def test_a_host_is_let_go(self, bench: ServiceBench) -> None:
        """Its objects, its thread and its connections."""
        since = Made(*MADE)
        for number in range(10):
            bench.ask(address(number))
        assert since.count()[Cassette] == writers() == 10
        bench.idle(IDLE_S * 2)
        bench.until(lambda: writers() == 0)
        assert [origin.wire.ends for origin in bench.origins] == [["closed"]] * 10
        bench.forget_origins()
        assert not since.count()

    def test_one_that_is_asked_now_and_then_is_not(self, bench: ServiceBench) -> None:
        bench.ask("10.0.0.1", "/0")
        since = Made(Recorded)
        for number in range(1, 9):
            bench.idle(IDLE_S / 2)
            bench.ask("10.0.0.1", f"/{number}")
        assert not since.count()
        assert len(bench.origins) == 1, "one connection served all"

    def test_it_comes_back_with_its_recordings(self, bench: ServiceBench) -> None:
        first = bench.ask("10.0.0.1")
        bench.idle(IDLE_S * 2)
        bench.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
        assert bench.ask("10.0.0.1").endswith(b"ok")
        assert first.endswith(b"ok")
        assert "src=cassette" in bench.log()

    def test_a_recording_under_way_is_kept(self, bench: ServiceBench) -> None:
        """Though its client has left long ago: it goes on for ``linger_s``."""
        bench.held = True
        client = bench.asking("10.0.0.1", "/slow")
        bench.until(lambda: len(bench.origins) == 1 and bool(bench.origins[0].wire.value()))
        bench.origins[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        client.leave()
        bench.idle(IDLE_S * 3)
        bench.origins[0].send(b"lf")
        bench.until((bench.directory / "10.0.0.1.json").exists)

        def let_go() -> bool:
            """The file is there before the reactor hears that it was written."""
            bench.idle(IDLE_S)
            return writers() == 0

        bench.until(let_go)
        assert bench.recorded("10.0.0.1.json") == ["/slow"]
        bench.held = False
        assert bench.ask("10.0.0.1", "/slow").endswith(b"half")
        assert len(bench.origins) == 1

    def test_one_that_comes_back_while_it_is_closed_waits_for_that(
        self, bench: ServiceBench
    ) -> None:
        for turn in range(5):
            assert bench.ask("10.0.0.1", f"/{turn}").endswith(b"ok")
            bench.reactor.advance(IDLE_S * 2)
            assert bench.ask("10.0.0.1", f"/{turn}").endswith(b"ok")
        assert bench.recorded("10.0.0.1.json") == [f"/{turn}" for turn in range(5)]

    def test_mode_record_sets_the_old_file_aside_once(self, tmp_path: Path) -> None:
        """A host that comes back goes on with what this process has recorded."""
        settings = {
            "limits": {"host_idle_s": IDLE_S},
            "forward": {"port": 0, "mode": "record"},
        }
        (tmp_path / "10.0.0.1.json").write_text('{"version": 1, "interactions": []}')
        with service(tmp_path, settings) as bench:
            for target in ("/a", "/b", "/c"):
                bench.ask("10.0.0.1", target)
                bench.idle(IDLE_S * 2)
            assert bench.recorded("10.0.0.1.json") == ["/a", "/b", "/c"]
        assert len(list(tmp_path.glob("*.bak*"))) == 1

    def test_mode_record_keeps_the_old_file_while_nothing_was_recorded(
        self, tmp_path: Path
    ) -> None:
        settings = {
            "limits": {"host_idle_s": IDLE_S},
            "forward": {"port": 0, "mode": "record"},
        }
        with service(tmp_path, {"forward": {"port": 0}}) as bench:
            bench.ask("10.0.0.1", "/old")
        with service(tmp_path, settings) as bench:
            bench.answer = b"no HTTP\r\n\r\n"
            assert bench.ask("10.0.0.1", "/a").startswith(b"HTTP/1.1 502 ")
            bench.idle(IDLE_S * 2)
            assert bench.recorded("10.0.0.1.json") == ["/old"]
            bench.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            bench.ask("10.0.0.1", "/a")
            assert bench.recorded("10.0.0.1.json") == ["/a"]

    def test_a_missing_cassette_is_told_once(self, tmp_path: Path, said: list[str]) -> None:
        settings = {
            "limits": {"host_idle_s": IDLE_S},
            "forward": {"port": 0, "mode": "replay"},
        }
        with service(tmp_path, settings) as bench:
            for _ in range(3):
                assert bench.ask("10.0.0.1").startswith(b"HTTP/1.1 599 ")
                bench.idle(IDLE_S * 2)
        assert sum("there is no such file yet" in line for line in said) == 1


THREE = {
    "version": 1,
    "interactions": [
        {
            "type": "http",
            "http": {
                "request": {"method": "GET", "path": "/", "headers": {}},
                "response": {
                    "status": 200,
                    "headers": {"Content-Length": [str(len(body))]},
                    "body": body,
                },
            },
        }
        for body in ("one", "two", "three")
    ],
}


def served(tmp_path: Path, **forward: object) -> AbstractContextManager[ServiceBench]:
    """A proxy that lets a host go after a moment; three recordings are there for one request."""
    for name in ("10.0.0.1.json", "misc.json"):
        (tmp_path / name).write_text(json.dumps(THREE))
    settings = {"limits": {"host_idle_s": IDLE_S}, "forward": {"port": 0, **forward}}
    return service(tmp_path, settings)


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


class TestWhatStays:
    """What a host that was let go goes on with."""

    def test_its_place_in_its_recordings(self, tmp_path: Path) -> None:
        with served(tmp_path, mode="replay") as bench:
            bodies = []
            for _ in range(4):
                bodies.append(body(bench.ask("10.0.0.1")))
                bench.idle(IDLE_S * 2)
        assert bodies == [b"one", b"two", b"three", b"one"]

    def test_what_was_used_up_stays_used_up(self, tmp_path: Path) -> None:
        with served(tmp_path, mode="replay", repeat="once") as bench:
            for expected in (b"one", b"two", b"three"):
                assert body(bench.ask("10.0.0.1")) == expected
                bench.idle(IDLE_S * 2)
            assert bench.ask("10.0.0.1").startswith(b"HTTP/1.1 599 ")

    def test_what_its_limits_have_counted(self, tmp_path: Path) -> None:
        """A host is not asked more often because it was let go meanwhile."""
        limits = {"per_hour": 1, "max_delay": "1s"}
        rows = [{"host": "10.0.0.2", "mode": "passthrough", "limits": limits}]
        with served(tmp_path, hosts=rows) as bench:
            since = Made(Passing)
            assert bench.ask("10.0.0.2").endswith(b"ok")
            bench.idle(IDLE_S * 2)
            bench.until(lambda: not bench.origins[0].wire.connected)
            bench.forget_origins()
            assert not since.count()
            assert bench.ask("10.0.0.2").startswith(b"HTTP/1.1 429 ")

    def test_a_cassette_that_others_use(self, tmp_path: Path) -> None:
        """It keeps its one writer while one of its hosts is held; hosts share the playhead."""
        rows = [{"host": "*", "resolve": "10.0.0.1"}]
        with served(tmp_path, mode="auto", hosts=rows) as bench:
            bench.ask("10.0.0.2", "/new")
            since = Made(Cassette)
            for number in range(6):
                assert bench.ask("10.0.0.3", f"/{number}").endswith(b"ok")
                bench.idle(IDLE_S / 2)
            assert body(bench.ask("10.0.0.3")) == b"one"
            assert body(bench.ask("10.0.0.2")) == b"two"
            assert not since.count()
            assert writers() == 1
            bench.idle(IDLE_S * 2)
            bench.until(lambda: writers() == 0)
            assert body(bench.ask("10.0.0.2")) == b"three"
        recorded = [f"/{number}" for number in range(6)]
        assert bench.recorded("misc.json") == ["/", "/", "/", "/new", *recorded]

    def test_a_cassette_of_a_reverse_port(self, tmp_path: Path) -> None:
        """It is open for good, whatever its hosts do."""
        cassette = str(tmp_path / "10.0.0.1.json")
        settings = {
            "limits": {"host_idle_s": IDLE_S},
            "reverse": [{"port": 0, "mode": "replay", "cassette": cassette}],
            "forward": {"port": 0, "mode": "replay"},
        }
        with served(tmp_path):
            pass
        with service(tmp_path, settings) as bench:
            since = Made(Cassette)
            assert body(bench.ask("10.0.0.1")) == b"one"
            bench.idle(IDLE_S * 2)
            assert not since.count()
            assert body(bench.ask("10.0.0.1")) == b"two"
