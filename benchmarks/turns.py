"""A recorded session in strict turns is replayed: what it costs the server."""

from __future__ import annotations

import json
import selectors
import socket
import time
from contextlib import ExitStack
from statistics import median

from benchmarks.bench import Bench
from benchmarks.process import Failed
from benchmarks.servers import buffr
from buffr.interaction import FrameKind
from buffr.wire.websocket_frames import encode_frame

__all__ = ["alternating_cost_ms"]

_SESSIONS = 8
"""At a time: so many are enough that the client is not waited for."""
_TURNS = 500
_MASK = b"\x01\x02\x03\x04"
_CLOSE = encode_frame(FrameKind.CLOSE, b"\x03\xe8", key=_MASK)
_HANDSHAKE = (
    b"GET /turns HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n\r\n"
)


def _said(side: str, number: int) -> str:
    return json.dumps({"type": side, "index": number, "text": "some words"})


_ASKED = [
    encode_frame(FrameKind.TEXT, _said("ask", number).encode(), key=_MASK)
    for number in range(_TURNS)
]
_TOLD = [encode_frame(FrameKind.TEXT, _said("tell", number).encode()) for number in range(_TURNS)]


def alternating_cost_ms(bench: Bench) -> float:
    """Milliseconds of processor time per session of a client's and the server's frames in turns."""
    cassette = bench.file("turns.json")
    frames = [
        {"direction": direction, "opcode": "text", "data": _said(side, number)}
        for number in range(_TURNS)
        for direction, side in (("client_to_server", "ask"), ("server_to_client", "tell"))
    ]
    recorded = {"request": {"path": "/turns", "headers": {}}, "frames": frames}
    session = {"type": "websocket", "websocket": recorded}
    cassette.write_text(json.dumps({"version": 1, "interactions": [session]}))
    server = buffr(bench, "replay", None, cassette)
    server.wait()
    costs = []
    for _ in range(bench.rounds):
        sessions, before = 0, server.processor_s()
        started = time.perf_counter()
        while time.perf_counter() < started + bench.seconds:
            _take(server.port)
            sessions += _SESSIONS
        costs.append((server.processor_s() - before) * 1e3 / sessions)
    bench.say(", ".join(f"{cost:.2f}" for cost in costs) + " ms per session in turns")
    return median(costs)


def _take(port: int) -> None:
    """Have some sessions at once, from the handshake to the close."""
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        told = dict.fromkeys(range(_SESSIONS), -1)
        for number in range(_SESSIONS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 60))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(_HANDSHAKE)
            selector.register(connection, selectors.EVENT_READ, number)
        while selector.get_map():
            for key, _ in selector.select(60):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                turn = told[key.data]
                expected = b"HTTP/1.1 101" if turn < 0 else _TOLD[turn]
                if not connection.recv(65536).startswith(expected):
                    raise Failed(f"a session in turns went wrong at turn {turn}")
                turn = told[key.data] = turn + 1
                if turn < _TURNS:
                    connection.sendall(_ASKED[turn])
                else:
                    connection.sendall(_CLOSE)
                    selector.unregister(connection)
        for turn in told.values():
            if turn != _TURNS:
                raise Failed("a session in turns broke off")
