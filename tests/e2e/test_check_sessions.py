"""``buffr cassette check`` on WebSocket sessions: autobahn speaks them again with a real server."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from attrs import define, field
from commands import run as run_command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from buffr.testing import BuffrProcess

LONG = "a longer text " * 40


@define(eq=False)
class Chat:
    """A server in three versions. ``received`` has what it got, ``codes`` the close codes."""

    version: str = "same"
    received: list[Any] = field(factory=list)
    codes: list[int | None] = field(factory=list)
    heads: list[dict[str, str]] = field(factory=list)

    def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.heads.append(dict(connection.request.headers.raw_items()))
        session = f"session-{uuid.uuid4()}"
        self._say(connection, {"type": "hello", "session": session})
        try:
            for message in connection:
                self.received.append(message)
                if isinstance(message, bytes):
                    connection.send(message[::-1])
                    continue
                asked = json.loads(message)
                self._answer(connection, asked, session)
        except (ConnectionClosed, OSError):
            pass
        close = connection.protocol.close_rcvd
        self.codes.append(None if close is None else close.code)

    def _answer(self, connection: ServerConnection, asked: dict[str, Any], session: str) -> None:
        if asked["session"] != session:
            self._say(connection, {"type": "error", "message": "whose session?"})
        elif asked["type"] == "bye":
            connection.close(1000, "bye")
        else:
            if self.version == "additive":
                self._say(connection, {"type": "thinking"})
            for text in ("one", "two", LONG):
                delta: dict[str, Any] = {"type": "delta", "text": text, "index": 1}
                if self.version == "breaking":
                    del delta["index"]
                self._say(connection, delta)
            self._say(connection, {"type": "done"})

    @staticmethod
    def _say(connection: ServerConnection, value: dict[str, Any]) -> None:
        connection.send(json.dumps(value))


@contextmanager
def serving(chat: Chat) -> Iterator[str]:
    protocols = [Subprotocol("chat.v1")]
    with serve(chat, "127.0.0.1", 0, subprotocols=protocols) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def talk(url: str, close_code: int | None) -> None:
    """Three turns, each after what it answers; the client or the server closes."""
    protocols = [Subprotocol("chat.v1")]
    with connect(url.replace("http", "ws") + "/chat", subprotocols=protocols) as connection:
        session = json.loads(connection.recv())["session"]
        for turn in range(2):
            connection.send(json.dumps({"type": "ask", "session": session, "turn": turn}))
            while json.loads(connection.recv())["type"] != "done":
                pass
        connection.send(b"\x00\x01\x02")
        assert connection.recv() == b"\x02\x01\x00"
        if close_code is None:
            connection.send(json.dumps({"type": "bye", "session": session}))
            with pytest.raises(ConnectionClosed):
                connection.recv()
        else:
            connection.close(close_code, "enough")


@pytest.fixture(scope="module", params=[1000, 1001, 4321, None], ids=str)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded")
    with serving(Chat()) as url:
        options = ("--target", url, "--port", "0", "--cassette", "chat.json")
        with BuffrProcess.run("record", *options, cwd=directory) as buffr:
            talk(buffr.url, request.param)
            buffr.wait_for("WS|ws|/chat")
    (directory / "code").write_text(str(request.param))
    return directory


def check(directory: Path, url: str, *more: str) -> tuple[int, list[dict[str, Any]]]:
    words = ("cassette", "check", "chat.json", "--against", url, "--json")
    done = run_command(*words, *more, cwd=directory)
    assert "Traceback" not in done.stderr, done.stderr
    (file,) = json.loads(done.stdout)["files"]
    return done.returncode, file["interactions"]


class TestSessions:
    def test_without_being_told_none_is_spoken(self, recorded: Path) -> None:
        chat = Chat()
        with serving(chat) as url:
            code, rows = check(recorded, url)
        assert (code, rows[0]["result"], chat.heads) == (0, "skipped", [])

    def test_the_same(self, recorded: Path) -> None:
        """With the session's new identifier, in the recorded client's turns, to the same end."""
        chat = Chat()
        with serving(chat) as url:
            code, rows = check(recorded, url, "--unsafe")
            assert (code, rows[0]["findings"]) == (0, [])
        assert [json.loads(one)["turn"] for one in chat.received[:2]] == [0, 1]
        assert chat.received[2] == b"\x00\x01\x02"
        wanted = (recorded / "code").read_text()
        assert str(chat.codes[0]) == ("1000" if wanted == "None" else wanted)
        assert chat.heads[0]["Sec-WebSocket-Protocol"] == "chat.v1"
        assert list(chat.heads[0])[-1] != "Host"

    def test_additions_and_breaking_changes(self, recorded: Path) -> None:
        chat = Chat("additive")
        with serving(chat) as url:
            code, rows = check(recorded, url, "--unsafe")
            told = [(one["part"], one["what"]) for one in rows[0]["findings"]]
            assert (code, told) == (1, [("message thinking", "is new")])
            chat.version = "breaking"
            code, rows = check(recorded, url, "--unsafe")
            told = [(one["part"], one["what"]) for one in rows[0]["findings"]]
            assert (code, told) == (2, [("message delta", "is gone")])

    def test_a_server_that_is_gone_or_refuses(self, recorded: Path) -> None:
        code, rows = check(recorded, "http://127.0.0.1:9", "--unsafe")
        assert code == 3
        assert "refused" in rows[0]["why"]


class TestRefresh:
    def test_a_session_is_recorded_anew(self, recorded: Path, tmp_path: Path) -> None:
        """With the new session's identifier in what the client says, so that it replays."""
        shutil.copy(recorded / "chat.json", tmp_path / "chat.json")
        text = (recorded / "code").read_text()
        close_code = None if text == "None" else int(text)
        with serving(Chat("additive")) as url:
            words = ("cassette", "refresh", "chat.json", "--against", url, "--unsafe", "--yes")
            done = run_command(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "message thinking is new" in done.stdout
            code, rows = check(tmp_path, url, "--unsafe")
            assert (code, rows[0]["findings"]) == (0, [])
        options = ("--port", "0", "--cassette", "chat.json")
        with BuffrProcess.run("replay", *options, cwd=tmp_path) as buffr:
            talk(buffr.url, close_code)
