"""SIGTERM and SIGINT: running exchanges finish, everything is recorded, the exit code is 0."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from bench import eventually, interactions
from commands import BUFFR, TWISTD
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer

SETTINGS = """
reverse: [{{target: "{url}", port: 0, cassette: api.json}}]
limits: {{shutdown_s: {grace_s}, linger_s: {linger_s}}}
"""


@contextmanager
def serving(
    directory: Path, upstream: FakeUpstream, *, grace_s: float = 600, linger_s: float = 600
) -> Iterator[BuffrProcess]:
    """What waits for a grace or a linger by default ends no test in time."""
    settings = SETTINGS.format(url=upstream.url, grace_s=grace_s, linger_s=linger_s)
    (directory / "buffr.yaml").write_text(settings)
    with BuffrProcess.run("serve", cwd=directory) as running:
        yield running


class Gate:
    """A script that stops in the middle of its answer."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, received: Received) -> Iterator[Step]:
        if received.target != b"/slow":
            yield answer(b"quick")
            return
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
        self.reached.set()
        self.opened.wait(120)
        yield b"4\r\nrest\r\n0\r\n\r\n"


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return True
    return False


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_running_exchange_finishes_and_is_recorded(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        """No new connection is taken meanwhile."""
        gate = Gate()
        with FakeUpstream(gate) as upstream, serving(tmp_path, upstream) as running:
            with RawClient(running.ports[0]) as client:
                client.send(request(b"/slow"))
                client.until(b"half")
                running.process.send_signal(number)
                eventually(lambda: refuses(running.ports[0]))
                gate.opened.set()
                assert client.until(b"0\r\n\r\n").endswith(b"rest\r\n0\r\n\r\n")
            assert running.process.wait(120) == 0
        (kept,) = interactions(tmp_path / "api.json")
        assert kept["http"]["response"]["body"] == "halfrest"
        assert "end" not in kept["http"]
        assert "Traceback" not in running.log()

    def test_a_client_that_keeps_its_connection_does_not_hold_up_the_end(
        self, tmp_path: Path
    ) -> None:
        """After its answer the connection is closed, though the head had not said so."""
        gate = Gate()
        with (
            FakeUpstream(gate) as upstream,
            serving(tmp_path, upstream) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/slow"))
            client.until(b"half")
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: refuses(running.ports[0]))
            gate.opened.set()
            client.until(b"0\r\n\r\n")
            assert running.process.wait(120) == 0

    def test_idle_connections_do_not_hold_up_the_end(self, tmp_path: Path) -> None:
        with FakeUpstream(Gate()) as upstream, serving(tmp_path, upstream) as running:
            clients = [RawClient(running.ports[0]) for _ in range(3)]
            clients[0].send(request(b"/quick"))
            assert clients[0].answer().body == b"quick"
            assert running.stop() == 0
            for client in clients:
                assert client.rest() == b""
                client.close()

    @pytest.mark.parametrize("http2", [False, True])
    def test_idle_ones_with_tls_neither(self, tmp_path: Path, *, http2: bool) -> None:
        """A client that keeps a connection for later does not read, and answers no close_notify."""
        with FakeUpstream(Gate()) as upstream:
            row = {"port": 0, "target": upstream.url, "mode": "passthrough", "tls": True}
            settings = {"reverse": [row], "limits": {"shutdown_s": 600, "half_close_s": 600}}
            (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
            with BuffrProcess.run("serve", cwd=tmp_path) as running:
                trusted = ssl.create_default_context(cafile=str(tmp_path / "buffr-ca.pem"))
                with httpx.Client(verify=trusted, http2=http2, timeout=120) as client:
                    found = client.get(f"https://localhost:{running.ports[0]}/quick")
                    assert found.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
                    assert running.stop() == 0

    @pytest.mark.parametrize("http2", [False, True])
    def test_nor_those_with_tls_after_their_last_answer(
        self, tmp_path: Path, *, http2: bool
    ) -> None:
        """The answer comes whole, and then the client keeps its connection without reading it."""
        gate = Gate()
        with FakeUpstream(gate) as upstream:
            row = {"port": 0, "target": upstream.url, "mode": "passthrough", "tls": True}
            settings = {"reverse": [row], "limits": {"shutdown_s": 600, "half_close_s": 600}}
            (tmp_path / "buffr.yaml").write_text(json.dumps(settings))
            with BuffrProcess.run("serve", cwd=tmp_path) as running:
                trusted = ssl.create_default_context(cafile=str(tmp_path / "buffr-ca.pem"))
                url = f"https://localhost:{running.ports[0]}"
                with (
                    httpx.Client(verify=trusted, http2=http2, timeout=120) as client,
                    client.stream("GET", f"{url}/slow") as found,
                ):
                    parts = found.iter_bytes()
                    assert next(parts) == b"half"
                    running.process.send_signal(signal.SIGTERM)
                    eventually(lambda: refuses(running.ports[0]))
                    gate.opened.set()
                    # As a client that is busy with something else.
                    assert running.process.wait(120) == 0
                    if not http2:  # httpx gives up its streams when it reads a GOAWAY
                        assert b"".join(parts) == b"rest"

    def test_an_exchange_that_outlasts_the_grace_is_cut_and_not_replayed(
        self, tmp_path: Path
    ) -> None:
        gate = Gate()
        with FakeUpstream(gate) as upstream:
            with (
                serving(tmp_path, upstream, grace_s=0.2) as running,
                RawClient(running.ports[0]) as client,
            ):
                client.send(request(b"/slow"))
                client.until(b"half")
                assert running.stop() == 0
                assert b"rest" not in client.rest()
            gate.opened.set()
            (kept,) = interactions(tmp_path / "api.json")
            assert kept["http"]["end"]["reason"]
            with serving(tmp_path, upstream) as running:
                assert ask(running.ports[0], request(b"/slow")).body == b"halfrest"

    def test_a_request_without_an_answer_yet_is_cut(self, tmp_path: Path) -> None:
        """An upstream that says nothing does not keep the process; nothing is recorded."""
        asked = threading.Event()
        over = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            asked.set()
            over.wait(120)
            yield answer(b"late")

        with (
            FakeUpstream(script) as upstream,
            serving(tmp_path, upstream, grace_s=0.2) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/"))
            assert asked.wait(120)
            assert running.stop() == 0
            assert b"200" not in client.rest()
            over.set()
        assert not interactions(tmp_path / "api.json")
        assert "Traceback" not in running.log()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_ends_it_at_once(self, tmp_path: Path, number: signal.Signals) -> None:
        """Also one of the other kind."""
        gate = Gate()
        with (
            FakeUpstream(gate) as upstream,
            serving(tmp_path, upstream) as running,
            RawClient(running.ports[0]) as client,
        ):
            client.send(request(b"/slow"))
            client.until(b"half")
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: refuses(running.ports[0]))
            assert running.stop(number) == -number
            gate.opened.set()

    @pytest.mark.parametrize("command", [BUFFR, TWISTD], ids=["buffr", "twistd"])
    def test_signals_that_come_together_are_no_traceback(
        self, tmp_path: Path, command: Sequence[str]
    ) -> None:
        """Python raises an OSError for one whose handler is gone by the time it is looked at."""
        gate = Gate()
        with FakeUpstream(gate) as upstream:
            settings = SETTINGS.format(url=upstream.url, grace_s=0.1, linger_s=0)
            (tmp_path / "buffr.yaml").write_text(settings)
            arguments = ("serve",) if command == BUFFR else ("--config", "buffr.yaml")
            for numbers in ([signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]):
                with (
                    BuffrProcess.run(*arguments, cwd=tmp_path, command=command) as running,
                    RawClient(running.ports[0]) as client,
                ):
                    client.send(request(b"/slow"))
                    client.until(b"half")
                    for _ in range(100):
                        for number in numbers:
                            running.process.send_signal(number)
                    assert running.process.wait(120) in (0, -signal.SIGTERM, -signal.SIGINT)
                    running.stop()
                assert "Traceback" not in running.log()
                assert "race condition" not in running.log()
            gate.opened.set()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_demo_ends_without_a_word(self, tmp_path: Path, number: signal.Signals) -> None:
        process = subprocess.Popen(
            [*BUFFR, "demo"], cwd=tmp_path, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("A sample upstream on")
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (-number, "")

    def test_right_behind_the_line_that_says_it_listens(self, tmp_path: Path) -> None:
        """The ports listen before the reactor runs."""
        plain = (sys.executable, "-u", "-m", "buffr")  # unbuffered: its line comes at once
        words = ("auto", "--target", "http://127.0.0.1:9", "--port", "0")
        for _ in range(3):
            with BuffrProcess.run(*words, cwd=tmp_path, command=plain) as running:
                assert running.stop() == 0

    def test_every_answer_given_is_recorded(self, tmp_path: Path) -> None:
        """Many at once, and the signal right behind the last one."""
        with FakeUpstream(lambda received: answer(received.target)) as upstream:
            with serving(tmp_path, upstream) as running:
                clients = [RawClient(running.ports[0]) for _ in range(40)]
                for number, client in enumerate(clients):
                    client.send(b"".join(request(b"/%d/%d" % (number, each)) for each in range(5)))
                for client in clients:
                    for _ in range(5):
                        assert client.answer().status == 200
                assert running.stop() == 0
            paths = {one["http"]["request"]["path"] for one in interactions(tmp_path / "api.json")}
            assert len(paths) == 200

    def test_a_stream_whose_client_has_left_is_not_waited_for_long(self, tmp_path: Path) -> None:
        """It lingers while buffr runs; the end of buffr is its end."""
        gate = Gate()
        with (
            FakeUpstream(gate) as upstream,
            serving(tmp_path, upstream) as running,
        ):
            client = RawClient(running.ports[0])
            client.send(request(b"/slow"))
            client.until(b"half")
            client.reset()
            running.wait_for("status=499")
            assert running.stop() == 0
            gate.opened.set()
        (kept,) = interactions(tmp_path / "api.json")
        assert kept["http"]["end"]["reason"]
