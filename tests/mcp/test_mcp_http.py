"""``match: mcp``: conversations over streamable HTTP, recorded once and replayed many times."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from bench import interactions
from mcp_peers import PEERS, conversations, serving

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

SESSION = "Mcp-Session-Id"


def header(message: Any, name: str) -> str | None:
    for known, values in message["headers"].items():
        if known.lower() == name.lower():
            return str(values[0])
    return None


@frozen
class Recorded:
    """A conversation of a client with a server, through buffr."""

    server: str
    client: str
    cassette: Path
    seen: list[Any]


def recorded(server: str, client: str, directory: Path, mode: str = "legacy") -> Recorded:
    cassette = directory / "mcp.json"
    with (
        serving(server, directory) as origin,
        BuffrProcess.run(
            *("record", "--target", origin, "--match", "mcp", "--port", "0"),
            *("--cassette", str(cassette)),
            cwd=directory,
        ) as proxy,
    ):
        (seen,) = conversations(client, 1, f"{proxy.url}/mcp", mode=mode)
    return Recorded(server, client, cassette, seen)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded("python", "python", tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded("typescript", "typescript", tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module", params=PEERS)
def conversation(request: pytest.FixtureRequest) -> Recorded:
    found: Recorded = request.getfixturevalue(request.param)
    return found


def replaying(cassette: Path, *flags: str) -> Any:
    """buffr with that cassette; there is no server any more."""
    return BuffrProcess.run(
        *("replay", "--cassette", str(cassette), "--match", "mcp", "--port", "0", *flags),
        cwd=cassette.parent,
    )


class TestConversations:
    def test_ten_replays_are_the_recorded_one(self, conversation: Recorded) -> None:
        """Initialize, list, calls, progress, the server's own request and news, a resumed
        stream, the end of the session: everything is as it was, ten times in a row."""
        assert ["progress", 2, 2, "after the cut"] in conversation.seen
        assert any("yes to tea" in str(one) for one in conversation.seen)
        with replaying(conversation.cassette) as proxy:
            again = conversations(conversation.client, 10, f"{proxy.url}/mcp")
        assert again == [conversation.seen] * 10
        assert "src=miss" not in proxy.log()
        assert "goes on" not in proxy.log(), "nothing was waited for in vain"

    def test_clients_at_once_have_sessions_of_their_own(self, conversation: Recorded) -> None:
        seen: list[Any] = []

        def talk() -> None:
            seen.extend(conversations(conversation.client, 1, url))

        with replaying(conversation.cassette) as proxy:
            url = f"{proxy.url}/mcp"
            threads = [threading.Thread(target=talk) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert seen == [conversation.seen] * 2

    def test_what_was_recorded(self, conversation: Recorded) -> None:
        """Each call is an interaction of its own; both streams of the server are whole."""
        found = [each["http"] for each in interactions(conversation.cassette)]
        assert {each["request"]["method"] for each in found} == {"POST", "GET", "DELETE"}
        assert all("end" not in each or not each["end"]["truncated"] for each in found)
        streams = [each for each in found if each["request"]["method"] == "GET"]
        resumed = [each for each in streams if header(each["request"], "Last-Event-ID")]
        assert len(streams) - len(resumed) == len(resumed) == 1
        chunks = [chunk for each in found for chunk in each["response"].get("body_chunks", ())]
        assert max(chunk.get("after", 0) for chunk in chunks) > 5


class TestTheOtherClient:
    def test_it_replays_what_one_recorded(self, python: Recorded) -> None:
        """Its ids begin at another number, and it names another release of itself."""
        with replaying(python.cassette) as proxy:
            again = conversations("typescript", 2, f"{proxy.url}/mcp")
        assert again == [python.seen] * 2, proxy.log()

    def test_a_client_without_sessions(self, tmp_path: Path) -> None:
        """The protocol of 2026, which has none: what a call means is in the call."""
        told = recorded("python", "python", tmp_path, mode="auto")
        with replaying(told.cassette) as proxy:
            again = conversations("python", 10, f"{proxy.url}/mcp", mode="auto")
        assert again == [told.seen] * 10, proxy.log()


@pytest.fixture(scope="module")
def proxy(python: Recorded) -> Iterator[BuffrProcess]:
    with replaying(python.cassette) as proxy:
        yield proxy


def post(
    proxy: BuffrProcess, message: Any, session: str = "", path: str = "/mcp"
) -> tuple[str, str]:
    """A message by hand; the answer's head and body."""
    body = json.dumps(message).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: x",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([f"{SESSION}: {session}"] if session else []),
    ]
    with socket.create_connection(("127.0.0.1", proxy.ports[0])) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        with connection.makefile("rb") as answer:
            head, _, rest = answer.read().partition(b"\r\n\r\n")
    return head.decode(), rest.decode()


CALL = {"name": "add", "arguments": {"a": 1, "b": 2}}


