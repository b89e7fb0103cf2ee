"""The ways to a server: TLS, logins, Sentinels, and a failover to another master."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from ports import free_port
from raw_http import ask, request
from redis_processes import Process
from redis_servers import PROGRAM, RedisServer

from buffr.errors import StoreFailed
from buffr.stores.redis.address import RedisAddress
from buffr.stores.redis.client import Patience
from buffr.stores.redis.protocol import BlockingConnection
from buffr.testing import BuffrProcess, FakeUpstream, answer

PATIENCE = Patience(1.0, 0.3)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def server(stack: ExitStack, directory: Path, *options: str, port: int = 0) -> RedisServer:
    made = RedisServer(directory, *options, port=port)
    stack.callback(made.kill)
    return made


def until(process: Process, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        process.turns.step()


class TestTLS:
    def test_a_server_is_reached_over_tls_and_its_certificate_is_checked(
        self, stack: ExitStack, tmp_path: Path
    ) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
        authority.cert_pem.write_to_path(str(ca))
        certificate.cert_chain_pems[0].write_to_path(str(cert))
        certificate.private_key_pem.write_to_path(str(key))
        port = free_port()
        options = (
            *("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(ca), "--tls-auth-clients", "no"),
        )
        server(stack, tmp_path / "r", *options)
        url = f"rediss://localhost:{port}?ca_file={ca}"
        with FakeUpstream(lambda _: answer(b"answer")) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--store", url)
            for _ in range(2):
                with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
                    got = ask(running.ports[0], request(b"/a"))
                    assert got.body == b"answer"
            assert len(upstream.received) == 1
        with pytest.raises(StoreFailed, match="certificate"):
            Process(RedisAddress.parse(f"rediss://localhost:{port}"))


class TestLogins:
    def test_a_user_needs_no_more_rights_than_the_documentation_says(
        self, stack: ExitStack, tmp_path: Path
    ) -> None:
        redis = server(stack, tmp_path / "r")
        rights = (
            "~buffr:* &buffr:* +@read +@write +@scripting +@connection +@pubsub".split()  # noqa: SIM905
        )
        redis.ask("ACL", "SETUSER", "ci", "on", ">secret", *rights)
        url = redis.url.replace("redis+unix://", "redis+unix://ci:secret@")
        with Process(RedisAddress.parse(url)) as one:
            one.append(body=b"x" * 100_000)
            assert one.bodies() == [b"x" * 100_000]
        wrong = redis.url.replace("redis+unix://", "redis+unix://ci:wrong@")
        with pytest.raises(StoreFailed, match="WRONGPASS") as error:
            Process(RedisAddress.parse(wrong))
        assert ":wrong" not in str(error.value)

    def test_what_is_no_redis_is_said(self, tmp_path: Path) -> None:
        port = free_port()
        web = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        with subprocess.Popen(web, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as serving:
            assert serving.stderr is not None
            try:
                address = RedisAddress.parse(f"redis://127.0.0.1:{port}")
                deadline = time.monotonic() + 60
                why = ""
                while "protocol" not in why and time.monotonic() < deadline:
                    with pytest.raises(StoreFailed) as error:
                        Process(address)
                    why = error.value.message
                assert "does not speak Redis' protocol" in why
            finally:
                serving.kill()


class TestSentinel:
    def test_a_failover_is_followed(self, stack: ExitStack, tmp_path: Path) -> None:
        """The recordings of before and after are there, and the log says what happened."""
        ports = free_port(), free_port()
        masters = server(stack, tmp_path / "a", port=ports[0])
        replica = server(
            *(stack, tmp_path / "b", "--replicaof", "127.0.0.1", str(ports[0])), port=ports[1]
        )
        sentinel_port = free_port()
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(
            f"port {sentinel_port}\nsentinel monitor main 127.0.0.1 {ports[0]} 1\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        )
        sentinel = subprocess.Popen(
            [PROGRAM, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL
        )
        stack.callback(sentinel.wait)
        stack.callback(sentinel.kill)
        address = RedisAddress.parse(f"redis+sentinel://127.0.0.1:{sentinel_port}/main")
        wait_for_replica(address, replica)
        with Process(address, patience=PATIENCE, spool_dir=tmp_path / "spool") as one:
            one.append(body=b"before")
            assert one.bodies() == [b"before"]
            wait_until(lambda: replica.ask("KEYS", "*:set") != [])
            masters.kill()
            one.append(body=b"meanwhile")
            until(one, lambda: one.client.is_up and not one.server.spooled)
            one.append(body=b"after")
            until(one, lambda: one.bodies() == [b"before", b"meanwhile", b"after"])
            assert any("is back after" in line for line in one.lines)


def wait_for_replica(address: RedisAddress, replica: RedisServer) -> None:
    """Until the Sentinel knows the master and its replica, and the replica is level."""

    def knows() -> bool:
        sentinel = RedisAddress(nodes=address.nodes)
        try:
            with BlockingConnection.to(sentinel) as connection:
                known = connection.ask("SENTINEL", "REPLICAS", "main")
        except StoreFailed:
            return False
        info = replica.ask("INFO", "replication")
        return bool(known) and b"master_link_status:up" in str(info).encode()

    wait_until(knows)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
