"""An upstream in HTTP/2: here another buffr, which records what it was asked in."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import interactions
from http2_clients import Http2Client
from http2_pair import GET
from memory import Memory
from raw_http import BrokenAnswer, RawClient, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked
from buffr.wire.http2.engines import ENGINES

_LARGE = bytes(range(256)) * 2000


def script(received: Received) -> bytes | Iterator[Step]:
    if received.line.startswith((b"PRI ", b"SM")):
        return answer(status=b"400 Bad Request")
    match received.target:
        case b"/chunked":
            return chunked([b"one", b"two"], trailers=((b"X-Trailer", b"t"),))
        case b"/cut":
            return iter((b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", None))
        case b"/empty":
            return b"HTTP/1.1 204 No Content\r\nX-Empty: 1\r\n\r\n"
        case b"/twice":
            headers = ((b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Connection", b"x"))
            return answer(b"", headers=headers)
    return answer(received.body or b"nothing", headers=((b"X-Seen", received.line),))


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(script) as running:
        yield running


@contextmanager
def chain(
    directory: Path, upstream: FakeUpstream, engine: str, use: str = "always"
) -> Iterator[RawClient]:
    """A client in HTTP/1.1, a buffr that asks in HTTP/2, one that records, and the upstream."""
    near, far = directory / "near", directory / "far"
    for one in (near, far):
        one.mkdir()
        (one / "buffr.yaml").write_text(f"http2_engine: {engine}\n")
    recorder = ("record", "--target", upstream.url, "--port", "0", "--cassette", "c.json")
    with BuffrProcess.run(*recorder, cwd=far) as behind:
        with (near / "buffr.yaml").open("a") as file:
            file.write(
                f"reverse: [{{port: 0, mode: passthrough, target: '{behind.url}',"
                f" upstream: {{http2: {use}}}}}]\n"
            )
        with (
            BuffrProcess.run("serve", cwd=near) as before,
            RawClient(before.ports[0]) as client,
        ):
            yield client


def versions(directory: Path) -> list[int]:
    recorded = interactions(directory / "far" / "c.json")
    return [one["http"]["request"].get("http_version", 1) for one in recorded]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
class TestMemory:
    def test_a_gibibyte_to_a_slow_reader(self, tmp_path: Path, engine: str) -> None:
        """HTTP/2 on both legs of the first buffr, whose memory it is."""
        piece, number = bytes(1 << 20), 1 << 10

        def pieces() -> Iterator[Step]:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (number * len(piece))
            for _ in range(number):
                yield piece

        def long(received: Received) -> bytes | Iterator[Step]:
            return pieces() if received.target == b"/long" else answer(b"ok")

        with FakeUpstream(long) as upstream:
            row = "reverse: [{port: 0, mode: passthrough, target: '%s', upstream: {http2: %s}}]\n"
            for name in ("near", "far"):
                (tmp_path / name).mkdir()
            far, near = tmp_path / "far", tmp_path / "near"
            (far / "buffr.yaml").write_text(row % (upstream.url, "never"))
            with BuffrProcess.run("serve", cwd=far) as behind:
                (near / "buffr.yaml").write_text(
                    f"http2_engine: {engine}\n" + row % (behind.url, "always")
                )
                with BuffrProcess.run("serve", cwd=near) as before:
                    self._read_slowly(before, number * len(piece))

    def _read_slowly(self, buffr: BuffrProcess, size_bytes: int) -> None:
        """Now and then nothing is read while others are answered."""
        client = Http2Client(socket.create_connection(("127.0.0.1", buffr.ports[0])))
        heard, raw = client.heard, RawClient(buffr.ports[0])
        raw.send(request(b"/other"))
        assert raw.answer().status == 200
        memory, came, since = Memory(buffr.process.pid), 0, 0
        stream = client.ask((*GET[:3], (b":path", b"/long")))
        while stream not in heard.over:
            client.until(lambda: bool(heard.bodies.get(stream)) or stream in heard.over)
            size = len(heard.bodies.pop(stream, b""))
            came, since = came + size, since + size
            if since > 64 << 20:
                since = 0
                for _ in range(100):  # it has all the time to take more than it should
                    raw.send(request(b"/other"))
                    assert raw.answer().status == 200
        assert came == size_bytes
        assert memory.more_mb < 16


class TestAClientInHttp1:
    def test_answers_of_every_kind(
        self, tmp_path: Path, upstream: FakeUpstream, engine: str
    ) -> None:
        with chain(tmp_path, upstream, engine) as client:
            client.send(request(b"/chunked"))
            streamed = client.answer()
            assert (streamed.status, streamed.body) == (200, b"onetwo")
            assert streamed.trailers == ((b"x-trailer", b"t"),)
            client.send(request(b"/empty", method=b"HEAD"))
            assert client.answer(b"HEAD").header(b"x-empty") == b"1"
            client.send(request(b"/empty"))
            assert client.answer().line == b"HTTP/1.1 204 No Content"
            client.send(request(b"/twice"))
            twice = client.answer()
            cookies = [value for name, value in twice.headers if name == b"set-cookie"]
            assert (cookies, twice.body) == ([b"a=1", b"b=2"], b"")
        assert set(versions(tmp_path)) == {2}

    def test_bodies_of_requests(self, tmp_path: Path, upstream: FakeUpstream, engine: str) -> None:
        with chain(tmp_path, upstream, engine) as client:
            client.send(request(b"/p?b=%20c", method=b"POST", body=_LARGE))
            echoed = client.answer()
            assert echoed.body == _LARGE
            assert echoed.header(b"x-seen") == b"POST /p?b=%20c HTTP/1.1"
            head = request(b"/q", method=b"PUT", headers=((b"Transfer-Encoding", b"chunked"),))
            client.send(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            assert client.answer().body == b"abcde"
        assert versions(tmp_path) == [2, 2]

    def test_an_answer_that_breaks_off_is_not_whole(
        self, tmp_path: Path, upstream: FakeUpstream, engine: str
    ) -> None:
        with chain(tmp_path, upstream, engine) as client:
            client.send(request(b"/cut"))
            with pytest.raises(BrokenAnswer):
                client.answer()

    def test_many_one_after_the_other_share_a_connection(
        self, tmp_path: Path, upstream: FakeUpstream, engine: str
    ) -> None:
        with chain(tmp_path, upstream, engine) as client:
            for number in range(50):
                client.send(request(b"/%d" % number))
                assert client.answer().body == b"nothing"
        assert versions(tmp_path) == [2] * 50

    @pytest.mark.parametrize("use", ["auto", "never"])
    def test_it_is_asked_in_http1_unless_that_is_wanted(
        self, tmp_path: Path, upstream: FakeUpstream, engine: str, use: str
    ) -> None:
        with chain(tmp_path, upstream, engine, use) as client:
            client.send(request(b"/x"))
            assert client.answer().body == b"nothing"
        assert versions(tmp_path) == [1]


def test_an_upstream_without_http2_is_named(
    tmp_path: Path, upstream: FakeUpstream, engine: str
) -> None:
    (tmp_path / "buffr.yaml").write_text(
        f"http2_engine: {engine}\n"
        f"reverse: [{{port: 0, mode: passthrough, target: '{upstream.url}',"
        f" upstream: {{http2: always}}}}]\n"
    )
    with BuffrProcess.run("serve", cwd=tmp_path) as running, RawClient(running.ports[0]) as client:
        client.send(request(b"/x"))
        refused = client.answer()
        assert refused.status == 502
        assert b"HTTP/2: " in refused.body
        assert b"http2: never" in refused.body
