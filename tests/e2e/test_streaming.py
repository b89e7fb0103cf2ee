"""Bodies are passed on as they come, whatever their type; replays keep or drop the cadence."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import Bench, Place, eventually, interactions
from raw_http import RawClient, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

PATIENCE_S = 120.0

TYPES = [b"text/event-stream", b"application/x-ndjson", b"application/octet-stream", b"text/html"]


class TestLiveAnswers:
    """Seed defect 10: bodies other than event streams were buffered whole."""

    @pytest.mark.parametrize("route", ["auto", "record", "passthrough"])
    @pytest.mark.parametrize("kind", TYPES)
    def test_a_chunk_arrives_before_the_next_is_sent(
        self, bench: Bench, place: Place, route: str, kind: bytes
    ) -> None:
        """The upstream goes on only when the client has the chunk before."""
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n" % kind
            yield b"Transfer-Encoding: chunked\r\n\r\n"
            for part in (b"one", b"two", b"three"):
                yield b"%x\r\n%b\r\n" % (len(part), part)
                assert arrived.wait(PATIENCE_S)
                arrived.clear()
            yield b"0\r\n\r\n"

        place.answers(script)
        with RawClient(bench.port(route)) as client:
            client.send(request(place.path))
            client.until(b"\r\n\r\n")
            for part in (b"one", b"two", b"three"):
                assert client.chunk() == part
                arrived.set()
            assert client.chunk() == b""

    @pytest.mark.parametrize("framing", [b"Content-Length: 6\r\n", b""])
    def test_pieces_of_an_unchunked_body_do_not_wait_for_each_other(
        self, bench: Bench, place: Place, framing: bytes
    ) -> None:
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\n%b\r\none" % framing
            assert arrived.wait(PATIENCE_S)
            yield b"two"
            yield None

        place.answers(script)
        with RawClient(bench.port("auto")) as client:
            client.send(request(place.path))
            client.until(b"one")
            arrived.set()
            client.until(b"two")

    def test_a_chunk_arrives_before_it_is_complete(self, bench: Bench, place: Place) -> None:
        """A chunk of any size is no reason to buffer; its boundary is kept all the same."""
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf"
            assert arrived.wait(PATIENCE_S)
            yield b"rest\r\n0\r\n\r\n"

        place.answers(script)
        with RawClient(bench.port("auto")) as client:
            client.send(request(place.path))
            client.until(b"8\r\nhalf")
            arrived.set()
            assert client.until(b"0\r\n\r\n") == b"rest\r\n0\r\n\r\n"
        assert place.ask("replay").chunks == (b"halfrest",)

    def test_the_head_does_not_wait_for_the_body(self, bench: Bench, place: Place) -> None:
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
            assert arrived.wait(PATIENCE_S)
            yield b"body"

        place.answers(script)
        with RawClient(bench.port("auto")) as client:
            client.send(request(place.path))
            client.until(b"\r\n\r\n")
            arrived.set()
            client.until(b"body")


class TestLiveRequests:
    @pytest.mark.parametrize("mode", ["record", "passthrough"])
    def test_a_body_goes_on_as_it_comes(self, tmp_path: Path, mode: str) -> None:
        """The upstream has the first chunk before the client sends the second."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(PATIENCE_S)
            target = f"http://127.0.0.1:{listening.getsockname()[1]}"
            (tmp_path / "buffr.yaml").write_text(
                f"reverse: [{{target: '{target}', port: 0, mode: {mode}}}]"
            )
            with (
                BuffrProcess.run("serve", cwd=tmp_path) as running,
                RawClient(running.ports[0]) as client,
            ):
                client.send(
                    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
                )
                upstream, _ = listening.accept()
                upstream.settimeout(PATIENCE_S)
                with upstream:
                    received = _until(upstream, b"3\r\none\r\n")
                    client.send(b"3\r\ntwo\r\n0\r\n\r\n")
                    received += _until(upstream, b"0\r\n\r\n")
                    assert received.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
                    upstream.sendall(answer(b"ok"))
                    assert client.answer().body == b"ok"


