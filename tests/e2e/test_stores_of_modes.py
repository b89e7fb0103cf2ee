"""Modes auto, record and replay over every store: what is recorded there is what a cassette has."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from attrs import define
from raw_http import RawClient, ask, request
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps

SECRET = b"sk-proj-1a2B3c4D5e6F7g8H9i0J1k2L3m4N"
STORES = ("sqlite:api.db", "memory:", "")
KEPT = ("sqlite:api.db", "")
"""Those that outlive the process; the last one is the cassette."""


@define(eq=False)
class Bench:
    """An upstream that counts, and buffr with a store before it."""

    directory: Path
    upstream: FakeUpstream
    store: str
    stack: ExitStack

    def start(self, mode: str, *flags: str) -> BuffrProcess:
        store = ("--store", self.store) if self.store else ()
        target = ("--target", self.upstream.url, "--port", "0")
        running = BuffrProcess.run(mode, *target, *store, *flags, cwd=self.directory)
        return self.stack.enter_context(running)

    def asked(self) -> int:
        return len(self.upstream.received)


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    def script(received: Received) -> bytes | Iterator[Step]:
        number = len(made.upstream.received)
        if received.target == b"/stream":
            head = (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            return steps(head, b"9\r\ndata: 1\n\n\r\n", 0.3, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        if received.target == b"/large":
            return answer(b"x" * (3 << 20))
        return answer(b"%d" % number)

    with FakeUpstream(script) as upstream, ExitStack() as stack:
        made = Bench(tmp_path, upstream, request.param, stack)
        yield made


def body(port: int, target: bytes = b"/a") -> bytes:
    return ask(port, request(target)).body


@pytest.mark.parametrize("bench", STORES, indirect=True)
class TestAuto:
    def test_the_first_is_recorded_and_the_next_replay(self, bench: Bench) -> None:
        port = bench.start("auto").ports[0]
        assert [body(port) for _ in range(3)] == 3 * [b"1"]
        assert body(port, b"/b") == b"2"
        assert bench.asked() == 2

    def test_credentials_do_not_count(self, bench: Bench) -> None:
        port = bench.start("auto").ports[0]
        asked = [(b"Authorization", b"Bearer " + SECRET)]
        dummy = [(b"Authorization", b"Bearer dummy")]
        assert ask(port, request(b"/a", headers=asked)).body == b"1"
        assert ask(port, request(b"/a", headers=dummy)).body == b"1"

    def test_a_large_body(self, bench: Bench) -> None:
        port = bench.start("auto").ports[0]
        assert [len(body(port, b"/large")) for _ in range(2)] == 2 * [3 << 20]
        assert bench.asked() == 1

    def test_an_identical_request_joins_the_call_under_way(self, bench: Bench) -> None:
        port = bench.start("auto").ports[0]
        clients = [RawClient(port) for _ in range(2)]
        for client in clients:
            client.send(request(b"/stream"))
        bodies = [client.answer().body for client in clients]
        assert bodies[0] == bodies[1]
        assert bench.asked() == 1


@pytest.mark.parametrize("bench", KEPT, indirect=True)
class TestAnotherRun:
    def test_mode_replay_answers_without_the_upstream(self, bench: Bench) -> None:
        recording = bench.start("record")
        for _ in range(2):
            body(recording.ports[0])
        recording.process.terminate()
        recording.process.wait(120)
        bench.upstream.close()
        port = bench.start("replay").ports[0]
        assert [body(port) for _ in range(3)] == [b"1", b"2", b"1"]

    def test_a_miss_names_the_nearest(self, bench: Bench) -> None:
        recording = bench.start("auto")
        body(recording.ports[0], b"/items?page=1")
        recording.process.terminate()
        recording.process.wait(120)
        got = ask(bench.start("replay").ports[0], request(b"/items?page=2"))
        assert got.status == 599
        assert b"interaction 0 comes near" in got.body
        assert b"page" in got.body

    def test_chunks_keep_their_times(self, bench: Bench) -> None:
        recording = bench.start("auto")
        recorded = body(recording.ports[0], b"/stream")
        recording.process.terminate()
        recording.process.wait(120)
        port = bench.start("replay", "--replay-delays", "true").ports[0]
        started = time.monotonic()
        assert body(port, b"/stream") == recorded
        assert time.monotonic() - started > 0.2

    def test_mode_record_begins_anew(self, bench: Bench) -> None:
        for number in (b"1", b"2"):
            recording = bench.start("record")
            assert body(recording.ports[0]) == number
            recording.process.terminate()
            recording.process.wait(120)
        port = bench.start("replay").ports[0]
        assert [body(port) for _ in range(2)] == 2 * [b"2"]

    def test_a_kill_loses_nothing_that_a_client_has(self, bench: Bench) -> None:
        recording = bench.start("auto")
        bodies = [body(recording.ports[0], b"/%d" % number) for number in range(20)]
        recording.process.kill()
        recording.process.wait(120)
        port = bench.start("replay").ports[0]
        assert [body(port, b"/%d" % number) for number in range(20)] == bodies

    def test_no_secret_reaches_the_disk(self, bench: Bench) -> None:
        recording = bench.start("auto")
        port = recording.ports[0]
        asked = [(b"Authorization", b"Bearer " + SECRET)]
        sent = b'{"api_key": "%b", "q": "%b"}' % (SECRET, b"filler " * 200)
        json = [(b"Content-Type", b"application/json")]
        target = b"/a?key=" + SECRET
        ask(port, request(target, headers=asked + json, method=b"POST", body=sent))
        recording.process.terminate()
        recording.process.wait(120)
        for file in bench.directory.rglob("*"):
            if file.is_file():
                assert SECRET not in file.read_bytes()
        if bench.store:
            with closing(sqlite3.connect(bench.directory / "api.db")) as connection:
                rows = connection.execute("SELECT element FROM interactions").fetchall()
            assert len(rows) == 1


class TestProcesses:
    @pytest.mark.parametrize("bench", KEPT, indirect=True)
    def test_what_one_records_the_other_replays(self, bench: Bench) -> None:
        one, other = bench.start("auto").ports[0], bench.start("auto").ports[0]
        assert [body(one), body(other), body(one, b"/b"), body(other, b"/b")] == [
            b"1",
            b"1",
            b"2",
            b"2",
        ]

    @pytest.mark.parametrize("bench", ["sqlite:api.db"], indirect=True)
    def test_a_cache_may_have_the_same_file(self, bench: Bench) -> None:
        assert body(bench.start("auto").ports[0]) == b"1"
        port = bench.start("cache", "--ttl", "1h").ports[0]
        assert [body(port, b"/c") for _ in range(2)] == 2 * [b"2"]
        assert body(bench.start("replay").ports[0]) == b"1"


class TestReadingAlone:
    @pytest.mark.parametrize("bench", ["sqlite:api.db"], indirect=True)
    def test_mode_replay_leaves_the_file_as_it_is(self, bench: Bench) -> None:
        recording = bench.start("auto")
        body(recording.ports[0])
        recording.process.terminate()
        recording.process.wait(120)
        before = (bench.directory / "api.db").read_bytes()
        assert body(bench.start("replay").ports[0]) == b"1"
        assert (bench.directory / "api.db").read_bytes() == before

    @pytest.mark.parametrize("bench", ["sqlite:none.db"], indirect=True)
    def test_a_file_that_is_not_there_is_said(self, bench: Bench) -> None:
        running = bench.start("replay")
        assert ask(running.ports[0], request(b"/a")).status == 599
        assert any("there is no such file yet" in line for line in running.output)
        assert not (bench.directory / "none.db").exists()


class TestSessions:
    @pytest.mark.parametrize("store", STORES)
    def test_a_session_is_recorded_and_spoken(self, store: str, tmp_path: Path) -> None:
        served = 0

        def echo(connection: ServerConnection) -> None:
            nonlocal served
            served += 1
            for message in connection:
                connection.send(f"{served}: {message!r}")

        def said(port: int) -> str | bytes:
            with connect(f"ws://127.0.0.1:{port}/live", compression=None) as client:
                client.send("hello")
                return client.recv(120)

        with ExitStack() as stack:
            server = stack.enter_context(serve(echo, "127.0.0.1", 0))
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            target = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
            flags = ("--store", store) if store else ()
            running = BuffrProcess.run(
                "auto", "--target", target, "--port", "0", *flags, cwd=tmp_path
            )
            port = stack.enter_context(running).ports[0]
            assert [said(port) for _ in range(2)] == 2 * ["1: 'hello'"]
            assert served == 1
            server.shutdown()
