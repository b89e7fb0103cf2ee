"""WebSocket, by real clients and a real upstream: relayed, recorded, replayed."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import websocket as websocket_client
from attrs import define, field
from raw_http import RawClient, ask, request
from websockets import Request, Response
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from buffr.interaction import FrameKind
from buffr.testing import BuffrProcess
from buffr.wire.websocket_frames import encode_frame

Handler = Callable[[ServerConnection], None]


@define(eq=False)
class Upstream:
    """A WebSocket server by ``websockets``; ``sessions`` counts what it has served."""

    port: int
    sessions: int = 0
    pings: list[bytes] = field(factory=list)


def talk(connection: ServerConnection) -> None:
    """Greets first, then echoes; some words have it do something else."""
    connection.send("hello")
    for message in connection:
        match message:
            case "leave":
                connection.close(4001, "so long")
                return
            case "drop":
                connection.socket.close()
                return
            case "parts":
                connection.send(["one ", "two ", "three"])
            case "ping":
                connection.ping(b"from the server").wait(120)
                connection.send("ponged")
            case _:
                connection.send(message)


@contextmanager
def upstream(handler: Handler = talk) -> Iterator[Upstream]:
    def counted(connection: ServerConnection) -> None:
        served.sessions += 1
        handler(connection)

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        if not request.path.startswith("/refused"):
            return None
        answer = connection.respond(HTTPStatus.UNAUTHORIZED, "no key\n")
        answer.headers["X-Why"] = "key"
        return answer

    def chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next(iter(offered), None)

    with serve(
        counted, "127.0.0.1", 0, select_subprotocol=chosen, process_request=refuse, max_size=None
    ) as server:
        served = Upstream(server.socket.getsockname()[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join(120)


@define(eq=False)
class Bench:
    """An upstream, buffr before it, and the cassette that it writes or reads."""

    upstream: Upstream
    running: BuffrProcess
    cassette: Path

    def connect(self, path: str = "/talk", **options: Any) -> ClientConnection:
        uri = f"ws://127.0.0.1:{self.running.ports[0]}{path}"
        made: ClientConnection = connect(uri, proxy=None, max_size=None, **options)
        return made

    def say(self, *words: str | bytes, path: str = "/talk", **options: Any) -> list[str | bytes]:
        """What the server says: its greeting, an answer to each word, and how it closed."""
        heard: list[str | bytes] = []
        with self.connect(path, **options) as client:
            heard.append(client.recv(120))
            for word in words:
                client.send(word)
                try:
                    heard.append(client.recv(120))
                except ConnectionClosed:
                    heard.append(f"{client.close_code} {client.close_reason}")
        return heard

    def sessions(self) -> list[dict[str, Any]]:
        """The recorded sessions."""
        self.running.stop()
        elements = json.loads(self.cassette.read_text())["interactions"]
        return [one["websocket"] for one in elements if one["type"] == "websocket"]


@contextmanager
def bench(path: Path, mode: str = "auto", handler: Handler = talk, *more: str) -> Iterator[Bench]:
    with ExitStack() as stack:
        served = stack.enter_context(upstream(handler))
        flags = ["--target", f"http://127.0.0.1:{served.port}", "--port", "0"]
        flags += ["--cassette", "c.json", *more]
        running = stack.enter_context(BuffrProcess.run(mode, *flags, cwd=path))
        yield Bench(served, running, path / "c.json")


COMPRESSIONS = pytest.mark.parametrize("compression", ["deflate", None])


class TestRelayed:
    @COMPRESSIONS
    def test_a_client_sees_what_it_would_see_without_buffr(
        self, tmp_path: Path, compression: str | None
    ) -> None:
        """Subprotocol, extensions, large messages, fragments, close code and reason."""
        words = ("one", "\N{EURO SIGN}", bytes(200_000), "parts", "ping", "leave")
        options: dict[str, Any] = {"subprotocols": ["chat"], "compression": compression}
        with bench(tmp_path, "passthrough") as through:
            direct = connect(f"ws://127.0.0.1:{through.upstream.port}/talk", proxy=None, **options)
            with direct, through.connect(**options) as relayed:
                assert direct.response is not None
                assert relayed.response is not None
                for name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Server"):
                    wanted = direct.response.headers.get(name)
                    assert relayed.response.headers.get(name) == wanted
            heard = through.say(*words, **options)
            assert heard == ["hello", *words[:3], "one two three", "ponged", "4001 so long"]
            through.running.wait_for(r"msg=\"WS /talk\" frames=16 dur=\S+ src=upstream")

    def test_a_refusal_is_the_answer_that_it_is(self, tmp_path: Path) -> None:
        with bench(tmp_path, "auto") as through:
            for _ in range(2):
                with pytest.raises(InvalidStatus) as caught:
                    through.connect("/refused")
                response = caught.value.response
                assert (response.status_code, response.body) == (401, b"no key\n")
                assert response.headers["X-Why"] == "key"
            assert not through.cassette.exists()

    def test_an_upstream_that_is_not_there(self, tmp_path: Path) -> None:
        flags = ("--target", "http://127.0.0.1:1", "--port", "0", "--cassette", "c.json")
        with BuffrProcess.run("auto", *flags, cwd=tmp_path) as running:
            with pytest.raises(InvalidStatus) as caught:
                connect(f"ws://127.0.0.1:{running.ports[0]}/", proxy=None)
            assert caught.value.response.status_code == 502

    def test_an_upstream_that_drops_is_not_one_that_closes(self, tmp_path: Path) -> None:
        """1006 says that there was no close frame, so it never stands in one."""
        with bench(tmp_path, "record") as through:
            with through.connect() as client:
                assert client.recv(120) == "hello"
                client.send("drop")
                with pytest.raises(ConnectionClosedError):
                    client.recv(120)
                assert client.close_code == 1006
            (session,) = through.sessions()
            assert session["end"]["by"] == "server_to_client"
            assert [one["opcode"] for one in session["frames"]] == ["text", "text"]

    def test_a_bad_frame_closes_both_sides_with_its_code(self, tmp_path: Path) -> None:
        ends: list[int | None] = []

        def watch(connection: ServerConnection) -> None:
            with suppress(ConnectionClosed):
                connection.recv()
            ends.append(connection.close_code)

        with bench(tmp_path, "record", watch) as through:
            with through.connect() as client:
                client.socket.sendall(encode_frame(FrameKind.TEXT, b"\xff", key=b"1234"))
                with pytest.raises(ConnectionClosed):
                    client.recv(120)
                assert client.close_code == 1007
            (session,) = through.sessions()
            assert session["end"]["truncated"]
        assert ends == [1007]

    def test_the_signal_to_stop_says_so_and_keeps_the_recording(self, tmp_path: Path) -> None:
        with bench(tmp_path, "record") as through, through.connect() as client:
            assert client.recv(120) == "hello"
            through.running.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed):
                client.recv(120)
            assert client.close_code == 1001
            (session,) = through.sessions()
            assert session["frames"][0]["data"] == "hello"
            assert session["end"] == {"reason": "buffr is stopping"}  # whole: it is replayed

    def test_a_client_that_keeps_its_connection_does_not_delay_a_stop(self, tmp_path: Path) -> None:
        """Its session is over: ``websocket-client`` may leave the connection to its garbage."""
        with bench(tmp_path, "record") as through:
            client = websocket_client.create_connection(
                f"ws://127.0.0.1:{through.running.ports[0]}/talk"
            )
            client.recv()
            client.send("leave")
            client.recv_data()
            assert through.running.stop() == 0
            assert client.sock is not None

    def test_a_slow_reader_holds_the_sender_back(self, tmp_path: Path) -> None:
        sent = 0
        full = threading.Event()

        def flood(connection: ServerConnection) -> None:
            nonlocal sent
            connection.socket.settimeout(0.5)
            try:
                for _ in range(2000):
                    connection.send(bytes(65536))
                    sent += 1
            except (OSError, ConnectionClosed):
                pass
            full.set()

        with bench(tmp_path, "passthrough", flood) as through:
            client = RawClient(through.running.ports[0])
            key = b"dGhlIHNhbXBsZSBub25jZQ=="
            client.send(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
            )
            full.wait(120)
            client.close()
        assert 0 < sent < 1000

    def test_through_websocket_client(self, tmp_path: Path) -> None:
        with bench(tmp_path, "passthrough") as through:
            client = websocket_client.create_connection(
                f"ws://127.0.0.1:{through.running.ports[0]}/talk", subprotocols=["chat"]
            )
            assert client.recv() == "hello"
            client.ping("are you there")
            client.send_binary(b"\x00\xff")
            assert client.recv_data(control_frame=True)[0] == websocket_client.ABNF.OPCODE_PONG
            assert client.recv() == b"\x00\xff"
            client.close()


class TestRecorded:
    def test_frames_of_both_sides_in_their_order(self, tmp_path: Path) -> None:
        with bench(tmp_path, "record") as through:
            through.say("parts", "ping", "leave", subprotocols=["chat"])
            (session,) = through.sessions()
        shown = [
            (one["direction"][0], one["opcode"], one["data"]) for one in session["frames"][:-2]
        ]
        assert shown == [
            ("s", "text", "hello"),
            ("c", "text", "parts"),
            ("s", "text", "one two three"),
            ("c", "text", "ping"),
            ("s", "text", "ponged"),
            ("c", "text", "leave"),
        ]
        assert session["frames"][2]["fragments"] == [4, 4, 5, 0]
        ends = [(one["close_code"], one["reason"]) for one in session["frames"][-2:]]
        assert ends == 2 * [(4001, "so long")]
        assert {one["opcode"] for one in session["control"]} == {"ping", "pong"}
        assert session["response"]["headers"]["Sec-Websocket-Protocol"] == ["chat"]

    def test_an_answer_in_full_is_a_recording(self, tmp_path: Path) -> None:
        """The client has its close frame when the session is kept: a kill comes too late."""
        with bench(tmp_path, "record") as through:
            with through.connect() as client:
                client.recv(120)
            through.running.stop(signal.SIGKILL)
            assert len(through.sessions()) == 1


class TestReplayed:
    @COMPRESSIONS
    def test_auto_learns_within_a_run(self, tmp_path: Path, compression: str | None) -> None:
        words = ("one", bytes(200_000), "parts", "ping", "leave")
        options: dict[str, Any] = {"subprotocols": ["chat"], "compression": compression}
        with bench(tmp_path) as through:
            first = through.say(*words, **options)
            assert [through.say(*words, **options) for _ in range(2)] == 2 * [first]
            assert through.upstream.sessions == 1
            through.running.wait_for(r"msg=\"WS /talk\" frames=\d+ dur=\S+ src=cassette")
            assert len(through.sessions()) == 1

    def test_without_the_upstream(self, tmp_path: Path) -> None:
        words = ("one", "drop")
        with bench(tmp_path, "record") as through:
            first = through.say(*words)
        flags = ("--port", "0", "--cassette", "c.json")
        with BuffrProcess.run("replay", *flags, cwd=tmp_path) as running:
            replaying = Bench(through.upstream, running, tmp_path / "c.json")
            assert replaying.say(*words) == first
            assert first[-1] == "1006 "
            with pytest.raises(InvalidStatus) as caught:
                replaying.connect("/other")
            assert caught.value.response.status_code == 599

    def test_what_drifts_is_told(self, tmp_path: Path) -> None:
        """JSON in another spelling is the same; another value is not."""
        with bench(tmp_path) as through:
            through.say('{"a": 1, "b": [2]}', "leave")
            assert through.say('{"b":[2],"a":1}')[1] == '{"a": 1, "b": [2]}'
            heard = through.say('{"a": 1, "b": [3]}')[1]
            assert str(heard).startswith("1011 cassette drift: frame 1")
            assert len(str(heard).encode()) <= 5 + 123
            through.running.wait_for(r"level=WARN msg=\"WS /talk\" .* src=miss .*/b/0")

    def test_pings_of_the_client_are_answered_and_count_for_nothing(self, tmp_path: Path) -> None:
        with bench(tmp_path) as through:
            through.say("one")
            with through.connect() as client:
                assert client.ping(b"live").wait(120)
                assert client.recv(120) == "hello"
                client.send("one")
                assert client.recv(120) == "one"
            assert through.upstream.sessions == 1

    def test_sessions_that_begin_alike_are_told_apart(self, tmp_path: Path) -> None:
        """Clients that come in another order than they were recorded have their own session."""
        with bench(tmp_path, "record") as through:
            recorded = {word: through.say(word, "leave") for word in ("one", "two", "parts")}
        with BuffrProcess.run("replay", "--port", "0", "--cassette", "c.json", cwd=tmp_path) as one:
            replaying = Bench(through.upstream, one, tmp_path / "c.json")
            for word in ("parts", "two", "one"):
                assert replaying.say(word, "leave") == recorded[word]

    def test_a_recorded_refusal_answers_handshakes_alone(self, tmp_path: Path) -> None:
        with upstream() as served:
            row = {"target": f"http://127.0.0.1:{served.port}", "mode": "auto", "port": 0}
            row |= {"cassette": "c.json", "record_statuses": [401]}
            (tmp_path / "b.yaml").write_text(json.dumps({"data_dir": ".", "reverse": [row]}))
            with BuffrProcess.run("serve", "--config", "b.yaml", cwd=tmp_path) as running:
                through = Bench(served, running, tmp_path / "c.json")
                for _ in range(2):
                    with pytest.raises(InvalidStatus) as caught:
                        through.connect("/refused")
                    assert caught.value.response.status_code == 401
                running.wait_for(r"msg=\"GET /refused\" status=401 dur=\S+ src=cassette")
                ask(running.ports[0], request(b"/refused"))
                running.stop()
                sources = [line.rpartition("src=")[2] for line in running.output[1:]]
                assert sources == ["upstream\n", "cassette\n", "upstream\n"]
