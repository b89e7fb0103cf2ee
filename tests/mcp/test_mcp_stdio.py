"""``buffr mcp``: a server on standard streams, recorded once and replayed many times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from bench import interactions
from mcp_peers import PEERS, command, conversations

BUFFR = (sys.executable, "-m", "buffr", "mcp")
NO_SERVER = ("--", "false")


@frozen
class Recorded:
    peer: str
    cassette: Path
    seen: Any

    def replayed(self, client: str, times: int) -> list[Any]:
        """What a client sees of the cassette; there is no server any more."""
        where = (*BUFFR, "--cassette", str(self.cassette), "--replay", *NO_SERVER)
        return conversations(client, times, "--", *where)


@pytest.fixture(scope="module", params=PEERS)
def conversation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    peer, cassette = request.param, tmp_path_factory.mktemp("stdio") / "mcp.json"
    where = (*BUFFR, "--cassette", str(cassette), "--", *command(peer), "stdio")
    (seen,) = conversations(peer, 1, "--", *where, also=peer)
    return Recorded(peer, cassette, seen)


class TestConversations:
    @pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.slow)])
    def test_replays_are_the_recorded_one(self, conversation: Recorded, times: int) -> None:
        """Each starts a buffr of its own."""
        assert any("yes to tea" in str(one) for one in conversation.seen)
        assert conversation.replayed(conversation.peer, times) == [conversation.seen] * times

    def test_the_other_client(self, conversation: Recorded) -> None:
        """Its ids begin at another number."""
        (other,) = set(PEERS) - {conversation.peer}
        assert conversation.replayed(other, 1) == [conversation.seen]

    def test_each_message_is_an_interaction(self, conversation: Recorded) -> None:
        """In the form that streamable HTTP has, so the same commands and rules apply."""
        found = [each["http"] for each in interactions(conversation.cassette)]
        said = [json.loads(each["request"]["body"]) for each in found if "body" in each["request"]]
        assert [each.get("method") for each in said][:3] == [
            *("initialize", "notifications/initialized", "tools/list")
        ]
        assert found[-1]["request"]["method"] == "GET"
        assert found[-1]["end"] == {"reason": "the client left the stream open", "truncated": False}
        assert not any("truncated" in each.get("end", ()) for each in found[:-1])


def said(*arguments: str, lines: bytes, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    environ = {name: text for name, text in os.environ.items() if not name.startswith("BUFFR_")}
    return subprocess.run(
        [*BUFFR, *arguments],
        input=lines,
        cwd=cwd,
        env=environ,
        capture_output=True,
        check=False,
        timeout=60,
    )


ECHO = """
import json, sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(b"not a message\\n")
    message = json.loads(line)
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"said": message["params"]}}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\\r\\n")
    sys.stdout.buffer.flush()
sys.exit(7)
"""


def call(number: int, params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": "m", "params": params}
    return json.dumps(message).encode() + b"\n"


class TestTheCommand:
    def test_every_byte_passes_and_the_code_is_the_servers(self, tmp_path: Path) -> None:
        lines = call(1, {"a": 1}) + call(2, {"a": 2})
        server = ("--", sys.executable, "-c", ECHO)
        done = said("--cassette", "c.json", *server, lines=lines, cwd=tmp_path)
        assert done.returncode == 7, done.stderr
        plain = subprocess.run(server[1:], input=lines, capture_output=True, check=False)
        assert done.stdout == plain.stdout
        assert done.stderr == b""
        replayed = said(
            *("--cassette", "c.json", "--replay"),
            lines=call(8, {"a": 2}) + call(9, {"a": 1}) + call(10, {"a": 3}),
            cwd=tmp_path,
        )
        assert replayed.returncode == 0
        # They need not come in the order of the calls (JSON-RPC 2.0, 6).
        lines_of_answers = replayed.stdout.splitlines()
        answers = sorted(map(json.loads, lines_of_answers), key=lambda one: int(one["id"]))
        assert [(each["id"], each.get("result")) for each in answers] == [
            *((8, {"said": {"a": 2}}), (9, {"said": {"a": 1}}), (10, None))
        ]
        assert answers[2]["error"]["message"].startswith("buffr: no recorded interaction matches")
        assert "body /params/a: recorded '2', live '3'" in answers[2]["error"]["message"]
        assert b"src=miss" in replayed.stderr, "the client may not show it"

    def test_rules_apply(self, tmp_path: Path) -> None:
        server = ("--", sys.executable, "-c", ECHO)
        said("--cassette", "c.json", *server, lines=call(1, {"now": 1}), cwd=tmp_path)
        rule = ("--match-json", "$.params.now")
        flags = ("--cassette", "c.json", "--replay", *rule)
        done = said(*flags, lines=call(5, {"now": 2}), cwd=tmp_path)
        assert json.loads(done.stdout) == {
            "jsonrpc": "2.0",
            "id": 5,
            "result": {"said": {"now": 1}},
        }

    def test_a_server_that_dies(self, tmp_path: Path) -> None:
        """What it did not answer is kept, and never replayed."""
        dies = ("--", sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)")
        done = said("--cassette", "c.json", *dies, lines=call(1, {}), cwd=tmp_path)
        assert done.returncode == 3
        (found,) = interactions(tmp_path / "c.json")
        assert found["http"]["end"]["reason"] == "the server ended before it answered"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--", "x"), "--cassette is missing"),
            (("--cassette", "c.json"), "there is no command"),
            (("--cassette", "c.json", "--", "no-such-command"), "no-such-command: command not f"),
            (("--cassette", "c.json", "--replay"), "c.json"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, tmp_path: Path, arguments: tuple[str, ...], words: str
    ) -> None:
        done = said(*arguments, lines=b"", cwd=tmp_path)
        assert done.returncode
        assert words in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()
        assert done.stdout == b""