class TestIds:
    @pytest.mark.parametrize("number", [77, "seven", 'a "quote" \u00e9', 0])
    def test_an_answer_has_the_live_one(self, proxy: BuffrProcess, number: Any) -> None:
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": CALL}
        _, body = post(proxy, message)
        (line,) = [line for line in body.splitlines() if line.startswith("data: {")]
        answer = json.loads(line.removeprefix("data: "))
        assert answer["id"] == number
        assert answer["result"]["content"][0]["text"].endswith("003")

    def test_progress_has_the_live_token(self, proxy: BuffrProcess) -> None:
        params = {"name": "count", "arguments": {"to": 3}, "_meta": {"progressToken": "mine"}}
        _, body = post(proxy, {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
        told = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
        tokens = [one["params"]["progressToken"] for one in told if "method" in one]
        assert tokens == ["mine"] * 3

    def test_the_session_is_the_clients_or_a_new_one(self, proxy: BuffrProcess) -> None:
        """And so it is never one that a server knows."""
        params = {"capabilities": {"sampling": {}}, "clientInfo": {}, "protocolVersion": "1"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        heads = [post(proxy, message)[0] for _ in range(2)]
        named = [
            line for head in heads for line in head.splitlines() if line[:5].lower() == "mcp-s"
        ]
        assert len(named) == len(set(named)) == 2
        head, _ = post(proxy, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, "my-own")
        assert f"{SESSION}: my-own".lower() in head.lower()

    def test_each_session_hears_its_own_answers_in_order(self, proxy: BuffrProcess) -> None:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}
        one, other = ([post(proxy, message, name)[1] for _ in range(2)] for name in "ab")
        assert one == other
        assert one[0] != one[1]


def _answer_to(message: Any) -> Any:
    return {"jsonrpc": "2.0", "id": message["id"], "result": {"was": message["params"]}}


def _batches(received: Received) -> bytes:
    """An old server: a batch is answered by an array, or by a stream with progress."""
    asked = [each for each in json.loads(received.body) if "id" in each]
    if not asked:
        return answer(status=b"202 Accepted")
    told = [_answer_to(each) for each in asked]
    if received.target != b"/stream":
        return answer(json.dumps(told).encode(), headers=[(b"Content-Type", b"application/json")])
    progress = {"method": "notifications/progress", "params": {"progressToken": 7, "progress": 1}}
    events = [f"data: {json.dumps(each)}\n\n" for each in (progress, *told)]
    kind = (b"Content-Type", b"text/event-stream")
    return answer("".join(events).encode(), headers=[kind])


def call(number: Any, value: int, **more: Any) -> Any:
    return {"jsonrpc": "2.0", "id": number, "method": "m", "params": {"v": value, **more}}


NEWS = {"jsonrpc": "2.0", "method": "notifications/news"}


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cassette of two batches, one answered by an array, one by a stream."""
    cassette = tmp_path_factory.mktemp("batches") / "mcp.json"
    flags = ("--match", "mcp", "--port", "0", "--cassette", str(cassette))
    with (
        FakeUpstream(_batches) as upstream,
        BuffrProcess.run("record", "--target", upstream.url, *flags) as proxy,
    ):
        post(proxy, [call(1, 1), NEWS, call(2, 2)])
        meta = {"_meta": {"progressToken": 7}}
        post(proxy, [call(1, 1, **meta), call(2, 2)], path="/stream")
    return cassette


@pytest.fixture(scope="module")
def of_batches(batches: Path) -> Iterator[BuffrProcess]:
    with replaying(batches) as proxy:
        yield proxy


class TestBatches:
    def test_each_message_is_recorded_by_itself(self, batches: Path) -> None:
        found = [each["http"] for each in interactions(batches)]
        bodies = [json.loads(each["request"]["body"]) for each in found]
        assert [each.get("id") for each in bodies] == [1, None, 2, 1, 2]
        assert [each["response"]["status"] for each in found] == [200, 202, 200, 200, 200]

    def test_any_batch_of_them_is_answered_and_each_alone(self, of_batches: BuffrProcess) -> None:
        head, body = post(of_batches, [call("b", 2), call("a", 1), NEWS])
        assert "application/json" in head
        assert json.loads(body) == [_answer_to(call("b", 2)), _answer_to(call("a", 1))]
        _, body = post(of_batches, call(9, 1))
        assert json.loads(body) == _answer_to(call(9, 1))
        head, body = post(of_batches, [NEWS])
        assert " 202 " in head
        assert body == ""

    def test_streams_become_one(self, of_batches: BuffrProcess) -> None:
        meta = {"_meta": {"progressToken": "mine"}}
        head, body = post(of_batches, [call(5, 2), call(4, 1, **meta)], path="/stream")
        assert "text/event-stream" in head
        told = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
        assert [each.get("id") for each in told] == [5, None, 4]
        assert told[1]["params"]["progressToken"] == "mine"

    def test_a_miss_names_the_message(self, of_batches: BuffrProcess) -> None:
        head, body = post(of_batches, [call(1, 1), call(2, 3)])
        assert " 599 " in head
        assert "body /params/v" in body

    def test_a_miss_takes_no_turns(self, tmp_path: Path) -> None:
        """A message beside one that was not recorded is not answered, so its turn is still due."""
        cassette, results = tmp_path / "mcp.json", iter("ab")

        def told(_: Received) -> bytes:
            message = {"jsonrpc": "2.0", "id": 1, "result": next(results)}
            return answer(json.dumps(message).encode())

        flags = ("--match", "mcp", "--port", "0", "--cassette", str(cassette))
        with (
            FakeUpstream(told) as upstream,
            BuffrProcess.run("record", "--target", upstream.url, *flags) as proxy,
        ):
            for _ in range(2):
                post(proxy, call(1, 1))
        with replaying(cassette) as proxy:
            assert " 599 " in post(proxy, [call(1, 1), call(2, 3)])[0]
            assert [json.loads(post(proxy, call(1, 1))[1])["result"] for _ in range(2)] == [
                "a",
                "b",
            ]
