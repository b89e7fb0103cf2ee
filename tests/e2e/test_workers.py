"""Several processes behind the same ports."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from attrs import define
from bench import eventually
from raw_http import RawClient, ask, request
from redis_servers import RedisServer

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

COUNT = 2


@define(eq=False)
class Front:
    """A parent with its workers, and an upstream behind them."""

    running: BuffrProcess
    upstream: FakeUpstream

    @property
    def port(self) -> int:
        return self.running.ports[0]

    @property
    def parent(self) -> int:
        return self.running.process.pid

    def workers(self) -> list[int]:
        """The processes that listen."""
        return children(self.parent)

    def get(self, target: bytes) -> bytes:
        return ask(self.port, request(target)).body


def children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in text.split()]


def script(received: Received) -> bytes:
    return answer(b"answer to " + received.target)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(script) as upstream:
        yield upstream


@pytest.fixture
def front(
    tmp_path: Path, upstream: FakeUpstream, request: pytest.FixtureRequest
) -> Iterator[Front]:
    mode, store, *more = getattr(request, "param", ("cache", "sqlite:cache.db", "--ttl", "1h"))
    if store == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        store = f"{server.url}?prefix={tmp_path.name}"
    flags = ("--target", upstream.url, "--port", "0", "--store", store, "--workers", str(COUNT))
    env = {"BUFFR_ADMIN": "0"}
    with BuffrProcess.run(mode, *flags, *more, cwd=tmp_path, env=env) as running:
        yield Front(running, upstream)


class TestServing:
    def test_all_listen_before_it_is_said(self, front: Front) -> None:
        assert len(front.workers()) == COUNT
        lines = [line for line in front.running.output if "listening" in line]
        assert len(lines) == 1
        assert f"workers={COUNT}" in lines[0]

    def test_they_share_the_store(self, front: Front) -> None:
        for _ in range(20):
            assert front.get(b"/a") == b"answer to /a"
        assert 1 <= len(front.upstream.received) <= COUNT, "each may have missed once"

    @pytest.mark.parametrize("front", [("auto", "redis")], indirect=True)
    def test_with_a_server_they_share_everything(self, front: Front) -> None:
        clients = [RawClient(front.port) for _ in range(20)]
        for client in clients:
            client.send(request(b"/a"))
        assert {client.answer().body for client in clients} == {b"answer to /a"}
        assert len(front.upstream.received) == 1

    def test_all_of_them_accept(self, front: Front) -> None:
        """Which worker a connection is with is seen by which process holds its socket."""
        clients = [RawClient(front.port) for _ in range(40)]
        for client in clients:
            client.send(request(b"/a"))
            client.answer()
        held = Counter(owner_of(front, client) for client in clients)
        assert set(held) == set(front.workers())
        # How even it is shows in benchmarks/fleet: here, a busy machine may hold a worker up.
        assert min(held.values()) >= 2


class TestEnds:
    def test_sigterm_ends_all(self, front: Front) -> None:
        workers = front.workers()
        assert front.running.stop() == 0
        for pid in workers:
            assert not Path(f"/proc/{pid}").exists()

    def test_a_worker_that_is_killed_is_started_again(self, front: Front) -> None:
        victim, *others = front.workers()
        os.kill(victim, signal.SIGKILL)
        front.running.wait_for("a worker ended and is started again.*signal 9")
        assert front.get(b"/a") == b"answer to /a"
        eventually_workers(front, COUNT)
        assert set(others) < set(front.workers())

    def test_the_workers_end_with_a_parent_that_is_killed(self, front: Front) -> None:
        workers = front.workers()
        front.running.process.kill()
        for pid in workers:
            wait_for_end(pid)

    def test_a_rolling_restart_loses_no_connection(self, front: Front) -> None:
        before = set(front.workers())
        over = threading.Event()
        wrong: list[object] = []
        done = [0]

        def ask_again_and_again() -> None:
            while not over.is_set():
                try:
                    got = front.get(b"/a")
                except OSError as error:
                    wrong.append(error)
                else:
                    done[0] += 1
                    if got != b"answer to /a":
                        wrong.append(got)

        asking = [threading.Thread(target=ask_again_and_again) for _ in range(3)]
        for each in asking:
            each.start()
        front.running.process.send_signal(signal.SIGHUP)
        front.running.wait_for("the workers are replaced")
        over.set()
        for each in asking:
            each.join()
        assert wrong == []
        assert done[0]
        assert not before & set(front.workers())


class TestAdmin:
    def test_one_port_tells_of_all(self, front: Front) -> None:
        found = front.running.wait_for(r"msg=admin url=\"(http://[^/]*)/#token=([^\"]*)")
        clients = 0

        def counted_by_both() -> str:
            """The figures after ten more clients; which worker gets one is the system's choice."""
            nonlocal clients
            for _ in range(10):
                with RawClient(front.port) as client:
                    client.send(request(b"/a"))
                    client.answer()
                clients += 1
            text = admin.get("/metrics").text
            seen = re.findall(r'(?m)^buffr_exchanges_total.*worker="(.)"', text)
            return text if set(seen) == {"0", "1"} else ""

        with httpx.Client(base_url=found[1], trust_env=False) as admin:
            assert admin.get("/api/ready").json()["ready"]
            pids = {one["pid"] for one in admin.get("/api/workers").json()["items"]}
            assert pids == set(front.workers())
            text = eventually(counted_by_both)
            counted = [line for line in text.splitlines() if line.startswith("buffr_exchanges_tot")]
            assert sum(float(line.rpartition(" ")[2]) for line in counted) == clients
            assert text.count("# TYPE buffr_exchanges_total") == 1

    def test_a_change_is_made_in_all(self, front: Front) -> None:
        found = front.running.wait_for(r"msg=admin url=\"(http://[^/]*)/#token=([^\"]*)")
        assert front.get(b"/a") == b"answer to /a"
        with httpx.Client(base_url=found[1], trust_env=False) as admin:
            wanted = {"route": f"reverse-{front.port}", "mode": "passthrough"}
            assert admin.post("/api/mode", json=wanted).status_code == 401
            token = {"X-Buffr-Token": found[2]}
            changed = admin.post("/api/mode", json=wanted, headers=token)
            assert changed.status_code == 200, changed.text
            before = len(front.upstream.received)
            for _ in range(10):
                front.get(b"/a")
            assert len(front.upstream.received) == before + 10
            wrong = admin.post("/api/mode", json={"route": "none"}, headers=token)
            assert wrong.status_code >= 400


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "why"),
        [
            (("auto", "--cassette", "a.json"), "replay them in another order"),
            (("replay", "--store", "sqlite:a.db"), "replay them in another order"),
            (("cache", "--store", "memory:"), "memory: is not common"),
        ],
    )
    def test_what_workers_cannot_share(
        self, tmp_path: Path, arguments: tuple[str, ...], why: str
    ) -> None:
        flags = ("--target", "http://a.test", "--port", "0", "--workers", "2")
        with (
            pytest.raises(RuntimeError, match=why) as refused,
            BuffrProcess.run(*arguments, *flags, cwd=tmp_path),
        ):
            pass
        assert "redis://HOST" in str(refused.value) or "sqlite:FILE" in str(refused.value)

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            flags = ("--target", "http://a.test", "--port", port, "--workers", "2")
            with (
                pytest.raises(RuntimeError, match="cannot listen on"),
                BuffrProcess.run("passthrough", *flags, cwd=tmp_path),
            ):
                pass

    def test_workers_that_cannot_start_end_the_parent(self, tmp_path: Path) -> None:
        store = f"redis+unix://{tmp_path}/none.sock"
        flags = ("--target", "http://a.test", "--port", "0", "--workers", "2", "--store", store)
        with (
            pytest.raises(RuntimeError, match=r"none.sock cannot be used"),
            BuffrProcess.run("auto", *flags, cwd=tmp_path),
        ):
            pass

    def test_twistd_has_one_process(self, tmp_path: Path) -> None:
        twistd = Path(sys.executable).with_name("twistd")
        flags = ("--target=http://a.test", "--port=0", "--mode=passthrough", "--workers=2")
        refused = subprocess.run(
            [twistd, "--nodaemon", "--pidfile=", "buffr", *flags],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert refused.returncode == 1
        assert b"twistd runs buffr in one process" in refused.stderr + refused.stdout


def wait_for_end(pid: int) -> None:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([fd], [], [], 60)[0], "it goes on"


def eventually_workers(front: Front, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(front.workers()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def owner_of(front: Front, client: RawClient) -> int:
    """The worker that holds the other end of a client's connection."""
    port = client.socket.getsockname()[1]
    table = Path("/proc/net/tcp").read_text()
    rows = [line.split() for line in table.splitlines()[1:]]
    inode = next(
        row[9]
        for row in rows
        if int(row[1].split(":")[1], 16) == front.port and int(row[2].split(":")[1], 16) == port
    )
    for pid in front.workers():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            if fd.is_symlink() and str(fd.readlink()) == f"socket:[{inode}]":
                return pid
    raise AssertionError("nobody holds it")
