"""Mode cache as a user runs it: a process, sockets, a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer, chunked

FRESH = ((b"Cache-Control", b"max-age=60"),)


def _echo(received: Received) -> bytes:
    return answer(received.target + b" " + received.body, headers=FRESH)


@pytest.fixture(params=["memory:", "sqlite:"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind: str = request.param
    return kind if kind == "memory:" else f"sqlite:{tmp_path / 'kept.db'}"


class TestCommand:
    def test_a_second_request_is_a_hit(self, tmp_path: Path, store: str) -> None:
        with FakeUpstream(_echo) as upstream:
            options = ("--target", upstream.url, "--port", "0", "--store", store)
            with BuffrProcess.run("cache", *options, cwd=tmp_path) as buffr:
                for told in (b"uri-miss", b"hit"):
                    got = ask(buffr.ports[0], request(b"/a%2Fb?x"))
                    assert got.body == b"/a%2Fb?x "
                    assert told in (got.header(b"cache-status") or b"")
                buffr.wait_for(r"src=cache")
            assert len(upstream.received) == 1

    def test_a_file_outlives_the_process(self, tmp_path: Path) -> None:
        with FakeUpstream(lambda _: answer(b"kept")) as upstream:
            options = ("--target", upstream.url, "--port", "0", "--ttl", "1d")
            for _ in range(2):
                with BuffrProcess.run("cache", *options, cwd=tmp_path) as buffr:
                    assert ask(buffr.ports[0], request(b"/x")).body == b"kept"
            assert len(upstream.received) == 1
        assert (tmp_path / "buffr-cache.db").stat().st_mode & 0o077 == 0

    def test_the_forward_proxy_caches_too(self, tmp_path: Path) -> None:
        with FakeUpstream(_echo) as upstream:
            options = ("--cache", "--port", "0", "--store", "memory:")
            with BuffrProcess.run("proxy", *options, cwd=tmp_path) as buffr:
                for _ in range(2):
                    target = f"{upstream.url}/x".encode()
                    assert ask(buffr.ports[0], request(target)).body == b"/x "
            assert len(upstream.received) == 1

    def test_methods_bodies_and_streams_pass(self, tmp_path: Path, store: str) -> None:
        """Seed defect 8: PATCH was 501, chunked bodies were lost, duplicates too."""

        def script(received: Received) -> object:
            if received.target == b"/stream":
                return chunked([b"a", b"b"], headers=FRESH, trailers=((b"X-T", b"1"),))
            return answer(
                received.method + b" " + received.body, headers=((b"X-D", b"1"), (b"X-D", b"2"))
            )

        with FakeUpstream(script) as upstream:  # type: ignore[arg-type]
            options = ("--target", upstream.url, "--port", "0", "--store", store)
            with BuffrProcess.run("cache", *options, cwd=tmp_path) as buffr:
                port = buffr.ports[0]
                raw = (
                    b"PATCH /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    b"3\r\nabc\r\n0\r\n\r\n"
                )
                got = ask(port, raw)
                assert got.body == b"PATCH abc"
                assert [value for name, value in got.headers if name == b"X-D"] == [b"1", b"2"]
                for _ in range(2):
                    assert ask(port, request(b"/stream")).body == b"ab"
            assert len(upstream.received) == 2


class TestSettings:
    @pytest.mark.parametrize(
        ("option", "line"),
        [
            (("--store", "redis:x"), "must be memory:, sqlite:PATH or redis://HOST"),
            (("--ttl", "0"), "must be seconds"),
        ],
    )
    def test_a_wrong_one_is_told(self, tmp_path: Path, option: tuple[str, str], line: str) -> None:
        options = ("--target", "http://127.0.0.1:1", "--port", "0", *option)
        with pytest.raises(RuntimeError, match=line):  # noqa: SIM117
            with BuffrProcess.run("cache", *options, cwd=tmp_path):
                pass
