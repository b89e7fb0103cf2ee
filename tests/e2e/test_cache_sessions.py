"""A WebSocket session on a route in mode cache: it passes, and nothing of it is kept."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from buffr.testing import BuffrProcess


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


@pytest.mark.parametrize("listener", ["reverse", "gateway"])
def test_it_passes_each_time(tmp_path: Path, listener: str) -> None:
    sessions = []

    def counted(connection: ServerConnection) -> None:
        sessions.append(connection)
        echo(connection)

    with serve(counted, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        row = {"target": f"http://127.0.0.1:{server.socket.getsockname()[1]}", "mode": "cache"}
        settings = {
            "reverse": {"reverse": [{"port": 0, **row}]},
            "gateway": {"gateway": {"port": 0, "routes": {"api": row}}},
        }[listener]
        path = tmp_path / "buffr.yaml"
        path.write_text(json.dumps(settings))
        with BuffrProcess.run("serve", "--config", str(path), cwd=tmp_path) as buffr:
            where = "api/ws" if listener == "gateway" else "ws"
            for word in ("one", "two"):
                with connect(f"ws://127.0.0.1:{buffr.ports[0]}/{where}", proxy=None) as client:
                    client.send(word)
                    assert client.recv(timeout=120) == word
        server.shutdown()
    assert len(sessions) == 2
    assert not list(tmp_path.glob("*.json"))