class TestEarlyAnswers:
    """An upstream may answer before it has the whole request: 413, 401."""

    SIZE = 4_000_000

    MODES = ("auto", "record", "passthrough")

    def _answer_early(self, listening: socket.socket) -> None:
        for _ in self.MODES:
            upstream, _ = listening.accept()
            with upstream, suppress(ConnectionError):
                upstream.settimeout(PATIENCE_S)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += upstream.recv(65536)
                closing = [(b"Connection", b"close")]
                upstream.sendall(answer(b"too large", b"413 Too Large", closing))
                while upstream.recv(65536):
                    pass

    def test_the_client_gets_the_answer_and_no_half_request_is_replayed(
        self, tmp_path: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=self._answer_early, args=(listening,), daemon=True)
            thread.start()
            target = f"http://127.0.0.1:{listening.getsockname()[1]}"
            rows = [
                {"target": target, "port": 0, "mode": mode, "cassette": f"{mode}.json"}
                for mode in self.MODES
            ]
            (tmp_path / "buffr.yaml").write_text(yaml.safe_dump({"reverse": rows}))
            with BuffrProcess.run("serve", cwd=tmp_path, listeners=3) as running:
                for port in running.ports:
                    got = ask(port, request(b"/x", method=b"POST", body=self.SIZE * b"x"))
                    assert (got.status, got.body) == (413, b"too large")
            thread.join(PATIENCE_S)
        for mode in self.MODES:
            for one in interactions(tmp_path / f"{mode}.json"):
                recorded = one["http"]
                size = recorded["request"].get("body_size") or len(recorded["request"]["body"])
                assert (size == self.SIZE) != ("end" in recorded)


def _until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


def _events(count: int, delay_s: float) -> Iterator[Step]:
    events = [b"data: %d\n\n" % number for number in range(count)]
    return chunked(events, [(b"Content-Type", b"text/event-stream")], delay_s=delay_s)


def _seconds(port: int, raw: bytes) -> float:
    started = time.monotonic()
    assert ask(port, raw).status == 200
    return time.monotonic() - started


def _delays_s(recorded: dict[str, Any]) -> list[float]:
    return [part["delay_ms"] / 1000 for part in recorded["response"]["body_chunks"]]


class TestCadence:
    """A replay comes at once; ``replay_delays`` keeps the recorded rhythm."""

    def test_a_replay_is_sent_back_to_back(self, bench: Bench, place: Place) -> None:
        """The upstream waits for the client, so that no delay can be shorter than its pause."""
        arrived = threading.Event()

        def script(_: Received) -> Iterator[Step]:
            for step in _events(4, 0.15):
                yield step
                if step != 0.15:
                    assert arrived.wait(PATIENCE_S)
                    arrived.clear()

        place.answers(script)
        raw = request(place.path)
        with RawClient(bench.port("auto")) as client:
            client.send(raw)
            client.until(b"\r\n\r\n")
            for number in range(4):
                arrived.set()
                assert client.chunk() == b"data: %d\n\n" % number
            arrived.set()
            assert client.chunk() == b""
            arrived.set()
        assert min(_delays_s(eventually(place.recorded)[0])) >= 0.14
        assert any(_seconds(bench.port("auto"), raw) < 0.3 for _ in range(20))
        assert any(_seconds(bench.port("replay"), raw) < 0.3 for _ in range(20))

    def test_with_replay_delays_it_keeps_the_recorded_rhythm(
        self, bench: Bench, place: Place
    ) -> None:
        place.answers(lambda _: _events(3, 0.1))
        assert place.ask("cadence").status == 200
        delays = _delays_s(eventually(lambda: place.recorded("cadence"))[0])
        with RawClient(bench.port("cadence")) as client:
            started = time.monotonic()
            client.send(request(place.path))
            client.until(b"\r\n\r\n")
            for number, due in enumerate(accumulate(delays)):
                assert client.chunk() == b"data: %d\n\n" % number
                assert time.monotonic() - started >= due * 0.95
            assert client.chunk() == b""
        assert len(place.received()) == 1

    def test_replay_nodelay_0_keeps_it_too(self, tmp_path: Path) -> None:
        """``BUFFR_REPLAY_NODELAY`` is on by default, as in the first buffr; ``0`` turns it off."""
        cassette = str(tmp_path / "events.json")
        raw = request(b"/events")
        flags = ("--port", "0", "--cassette", cassette)
        with (
            FakeUpstream(lambda _: _events(3, 0.1)) as upstream,
            BuffrProcess.run("auto", "--target", upstream.url, *flags, cwd=tmp_path) as recording,
        ):
            ask(recording.ports[0], raw)
        (kept,) = interactions(tmp_path / "events.json")
        env = {"BUFFR_REPLAY_NODELAY": "0"}
        with BuffrProcess.run("replay", *flags, cwd=tmp_path, env=env) as replaying:
            assert _seconds(replaying.ports[0], raw) >= sum(_delays_s(kept["http"])) * 0.95

    def test_a_client_that_leaves_a_slow_replay_ends_it(self, bench: Bench, place: Place) -> None:
        place.answers(lambda _: _events(3, 0.2))
        assert place.ask("cadence").status == 200
        client = RawClient(bench.port("cadence"))
        client.send(request(place.path))
        client.until(b"data: 0")
        client.reset()
        line = eventually(lambda: place.log()[1:])[0]
        assert " status=499 " in line
        assert " src=cassette" in line
