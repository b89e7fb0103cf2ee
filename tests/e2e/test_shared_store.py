"""Several buffrs with one server as their store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import define
from raw_http import ask, request
from redis_servers import RedisServer

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps

SECRET = b"sk-proj-1a2B3c4D5e6F7g8H9i0J1k2L3m4N"
JSON = ((b"Content-Type", b"application/json"),)


@define(eq=False)
class Fleet:
    """An upstream that counts, a server, and the buffrs in front of them."""

    directory: Path
    upstream: FakeUpstream
    server: RedisServer
    stack: ExitStack
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
        return self.stack.enter_context(BuffrProcess.run(*arguments, cwd=self.directory))

    def asked(self) -> int:
        return len(self.upstream.received)


def script(received: Received) -> bytes | Iterator[Step]:
    if received.target == b"/stream":
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        return steps(head, b"9\r\ndata: 1\n\n\r\n", 0.3, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    if received.target == b"/large":
        return answer(b"x" * (3 << 20))
    return answer(b"answer to " + received.target)


@pytest.fixture
def fleet(tmp_path: Path, redis_server: RedisServer) -> Iterator[Fleet]:
    with FakeUpstream(script) as upstream, ExitStack() as stack:
        yield Fleet(tmp_path, upstream, redis_server, stack)


@pytest.fixture
def own_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """With a server that the test may kill."""
    server = RedisServer(tmp_path / "r")
    with FakeUpstream(script) as upstream, ExitStack() as stack:
        yield Fleet(tmp_path, upstream, server, stack)
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

    def test_a_route_may_refuse(self, own_fleet: Fleet) -> None:
        fleet = own_fleet
        fleet.settings = (
            f"reverse: [{{target: {fleet.upstream.url}, port: 0, on_store_error: refuse,"
            f" store: '{fleet.store}'}}]"
        )
        file = fleet.directory / "settings.yaml"
        file.write_text(fleet.settings)
        running = fleet.stack.enter_context(
            BuffrProcess.run("serve", "--config", str(file), cwd=fleet.directory)
        )
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
