"""Real WebSocket clients record a realtime API, and hear the same when it is gone."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from attrs import frozen
from forward_bench import NO_PARENTS, forward_proxy, named, origin_tls
from realtime import AUDIO, DELTAS, realtime
from realtime_clients import CLIENTS, SECRETS, Heard, Way

from buffr.testing import BuffrProcess, FakeUpstream

HOST = "api.realtime.test"
LIVE, AGAIN, REPLAYED = range(3)
_MATCH = {
    "ignore": [
        {
            "in": "websocket.frame",
            "pattern": "evt_[0-9a-f]{12}",
            "replace_with": "evt",
            "sync_response": True,
        }
    ]
}


@frozen
class Story:
    """The conversation of each client that is here: recorded, had again, and replayed."""

    takes: tuple[dict[str, Heard | Exception], ...]
    sessions: tuple[int, int]
    contacts_in_replay: int
    log: str
    directory: Path

    def take(self, phase: int, name: str) -> Heard:
        result = self.takes[phase][name]
        if isinstance(result, Exception):
            raise result
        return result


def _all(way: Way) -> dict[str, Heard | Exception]:
    def take(name: str) -> Heard | Exception:
        try:
            return CLIENTS[name][0](way)
        except Exception as error:  # noqa: BLE001  # the test of this client raises it
            return error

    here = [name for name, (_, missing) in CLIENTS.items() if not missing()]
    with ThreadPoolExecutor(len(here)) as threads:
        return dict(zip(here, threads.map(take, here), strict=True))


Started = Callable[[str, int], AbstractContextManager[tuple[Way, BuffrProcess]]]


def _story(directory: Path, started: Started, tls: ssl.SSLContext | None) -> Story:
    with realtime(tls) as api, started("auto", api.port) as (way, first):
        live = _all(way)
        before = api.sessions
        again = _all(way)
        sessions = before, api.sessions
    with (
        FakeUpstream(named, port=api.port) as nobody,
        started("replay", api.port) as (way, second),
    ):
        replayed = _all(way)
        contacts = nobody.connections
    return Story((live, again, replayed), sessions, contacts, first.log() + second.log(), directory)


def _reverse(directory: Path) -> Story:
    @contextmanager
    def started(mode: str, port: int) -> Iterator[tuple[Way, BuffrProcess]]:
        row = {"target": f"http://127.0.0.1:{port}", "port": 0, "mode": mode, "match": _MATCH}
        settings = {"reverse": [{**row, "cassette": "api.json"}]}
        (directory / "buffr.yaml").write_text(json.dumps(settings))
        with BuffrProcess.run("serve", cwd=directory, env=NO_PARENTS) as process:
            yield Way(f"ws://127.0.0.1:{process.ports[0]}"), process

    return _story(directory, started, None)


def _forward(directory: Path, scheme: str) -> Story:
    @contextmanager
    def started(mode: str, port: int) -> Iterator[tuple[Way, BuffrProcess]]:
        row = {"host": HOST, "resolve": "127.0.0.1", "cassette": "api.json", "match": _MATCH}
        row["ca_file"] = "origins.pem"
        with forward_proxy(directory, {"mode": mode, "hosts": [row]}) as proxy:
            ca = directory / "buffr-ca.pem" if scheme == "wss" else None
            url = f"{scheme}://{HOST}:{port}"
            yield Way(url, f"http://127.0.0.1:{proxy.port}", ca), proxy.process

    return _story(directory, started, origin_tls(HOST) if scheme == "wss" else None)


@pytest.fixture(scope="module", params=["reverse", "ws", "wss"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Story:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "reverse":
        return _reverse(directory)
    return _forward(directory, request.param)


@pytest.mark.parametrize("name", CLIENTS)
class TestEachClient:
    def test_it_hears_all_that_the_api_says(self, story: Story, name: str) -> None:
        reason = CLIENTS[name][1]()
        if reason:
            pytest.skip(reason)
        heard = story.take(LIVE, name)
        kinds = [json.loads(one)["type"] for one in heard.messages if isinstance(one, str)]
        deltas = ["response.text.delta", "response.audio.delta"] * DELTAS
        assert kinds == ["session.created", "session.updated", *deltas, "response.done"]
        assert [one for one in heard.messages if isinstance(one, bytes)] == [AUDIO]
        assert (heard.code, heard.reason) == (4001, "so long")

    @pytest.mark.parametrize("phase", [AGAIN, REPLAYED])
    def test_it_hears_the_same_again(self, story: Story, name: str, phase: int) -> None:
        """With event ids of its own, and secrets that are none."""
        if name not in story.takes[LIVE]:
            pytest.skip(CLIENTS[name][1]())
        live, again = story.take(LIVE, name), story.take(phase, name)
        assert (again.code, again.reason) == (live.code, live.reason)
        assert _but_for_secrets(again) == _but_for_secrets(live)


def _but_for_secrets(heard: Heard) -> list[object]:
    found: list[object] = []
    for message in heard.messages:
        event = json.loads(message) if isinstance(message, str) else message
        if isinstance(event, dict) and "api_key" in event.get("session", ()):
            event["session"]["api_key"] = ""
        found.append(event)
    return found


class TestTheWhole:
    def test_only_the_first_conversation_reaches_the_api(self, story: Story) -> None:
        """Seed defect 16: three identical sessions were three recordings."""
        assert story.sessions == (len(story.takes[LIVE]),) * 2
        assert story.contacts_in_replay == 0

    def test_each_is_one_recording(self, story: Story) -> None:
        kept = json.loads((story.directory / "api.json").read_text())["interactions"]
        assert [one["type"] for one in kept] == ["websocket"] * len(story.takes[LIVE])
        assert all("end" not in one["websocket"] for one in kept)

    def test_no_secret_is_left_on_the_disk_or_in_the_log(self, story: Story) -> None:
        files = [path for path in story.directory.rglob("*") if path.is_file()]
        for secret in SECRETS.values():
            assert secret not in story.log
            for path in files:
                assert secret.encode() not in path.read_bytes(), path.name

    def test_nothing_went_wrong_behind_the_scenes(self, story: Story) -> None:
        assert "Traceback" not in story.log
        assert "level=WARN" not in story.log
        assert "level=ERROR" not in story.log
