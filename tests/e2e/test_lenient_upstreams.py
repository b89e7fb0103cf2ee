"""Upstreams as they are: answers that clients read although they are not well-formed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from bench import interactions
from forward_bench import secure_origin, trust_file
from raw_http import Answer, BrokenAnswer, Pairs, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, steps

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = (b"Content-Length", b"5")
CODED = (b"Transfer-Encoding", b"chunked")
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

FAULTY: dict[str, tuple[bytes, Pairs, str]] = {
    "lf": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", (LENGTH,), "bare LF"),
    "space": (OK + b"Content-Length : 5\r\n\r\nhello", (LENGTH,), "white space before a colon"),
    "fold": (
        OK + b"X-A: one\r\n two\r\nContent-Length: 5\r\n\r\nhello",
        ((b"X-A", b"one two"), LENGTH),
        "obs-fold",
    ),
    "two-lengths": (
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        (LENGTH,),
        "the same Content-Length",
    ),
    "length-list": (
        OK + b"Content-Length: 5, 5\r\n\r\nhello",
        (LENGTH,),
        "the same Content-Length",
    ),
    "identity": (
        OK + b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        (LENGTH,),
        "Transfer-Encoding: identity",
    ),
    "both": (
        OK + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        (CODED,),
        "both Transfer-Encoding and Content-Length",
    ),
}


@frozen
class Lenient:
    """A buffr with a route for each policy, before one upstream."""

    upstream: FakeUpstream
    process: BuffrProcess
    directory: Path

    def ask(self, route: str, name: str, mark: str = "") -> Answer:
        port = self.process.ports[("auto", "strict").index(route)]
        return ask(port, request(f"/{name}{mark}".encode()))

    def lines(self, *words: str) -> list[str]:
        return [line for line in self.process.output if all(word in line for word in words)]


def _script(received: Received) -> bytes:
    name = received.target.decode().strip("/").partition("?")[0]
    return FAULTY[name][0]


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lenient]:
    directory = tmp_path_factory.mktemp("lenient")
    with FakeUpstream(_script) as upstream:
        row = {"port": 0, "target": upstream.url}
        rows = [
            {**row, "cassette": "auto.json"},
            {**row, "cassette": "strict.json", "upstream": {"lenient": False}},
        ]
        (directory / "buffr.yaml").write_text(yaml.safe_dump({"reverse": rows}))
        with BuffrProcess.run("serve", cwd=directory, listeners=2) as process:
            yield Lenient(upstream, process, directory)
        assert "Traceback" not in process.log()


class TestRepaired:
    @pytest.mark.parametrize("name", FAULTY)
    def test_the_client_gets_a_well_formed_answer(self, lenient: Lenient, name: str) -> None:
        """So does the cassette: what is replayed is the same, byte for byte."""
        _, headers, fault = FAULTY[name]
        live = lenient.ask("auto", name)
        assert (live.headers, live.body) == (headers, b"hello")
        asked = len(lenient.upstream.received)
        assert lenient.ask("auto", name) == live
        assert len(lenient.upstream.received) == asked
        recorded = [
            one["http"]["response"]
            for one in interactions(lenient.directory / "auto.json")
            if one["http"]["request"]["path"] == f"/{name}"
        ]
        assert [one["body"] for one in recorded] == ["hello"]
        names = {field.decode() for field, _ in headers}
        assert set(recorded[0]["headers"]) == names
        assert len(lenient.lines("repaired", fault, "level=WARN")) == 1

    @pytest.mark.parametrize("name", FAULTY)
    def test_its_connection_is_not_used_again(self, lenient: Lenient, name: str) -> None:
        """The upstream may count what follows otherwise than buffr does."""
        before = lenient.upstream.connections
        for mark in ("?1", "?2", "?3"):
            assert lenient.ask("auto", name, mark).body == b"hello"
        assert lenient.upstream.connections == before + 3


class TestWithoutCloseNotify:
    """A body that the connection's end ends, over TLS: many servers say no goodbye."""

    def test_it_is_whole_and_marked(self, tmp_path: Path) -> None:
        """As to curl and all other clients. The mark says that nobody can be sure."""

        def script(received: Received) -> Iterator[Step]:
            length = b"Content-Length: 9\r\n" if received.target == b"/cut" else b""
            return steps(OK + length + b"\r\nhello", None)

        with secure_origin(script) as origin:
            trust = str(trust_file(tmp_path))
            flags = ("--target", origin.url, "--port", "0", "--cassette", "tls.json")
            auto = ("auto", *flags, "--ca-file", trust)
            with BuffrProcess.run(*auto, cwd=tmp_path) as running:
                live = ask(running.ports[0], request(b"/whole"))
                assert live.body == b"hello"
                with pytest.raises(BrokenAnswer):
                    ask(running.ports[0], request(b"/cut"))
        found = [one["http"] for one in interactions(tmp_path / "tls.json")]
        ends = {one["request"]["path"]: one["end"] for one in found}
        assert ends["/whole"] == {
            "reason": "the upstream closed the connection without TLS's close_notify",
            "truncated": False,
        }
        assert "truncated" not in ends["/cut"]
        with BuffrProcess.run("replay", *flags, cwd=tmp_path) as replaying:
            assert ask(replaying.ports[0], request(b"/whole")) == live
            assert ask(replaying.ports[0], request(b"/cut")).status == 599

    def test_a_cache_does_not_store_it(self, tmp_path: Path) -> None:
        """RFC 9112 9.8: it may be incomplete, and would be served to everybody."""
        fields = b"Cache-Control: max-age=60\r\n"
        with secure_origin(lambda _: steps(OK + fields + b"\r\nhello", None)) as origin:
            flags = ("--target", origin.url, "--port", "0", "--ca-file", str(trust_file(tmp_path)))
            with BuffrProcess.run("cache", *flags, cwd=tmp_path) as running:
                for _ in range(2):
                    assert ask(running.ports[0], request(b"/x")).body == b"hello"
            assert len(origin.received) == 2


class TestRefused:
    @pytest.mark.parametrize("name", FAULTY)
    def test_a_setting_has_it_refused_at_once(self, lenient: Lenient, name: str) -> None:
        """The fault is named, and the setting; nothing is recorded."""
        found = lenient.ask("strict", name)
        assert found.status == 502
        assert FAULTY[name][2] in found.body.decode()
        assert "upstream: {lenient: true}" in found.body.decode()
        assert not (lenient.directory / "strict.json").exists()
