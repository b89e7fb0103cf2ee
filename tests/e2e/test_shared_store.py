"""Several buffrs with one server as their store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from admin_client import Admin
from attrs import define
from ports import free_port
from raw_http import RawClient, ask, request
from redis_servers import RedisServer

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps

SECRET = b"sk-proj-1a2B3c4D5e6F7g8H9i0J1k2L3m4N"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = b"9\r\ndata: 1\n\n\r\n", b"9\r\ndata: 2\n\n\r\n"
END = b"0\r\n\r\n"


@define(eq=False)
class Fleet:
    """An upstream that counts, a server, and the buffrs in front of them."""

    directory: Path
    upstream: FakeUpstream
    server: RedisServer
    stack: ExitStack
    go_on: threading.Event
    settings: str = ""

    @property
    def store(self) -> str:
        return f"{self.server.url}?prefix={self.directory.name}"

    def start(self, mode: str = "auto", *flags: str) -> BuffrProcess:
        target = ("--target", self.upstream.url, "--port", "0", "--store", self.store)
        arguments = [mode, *target, *flags]
        if self.settings:
            file = self.directory / "settings.yaml"
            file.write_text(self.settings)
            arguments += ["--config", str(file)]
        env = {"BUFFR_ADMIN": "0"}
        return self.stack.enter_context(BuffrProcess.run(*arguments, cwd=self.directory, env=env))

    def serve(self, **variables: str) -> BuffrProcess:
        """A buffr with the settings alone, and perhaps variables."""
        file = self.directory / "settings.yaml"
        file.write_text(self.settings)
        env = {"BUFFR_ADMIN": "0", **variables}
        running = BuffrProcess.run("serve", "--config", str(file), cwd=self.directory, env=env)
        return self.stack.enter_context(running)

    def asked(self) -> int:
        return len(self.upstream.received)


@contextmanager
def running_fleet(directory: Path, server: RedisServer) -> Iterator[Fleet]:
    go_on = threading.Event()

    def script(received: Received) -> bytes | Iterator[Step]:
        match received.target:
            case b"/stream":
                return steps(HEAD, EVENTS[0], 0.3, EVENTS[1] + END)
            case b"/slow":
                return told(HEAD + EVENTS[0], EVENTS[1] + END)
            case b"/late":
                return told(b"", answer(b"late"))
            case b"/large":
                return answer(b"x" * (3 << 20))
            case b"/count":
                return answer(b"%d" % len(upstream.received))
            case b"/themed":
                vary = [(b"Vary", b"X-Theme")] if len(upstream.received) % 3 == 1 else []
                return answer(b"%d" % len(upstream.received), headers=vary)
        return answer(b"answer to " + received.target)

    def told(first: bytes, rest: bytes) -> Iterator[Step]:
        yield first
        go_on.wait(60)
        yield rest

    with FakeUpstream(script) as upstream, ExitStack() as stack:
        yield Fleet(directory, upstream, server, stack, go_on)
        go_on.set()


@pytest.fixture
def fleet(tmp_path: Path, redis_server: RedisServer) -> Iterator[Fleet]:
    with running_fleet(tmp_path, redis_server) as fleet:
        yield fleet


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """With a server that the test may kill."""
    server = RedisServer(tmp_path / "r")
    with running_fleet(tmp_path, server) as fleet:
        yield fleet
    server.kill()


def body(running: BuffrProcess, target: bytes = b"/a") -> bytes:
    return ask(running.ports[0], request(target)).body


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class TestRecordings:
    def test_what_one_records_the_others_replay(self, fleet: Fleet) -> None:
        one, other = fleet.start(), fleet.start()
        assert body(one) == b"answer to /a"
        assert body(other) == b"answer to /a"
        assert len(body(other, b"/large")) == len(body(one, b"/large")) == 3 << 20
        assert fleet.asked() == 2
        fleet.upstream.close()
        replaying = fleet.start("replay")
        assert body(replaying) == b"answer to /a"
        missed = ask(replaying.ports[0], request(b"/a?page=2"))
        assert missed.status == 599
        assert b"interaction 0 comes near" in missed.body

    def test_no_secret_reaches_the_server_or_the_log(self, fleet: Fleet) -> None:
        running = fleet.start()
        asked = [(b"Authorization", b"Bearer " + SECRET)]
        ask(running.ports[0], request(b"/a?key=" + SECRET, headers=asked))
        running.stop()
        dump = fleet.server.directory / "appendonlydir"
        written = b"".join([file.read_bytes() for file in dump.iterdir()])
        assert fleet.directory.name.encode() in written
        assert SECRET not in written

    def test_the_password_of_a_server_is_never_shown(self, own_fleet: Fleet) -> None:
        fleet = own_fleet
        fleet.server.ask("ACL", "SETUSER", "ci", "on", ">s3cret-pw", "~*", "&*", "+@all")
        store = fleet.store.replace("redis+unix://", "redis+unix://ci:s3cret-pw@")
        running = fleet.stack.enter_context(
            BuffrProcess.run(
                *("auto", "--target", fleet.upstream.url, "--port", "0", "--store", store)
            )
        )
        assert body(running) == b"answer to /a"
        running.stop()
        assert "ci:***@" in running.log()
        assert "s3cret-pw" not in running.log()


class TestCache:
    def test_answers_are_shared_and_cleared_for_all(self, fleet: Fleet) -> None:
        one, other = (fleet.start("cache", "--ttl", "1h") for _ in range(2))
        assert [body(one), body(other), body(other)] == 3 * [b"answer to /a"]
        assert [len(body(each, b"/large")) for each in (one, other)] == 2 * [3 << 20]
        assert fleet.asked() == 2


class TestOutages:
    def test_clients_notice_nothing_of_an_outage(self, own_fleet: Fleet) -> None:
        """In mode auto the upstream answers, and what is recorded meanwhile is stored later."""
        fleet = own_fleet
        running = fleet.start()
        assert body(running) == b"answer to /a"
        fleet.server.kill()
        running.wait_for("cannot be used")
        assert [body(running, b"/%d" % number) for number in range(20)] == [
            b"answer to /%d" % number for number in range(20)
        ]
        fleet.server.start()
        running.wait_for("has the 20 recordings of the outage")
        fleet.upstream.close()
        replaying = fleet.start("replay")
        assert body(replaying, b"/19") == b"answer to /19"
        lines = [line for line in running.output if "msg=listening" not in line]
        about = [line for line in lines if fleet.server.url in line]
        assert len(about) == 3, "one line a change, none for a request"

    def test_a_server_that_does_not_answer_delays_no_request_for_long(
        self, own_fleet: Fleet
    ) -> None:
        fleet = own_fleet
        fleet.settings = "redis: {timeout: 500ms, staleness: 200ms}"
        running = fleet.start("cache", "--ttl", "1h")
        assert body(running) == b"answer to /a"
        fleet.server.stop_answering()
        for _ in range(5):
            assert body(running, b"/a") == b"answer to /a"
        fleet.server.answer_again()
        running.wait_for("is back")
        assert not [line for line in running.output if "recording lost" in line]

    def test_a_route_may_refuse(self, own_fleet: Fleet) -> None:
        fleet = own_fleet
        fleet.settings = (
            f"reverse: [{{target: {fleet.upstream.url}, port: 0, on_store_error: refuse,"
            f" store: '{fleet.store}'}}]"
        )
        running = fleet.serve()
        assert body(running) == b"answer to /a"
        fleet.server.kill()
        running.wait_for("cannot be used")
        refused = ask(running.ports[0], request(b"/a"))
        assert (refused.status, refused.header(b"Retry-After")) == (503, b"1")
        fleet.server.start()
        running.wait_for("is back")
        assert body(running) == b"answer to /a"


class TestStarts:
    def test_without_the_server_buffr_does_not_start(self, tmp_path: Path) -> None:
        store = f"redis+unix://{tmp_path}/none.sock"
        with (
            pytest.raises(RuntimeError, match=r"none.sock cannot be used: No such file"),
            BuffrProcess.run(
                *("auto", "--target", "http://a.test", "--port", "0", "--store", store)
            ),
        ):
            pass


class TestFlights:
    def test_identical_misses_of_all_processes_are_one_call(self, fleet: Fleet) -> None:
        """The short form of ``make fleet``: two processes, requests while the call is under way."""
        running = [fleet.start(), fleet.start()]
        clients = [RawClient(each.ports[0]) for each in running for _ in range(10)]
        for client in clients:
            client.send(request(b"/stream"))
        bodies = {client.answer().body for client in clients}
        assert bodies == {b"data: 1\n\ndata: 2\n\n"}
        assert fleet.asked() == 1
        fleet.upstream.close()
        assert body(fleet.start("replay"), b"/stream") in bodies

    def test_a_follower_reads_the_stream_as_it_is_written(self, fleet: Fleet) -> None:
        leading, following = (RawClient(fleet.start().ports[0]) for _ in range(2))
        leading.send(request(b"/slow"))
        eventually(lambda: fleet.asked() == 1)
        following.send(request(b"/slow"))
        following.until(b"data: 1")
        fleet.go_on.set()
        following.until(b"data: 2")
        assert fleet.asked() == 1

    def test_if_the_process_that_calls_is_killed_another_takes_over(self, fleet: Fleet) -> None:
        holder, other = fleet.start(), fleet.start()
        first, second = RawClient(holder.ports[0]), RawClient(other.ports[0])
        first.send(request(b"/late"))
        eventually(lambda: fleet.asked() == 1)
        second.send(request(b"/late"))
        holder.process.kill()
        eventually(lambda: fleet.asked() == 2)
        fleet.go_on.set()
        assert second.answer().body == b"late"

    def test_a_cache_makes_one_call_for_all(self, fleet: Fleet) -> None:
        running = [fleet.start("cache", "--ttl", "1h") for _ in range(2)]
        clients = [RawClient(each.ports[0]) for each in running for _ in range(5)]
        for client in clients:
            client.send(request(b"/late"))
        eventually(lambda: fleet.asked() == 1)
        fleet.go_on.set()
        assert {client.answer().body for client in clients} == {b"late"}
        assert fleet.asked() == 1


class TestPlayheads:
    def test_replays_of_all_processes_keep_the_recorded_order(self, fleet: Fleet) -> None:
        recording = fleet.start("record")
        for number in range(6):
            assert body(recording, b"/count") == b"%d" % (number + 1)
        recording.stop()
        running = [fleet.start("replay") for _ in range(4)]
        answers = [body(running[number % 4], b"/count") for number in range(6)]
        assert answers == [b"1", b"2", b"3", b"4", b"5", b"6"]
        scoped = request(b"/count", headers=[(b"X-Buffr-Scope", b"mine")])
        for number, each in enumerate(running):
            assert ask(each.ports[0], scoped).body == b"%d" % (number + 1)


class TestVariants:
    def test_what_fits_several_requests_has_one_turn_in_all_processes(self, fleet: Fleet) -> None:
        """Two of three answers have no ``Vary``, so that they fit all of the requests."""
        asked = [b"light", b"dark", b"light", b"dark", b"dark", b"light"]
        recording = fleet.start("record")
        answers = [themed(recording, theme) for theme in asked]
        recording.stop()
        running = [fleet.start("replay") for _ in range(2)]
        for _ in range(2):
            played = [themed(running[at % 2], theme) for at, theme in enumerate(asked)]
            assert played == answers


def themed(running: BuffrProcess, theme: bytes) -> bytes:
    return ask(running.ports[0], request(b"/themed", headers=[(b"X-Theme", theme)])).body


class TestLimits:
    def test_they_hold_for_all_processes(self, fleet: Fleet) -> None:
        fleet.settings = (
            f"reverse: [{{target: {fleet.upstream.url}, port: 0, store: '{fleet.store}',"
            " limits: {per_minute: 3, max_delay: 0s}}]"
        )
        running = [fleet.serve(), fleet.serve()]
        statuses = [
            ask(running[number % 2].ports[0], request(b"/%d" % number)).status
            for number in range(5)
        ]
        assert statuses == [200, 200, 200, 429, 429]


class TestAdmin:
    def test_a_mode_is_switched_in_all_processes(self, fleet: Fleet) -> None:
        port = free_port()
        fleet.settings = (
            f"reverse: [{{target: {fleet.upstream.url}, port: {port}, store: '{fleet.store}'}}]"
        )
        one = fleet.serve()
        other = fleet.serve(BUFFR_LISTEN="127.0.0.2")
        assert (body(one), asked_at("127.0.0.2", port, b"/b")) == (b"answer to /a", 200)
        admin = Admin.of(other, fleet.directory)
        admin.ask("POST", "/api/mode", {"route": f"reverse-{port}", "mode": "replay"})
        one.wait_for("mode switched.*mode=replay")
        assert ask(port, request(b"/new")).status == 599
        assert asked_at("127.0.0.2", port, b"/new") == 599

    def test_a_scope_begins_anew_in_all_processes(self, fleet: Fleet) -> None:
        recording = fleet.start("record")
        assert [body(recording, b"/count") for _ in range(2)] == [b"1", b"2"]
        recording.stop()
        one, other = fleet.start("replay"), fleet.start("replay")
        assert body(one, b"/count") == b"1"
        Admin.of(one, fleet.directory)
        admin = Admin.of(other, fleet.directory)
        assert body(other, b"/count") == b"2"
        admin.ask("POST", "/api/scopes/-/reset")
        assert body(one, b"/count") == b"1"

    def test_metrics_say_that_a_server_is_away(self, own_fleet: Fleet) -> None:
        fleet = own_fleet
        running = fleet.start("cache", "--ttl", "1h")
        admin = Admin.of(running, fleet.directory)
        body(running)
        assert 'buffr_server_up{server="' in metrics(admin)
        assert "prefix=" in metrics(admin)
        assert metric(admin, "buffr_server_up") == 1
        fleet.server.kill()
        running.wait_for("cannot be used")
        assert (metric(admin, "buffr_server_up"), metric(admin, "buffr_server_outages_total")) == (
            0,
            1,
        )
        assert admin.get("/api/ready")["ready"], "it goes on"


def asked_at(host: str, port: int, target: bytes) -> int:
    return httpx.get(f"http://{host}:{port}{target.decode()}", trust_env=False).status_code


def metrics(admin: Admin) -> str:
    answer = admin.client.get("/metrics")
    assert answer.status_code == 200
    return answer.text


def metric(admin: Admin, name: str) -> float:
    (line,) = [one for one in metrics(admin).splitlines() if one.startswith(f"{name}{{")]
    return float(line.rpartition(" ")[2])
