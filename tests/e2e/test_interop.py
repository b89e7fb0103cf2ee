"""A cassette that the Go program really wrote: its recordings replay, and all of it survives."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import interactions
from raw_http import Answer, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, answer

GO_CASSETTE = Path(__file__).parent.parent / "data" / "go-reverse.json"
ELEMENTS = json.loads(GO_CASSETTE.read_bytes())["interactions"]
EXCHANGES = [element["http"] for element in ELEMENTS if element["type"] == "http"]


def raw_request(recorded: dict[str, Any]) -> bytes:
    """The request as its client sent it, but for another key."""
    query = recorded.get("query")
    target = recorded["path"] + ("" if query is None else f"?{query}")
    headers = [
        (name.encode(), b"dummy" if name in ("Authorization", "X-Api-Key") else value.encode())
        for name, values in recorded["headers"].items()
        for value in values
        if name != "Content-Length"
    ]
    body = recorded.get("body")
    return request(
        target.encode(),
        method=recorded["method"].encode(),
        headers=headers,
        body=None if body is None else body.encode(),
    )


def recorded_chunks(response: dict[str, Any]) -> list[bytes]:
    if "body_b64" in response:
        return [base64.b64decode(response["body_b64"])]
    return [
        base64.b64decode(chunk["data_b64"]) if "data_b64" in chunk else chunk["data"].encode()
        for chunk in response.get("body_chunks", [{"data": response.get("body", "")}])
    ]


def check(got: Answer, response: dict[str, Any]) -> None:
    """Same status, same fields, same bytes, cut as they were recorded."""
    assert got.status == response["status"]
    expected = [
        (name.encode(), value.encode())
        for name, values in response["headers"].items()
        for value in values
    ]
    if "Content-Length" not in response["headers"]:
        expected.append((b"Transfer-Encoding", b"chunked"))
    assert list(got.headers) == expected
    chunks = recorded_chunks(response)
    assert got.body == b"".join(chunks)
    if "body_chunks" in response:
        assert got.chunks == tuple(chunk for chunk in chunks if chunk)


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuffrProcess]:
    directory = tmp_path_factory.mktemp("interop")
    shutil.copy(GO_CASSETTE, directory / "go.json")
    flags = ("--port", "0", "--cassette", "go.json")
    with BuffrProcess.run("replay", *flags, cwd=directory) as running:
        yield running
    assert (directory / "go.json").read_bytes() == GO_CASSETTE.read_bytes()


class TestReplay:
    @pytest.mark.parametrize("number", range(len(EXCHANGES)))
    def test_each_exchange_is_answered_as_recorded(
        self, replaying: BuffrProcess, number: int
    ) -> None:
        """In recorded order; of two with one request, each in its turn."""
        exchange = EXCHANGES[number]
        check(ask(replaying.ports[0], raw_request(exchange["request"])), exchange["response"])

    def test_json_in_another_spelling_is_the_same_request(self, replaying: BuffrProcess) -> None:
        exchange = EXCHANGES[2]
        spelled = json.dumps(json.loads(exchange["request"]["body"]), indent=3, sort_keys=True)
        raw = raw_request({**exchange["request"], "body": spelled})
        check(ask(replaying.ports[0], raw), exchange["response"])


class TestAppending:
    def test_what_the_go_program_wrote_survives(self, tmp_path: Path) -> None:
        """Its HTTP exchanges, and its WebSocket session."""
        cassette = tmp_path / "go.json"
        shutil.copy(GO_CASSETTE, cassette)
        with FakeUpstream(lambda received: answer(received.target)) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "go.json")
            with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
                for number in range(3):
                    assert ask(running.ports[0], request(b"/new/%d" % number)).status == 200
                for exchange in EXCHANGES:
                    got = ask(running.ports[0], raw_request(exchange["request"]))
                    check(got, exchange["response"])
            assert len(upstream.received) == 3
        kept = interactions(cassette)
        assert kept[: len(ELEMENTS)] == ELEMENTS
        new = [one["http"]["request"]["path"] for one in kept[len(ELEMENTS) :]]
        assert new == ["/new/0", "/new/1", "/new/2"]

    def test_what_is_written_is_version_1_to_the_go_program(self, tmp_path: Path) -> None:
        """Every field that it reads has the type that it reads; whatever else is there it skips."""
        headers = [(b"b", b"1"), (b"A", b"2"), (b"Content-Type", b"text/event-stream")]
        bodies = {b"/text": b"text", b"/binary": b"\xff\x00", b"/events": b"data: 1\n\n", b"/": b""}

        def script(received: Any) -> bytes:
            fields = headers if received.target == b"/events" else headers[:2]
            return answer(bodies[received.target], headers=fields)

        cassette = tmp_path / "new.json"
        with FakeUpstream(script) as upstream:
            flags = ("--target", upstream.url, "--port", "0", "--cassette", "new.json")
            with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
                for target in bodies:
                    raw = request(target + b"", method=b"POST", body=b'{"a": 1}')
                    assert ask(running.ports[0], raw).status == 200
        text = cassette.read_text()
        whole = json.loads(text)
        assert whole["version"] == 1
        assert text.startswith('{\n  "version": 1,\n')
        for element, (target, body) in zip(whole["interactions"], bodies.items(), strict=True):
            assert element["type"] == "http"
            asked, answered = element["http"]["request"], element["http"]["response"]
            assert asked["method"] == "POST"
            assert asked["path"] == target.decode()
            assert asked["body"] == '{"a": 1}'
            assert answered["status"] == 200
            assert b"".join(recorded_chunks(answered)) == body
            for fields in (asked["headers"], answered["headers"]):
                assert all(isinstance(value, str) for values in fields.values() for value in values)
                assert [name.title() for name in fields] == list(fields)
