"""Upstreams as they are: answers that clients read although they are not well-formed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from attrs import frozen
from bench import interactions
from raw_http import Answer, Pairs, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received

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


class TestRefused:
    @pytest.mark.parametrize("name", FAULTY)
    def test_a_setting_has_it_refused_at_once(self, lenient: Lenient, name: str) -> None:
        """The fault is named, and the setting; nothing is recorded."""
        found = lenient.ask("strict", name)
        assert found.status == 502
        assert FAULTY[name][2] in found.body.decode()
        assert "upstream: {lenient: true}" in found.body.decode()
        assert not (lenient.directory / "strict.json").exists()
