"""A realtime API for tests: it greets first, streams text and audio, pings, echoes, and closes."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from attrs import define, field
from websockets import Headers, Request, Response
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

__all__ = ["AUDIO", "DELTAS", "Realtime", "realtime"]

AUDIO = bytes(range(256)) * 300
"""What is said, as binary and in base64."""

DELTAS = 20

Page = Callable[[str], str | None]


def no_page(_: str) -> str | None:
    return None


@define(eq=False)
class Realtime:
    """A running one; ``sessions`` counts, and each session has its number in all that it says."""

    port: int = 0
    sessions: int = 0
    handshakes: list[Request] = field(factory=list)
    received: list[str | bytes] = field(factory=list)
    pongs: int = 0
    _numbers: count[int] = field(factory=lambda: count(1))

    def serve(self, connection: ServerConnection) -> None:
        self.sessions += 1
        number = next(self._numbers)
        assert connection.request is not None
        self.handshakes.append(connection.request)
        say(connection, {"type": "session.created", "session": {"id": f"sess-{number}"}})
        try:
            for message in connection:
                self.received.append(message)
                if isinstance(message, str):
                    self._answer(connection, json.loads(message), number)
        except (ConnectionClosed, OSError):
            return

    def _answer(self, connection: ServerConnection, asked: dict[str, Any], number: int) -> None:
        match asked["type"]:
            case "session.update":
                told = {"type": "session.updated", "event_id": asked["event_id"]}
                say(connection, {**told, "session": asked["session"]})
            case "response.create":
                self._stream(connection, number)
            case "echo":
                say(connection, asked)
            case "bye":
                connection.close(asked["code"], asked["reason"])
            case "drop":
                connection.socket.close()

    def _stream(self, connection: ServerConnection, number: int) -> None:
        for place in range(DELTAS):
            say(connection, {"type": "response.text.delta", "delta": f"word {number}-{place}"})
            audio = AUDIO[place * 100 : place * 100 + 100]
            delta = base64.b64encode(audio).decode()
            say(connection, {"type": "response.audio.delta", "delta": delta})
        self.pongs += connection.ping(b"still there?").wait(120)
        connection.send([AUDIO[:70_000], AUDIO[70_000:]])
        say(connection, {"type": "response.done", "number": number})


def say(connection: ServerConnection, event: dict[str, Any]) -> None:
    connection.send(json.dumps(event))


def _first(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next(iter(offered), None)


@contextmanager
def realtime(
    tls: ssl.SSLContext | None = None, page: Page = no_page, port: int = 0
) -> Iterator[Realtime]:
    """Serve on loopback. ``page`` gives a path's HTML; what has none is a WebSocket."""
    served = Realtime()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        status = request.path.removeprefix("/refused/")
        if status.isdigit():
            refusal = connection.respond(int(status), f"refused with {status}\n")
            refusal.headers["X-Why"] = "none"
            return refusal
        html = page(request.path)
        if html is None:
            return None
        fields = {"Content-Type": "text/html", "Content-Length": str(len(html.encode()))}
        return Response(200, "OK", Headers({**fields, "Connection": "close"}), html.encode())

    with serve(
        served.serve,
        "127.0.0.1",
        port,
        ssl=tls,
        process_request=answer,
        select_subprotocol=_first,
        max_size=None,
    ) as server:
        served.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join(120)
