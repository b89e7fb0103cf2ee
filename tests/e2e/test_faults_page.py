"""The snippets of the page about faults: suites that prove how their clients ask again."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from commands import PYTEST
from node_packages import node_packages
from page_snippets import Project, page_text, snippets_of
from websockets.sync.server import ServerConnection, serve

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, chunked

SNIPPETS = snippets_of("faults.md")
SUITES = sorted(name for name in SNIPPETS if name.startswith("test_"))
_JSON = ((b"Content-Type", b"application/json"),)
_EVENTS = ((b"Content-Type", b"text/event-stream"),)


def _completion(kind: str, **choice: object) -> dict[str, object]:
    choices = [{"index": 0, "finish_reason": None, **choice}]
    return {"id": "x", "object": kind, "created": 1, "model": "gpt-5", "choices": choices}


def _script(received: Received) -> bytes | Iterator[Step]:
    if not received.target.endswith(b"/chat/completions"):
        return answer(b'[{"name": "Ada"}]', headers=_JSON)
    if json.loads(received.body).get("stream"):
        events = [
            _completion("chat.completion.chunk", delta={"role": "assistant", "content": word})
            for word in ("Hello", ", ", "you", "!")
        ]
        return chunked([b"data: %b\n\n" % json.dumps(one).encode() for one in events], _EVENTS)
    message = {"role": "assistant", "content": "Hello!"}
    page = _completion("chat.completion", message=message, finish_reason="stop")
    return answer(json.dumps(page).encode(), headers=_JSON)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with FakeUpstream(_script) as upstream:
        yield Project(tmp_path, upstream, SNIPPETS)


def test_suites(project: Project) -> None:
    project.write(*SUITES)
    said = project.run(*PYTEST, "-q", *SUITES)
    assert "8 passed" in said
    assert project.upstream.received


def test_a_client_that_does_not_ask_again_fails(project: Project) -> None:
    """What the page calls a proof can fail."""
    suite = SNIPPETS["test_any_fault.py"].replace("total=3", "total=1")
    spoilt = Project(project.directory, project.upstream, {"test_spoilt.py": suite})
    spoilt.write("test_spoilt.py")
    said = spoilt.run(*PYTEST, "-q", "test_spoilt.py", code=1)
    assert "3 failed" in said


def test_got(project: Project) -> None:
    project.write("retries.mjs", "buffr.yaml")
    settings = project.directory / "buffr.yaml"
    (row,) = yaml.safe_load(settings.read_text())["reverse"]
    settings.write_text(json.dumps({"reverse": [{**row, "port": 0}]}))
    (project.directory / "node_modules").symlink_to(node_packages() / "node_modules")
    with BuffrProcess.run("serve", cwd=project.directory) as running:
        said = project.run("node", "retries.mjs", environ={"API_URL": running.url})
    assert said == "200 2\n"


def test_websockets(tmp_path: Path) -> None:
    def count(connection: ServerConnection) -> None:
        assert connection.request is not None
        for number in range(int(connection.request.path.rpartition("=")[2]), 3):
            connection.send(str(number))

    rule = "{close_code: 1012, close_after: 1, calls: [1, 2]}"
    assert rule in page_text("faults.md")
    with serve(count, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.socket.getsockname()[1]
        row = {"target": f"http://127.0.0.1:{port}", "port": 0, "faults": [yaml.safe_load(rule)]}
        (tmp_path / "buffr.yaml").write_text(json.dumps({"reverse": [row]}))
        with BuffrProcess.run("serve", cwd=tmp_path) as running, FakeUpstream(_script) as unused:
            project = Project(tmp_path, unused, SNIPPETS)
            project.write("reconnects.py")
            url = running.url.replace("http", "ws", 1)
            said = project.run(sys.executable, "reconnects.py", environ={"EVENTS_URL": url})
        server.shutdown()
        thread.join(120)
    assert said == "closed with 1012\n" * 2 + "['0', '1', '2']\n"
