"""Recordings of other tools, imported and replayed to real clients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from attrs import frozen
from websockets.sync.client import connect

from buffr.commands.cli import run
from buffr.interaction import HTTPInteraction, WebSocketInteraction
from buffr.stores.cassette.snapshot import Snapshot, read_snapshot
from buffr.testing import BuffrProcess

sys.path.insert(0, str(Path(__file__).parents[1] / "interchange"))
from test_samples import BODIES, FILES, NOT_WRITTEN, SAMPLES

_NOT_SENT_ON = frozenset(("host", "content-length", "connection", "accept-encoding"))


@frozen
class Imported:
    """One process that replays each sample on a port of its own."""

    process: BuffrProcess
    cassettes: dict[str, Snapshot]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.process.ports[list(FILES).index(name)]}"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    directory = tmp_path_factory.mktemp("imported")
    cassettes, rows = {}, []
    for number, name in enumerate(FILES):
        path = directory / f"{number}.json"
        run(["cassette", "import", str(SAMPLES / name), "-o", str(path)])
        cassettes[name] = read_snapshot(path, pytest.fail)
        rows.append(
            {"mode": "replay", "target": "http://127.0.0.1:9", "port": 0, "cassette": str(path)}
        )
    settings = directory / "buffr.yaml"
    settings.write_text(yaml.safe_dump({"reverse": rows}))
    with BuffrProcess.run("serve", "--config", str(settings), listeners=len(rows)) as process:
        yield Imported(process, cassettes)


class TestReplay:
    @pytest.mark.parametrize("name", FILES)
    def test_a_client_gets_what_the_server_gave(self, name: str, imported: Imported) -> None:
        """Each request in recorded order, repeated ones too; bodies decoded by the client."""
        snapshot = imported.cassettes[name]
        for number in range(len(snapshot)):
            interaction = snapshot.interaction(number)
            if isinstance(interaction, WebSocketInteraction):
                continue
            answer = asked(imported.url(name), interaction)
            assert answer.status_code == interaction.response.status, answer.text
            path = interaction.request.target.partition(b"?")[0]
            replaced = "\N{REPLACEMENT CHARACTER}".encode() in interaction.body.data
            if path in BODIES and (name, path) != NOT_WRITTEN and not replaced:
                assert answer.content in BODIES[path] | lost(name)
            cookies = answer.raw.headers.getlist("Set-Cookie")
            assert len(cookies) == len(
                [key for key, _ in interaction.response.headers if key.lower() == b"set-cookie"]
            )

    def test_a_web_socket_session_is_replayed(self, imported: Imported) -> None:

        url = imported.url("mitmproxy/flows.mitm").replace("http", "ws")
        with connect(f"{url}/ws") as socket:
            socket.send("hi")
            socket.send(b"\x00\xff\x07")
            assert [socket.recv(), socket.recv()] == ["hi", b"\x00\xff\x07"]
            socket.close(4001, "bye")


def lost(name: str) -> set[bytes]:
    """Bodies that the tool did not keep, which the report of its import says."""
    return {b""} if name == "mitmproxy/flows.mitm" else set()


def asked(url: str, interaction: HTTPInteraction) -> requests.Response:
    request = interaction.request
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in request.headers
        if name.decode("latin-1").lower() not in _NOT_SENT_ON
    }
    prepared = requests.Request(
        request.method.decode(), url, headers=headers, data=request.body.data or None
    ).prepare()
    prepared.url = url + request.target.decode()
    with requests.Session() as session:
        return session.send(prepared, allow_redirects=False, timeout=60)
