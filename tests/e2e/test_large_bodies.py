"""Bodies of any size pass through, are recorded, and replay, in flat memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import interactions
from memory import Memory
from raw_http import RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer

MB = 1_000_000
BLOCK = bytes(range(250)) * 4_000
"""A megabyte; blocks are sent one by one, with their number before them."""

MOST_MORE_MB = 30


def block(number: int) -> bytes:
    return b"%08d" % number + BLOCK[8:]


def blocks(count: int) -> Iterator[bytes]:
    return (block(number) for number in range(count))


def digest(count: int) -> str:
    hashed = hashlib.sha256()
    for each in blocks(count):
        hashed.update(each)
    return hashed.hexdigest()


def streamed(received: Received) -> Iterator[Step]:
    """``/<framing>/<megabytes>``: a body of known length, in chunks, or up to the close."""
    _, framing, count = received.target.split(b"/")
    head = b"HTTP/1.1 200 OK\r\n"
    match framing:
        case b"length":
            yield head + b"Content-Length: %d\r\n\r\n" % (int(count) * MB)
            yield from blocks(int(count))
        case b"chunked":
            yield head + b"Transfer-Encoding: chunked\r\n\r\n"
            for each in blocks(int(count)):
                yield b"%x\r\n%b\r\n" % (len(each), each)
            yield b"0\r\n\r\n"
        case _:
            yield head + b"\r\n"
            yield from blocks(int(count))
            yield None


def take(client: RawClient, target: bytes) -> str:
    """Ask for a body, and give its digest."""
    client.send(request(target))
    head = client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    hashed = hashlib.sha256()
    if b"chunked" in head:
        for chunk in iter(client.chunk, b""):
            hashed.update(chunk)
        client.until(b"\r\n")
    else:
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        for _ in range(int(length[1]) // MB):
            hashed.update(client.take(MB))
    return hashed.hexdigest()


@contextmanager
def serving(
    directory: Path, upstream: FakeUpstream, modes: Sequence[str]
) -> Iterator[BuffrProcess]:
    """A route in each mode; a cassette is named after the mode that records into it."""
    rows = [
        {
            "target": upstream.url,
            "port": 0,
            "mode": mode.partition(" ")[0],
            "cassette": f"{mode.rpartition(' ')[2]}.json",
        }
        for mode in modes
    ]
    (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": rows}))
    with BuffrProcess.run("serve", cwd=directory, listeners=len(rows)) as running:
        yield running
        assert "level=ERROR" not in running.log()


def response(directory: Path, name: str, number: int) -> dict[str, Any]:
    found: dict[str, Any] = interactions(directory / name)[number]["http"]["response"]
    return found


class TestDownloads:
    """Seed defect 10: 200 MB took 1.1 GB."""

    def download(self, directory: Path, count: int) -> None:
        """Recorded, replayed in the same run, and in another: never much more memory."""
        framings = (b"length", b"chunked", b"close")
        expected = digest(count)
        with FakeUpstream(streamed) as upstream:
            for mode in ("auto", "replay auto"):
                with (
                    serving(directory, upstream, [mode]) as running,
                    RawClient(running.ports[0], 60) as client,
                ):
                    if mode == "auto":
                        take(client, b"/length/2")  # whatever a first exchange makes for good
                    for framing in framings:
                        memory = Memory(running.process.pid)
                        for _ in range(2):
                            assert take(client, b"/%b/%d" % (framing, count)) == expected
                        assert memory.more_mb < MOST_MORE_MB, framing
            assert len(upstream.received) == 4
        for number in range(len(framings)):
            kept = response(directory, "auto.json", number + 1)
            assert (kept["body_file"], kept["body_size"]) == (expected, count * MB)
        body = directory / "auto.d" / expected
        assert hashlib.sha256(body.read_bytes()).hexdigest() == expected
        assert (directory / "auto.json").stat().st_size < 6 * MB

    def test_fifty_megabytes(self, tmp_path: Path) -> None:
        self.download(tmp_path, 50)

    @pytest.mark.slow
    def test_two_hundred_megabytes(self, tmp_path: Path) -> None:
        self.download(tmp_path, 200)

    def test_a_client_that_does_not_read_holds_the_upstream_back(self, tmp_path: Path) -> None:
        """Nobody needs what is read ahead for a client that may leave."""
        sent = 0

        def script(_: Received) -> Iterator[Step]:
            nonlocal sent
            yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * MB)
            for each in blocks(100):
                yield each
                sent += 1

        with (
            FakeUpstream(script) as upstream,
            serving(tmp_path, upstream, ["passthrough"]) as running,
            RawClient(running.ports[0]) as client,
        ):
            memory = Memory(running.process.pid)
            client.send(request(b"/"))
            client.until(b"\r\n\r\n")
            first = client.take(MB)
            # Another exchange, while this one stands still.
            with RawClient(running.ports[0]) as other:
                other.send(request(b"/other"))
                other.until(b"\r\n\r\n")
                assert other.take(20 * MB)[:MB] == first
            assert sent < 70
            assert memory.more_mb < MOST_MORE_MB


class TestUploads:
    MODES = ("auto", "record", "passthrough")

    def test_thirty_megabytes(self, tmp_path: Path) -> None:
        """Spooled where the key needs it, streamed where it does not."""
        self.upload(tmp_path, 30)

    @pytest.mark.slow
    def test_two_hundred_megabytes(self, tmp_path: Path) -> None:
        self.upload(tmp_path, 200)

    def upload(self, directory: Path, count: int) -> None:
        expected = digest(count)

        def script(received: Received) -> bytes:
            return answer(hashlib.sha256(received.body).hexdigest().encode())

        with FakeUpstream(script) as upstream:
            with serving(directory, upstream, self.MODES) as running:
                for port in running.ports:
                    self.send(port, 2)
                    memory = Memory(running.process.pid)
                    assert self.send(port, count) == expected
                    assert memory.more_mb < MOST_MORE_MB
                    upstream.received.clear()
            for mode in ("auto", "record"):
                kept = interactions(directory / f"{mode}.json")[1]["http"]["request"]
                assert (kept["body_file"], kept["body_size"]) == (expected, count * MB)
            with serving(directory, upstream, ["replay auto", "replay record"]) as running:
                for port in running.ports:
                    memory = Memory(running.process.pid)
                    assert self.send(port, count) == expected
                    assert memory.more_mb < MOST_MORE_MB
            assert not upstream.received

    def send(self, port: int, count: int) -> str:
        with RawClient(port, 60) as client:
            length = b"Content-Length: %d\r\n" % (count * MB)
            client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\n%b\r\n" % length)
            for each in blocks(count):
                client.send(each)
            return client.answer().body.decode()
