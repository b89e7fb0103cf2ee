"""``buffr cassette refresh``: recordings that drifted are made true again, in place."""

from __future__ import annotations

import gzip
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from attrs import define
from bench import interactions
from commands import BUFFR
from commands import run as run_command
from drifting_api import DriftingAPI
from test_check import CREDENTIAL, KEY, record

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer, chunked


def _session(client: httpx.Client) -> list[Any]:
    """What a test of the API does, and what it sees."""
    seen = [client.get(path).status_code for path in ("/v1/items", "/v1/packed", "/v1/events")]
    thing = client.post("/v1/things", json={"name": "x"}).json()
    seen.append(client.get(f"/v1/things/{thing['id']}").json()["id"] == thing["id"])
    seen.append(client.delete(f"/v1/things/{thing['id']}").status_code)
    return seen


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded")
    with FakeUpstream(DriftingAPI()) as upstream:
        record(directory, upstream, _session)
    return directory / "api.json"


@define
class Place:
    """A directory with a cassette, and the API that has drifted since."""

    directory: Path
    api: DriftingAPI
    upstream: FakeUpstream

    @property
    def cassette(self) -> Path:
        return self.directory / "api.json"

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = ("cassette", command, "api.json", "--against", self.upstream.url, *CREDENTIAL)
        done = run_command(*words, *arguments, cwd=self.directory, env=KEY)
        assert "Traceback" not in done.stderr, done.stderr
        assert KEY["API_KEY"] not in done.stdout + done.stderr + self.cassette.read_text()
        return done

    def elements(self) -> list[Any]:
        found: list[Any] = json.loads(self.cassette.read_text())["interactions"]
        return found

    def edit(self, number: int, old: str, new: str) -> None:
        """Change a text within one interaction by hand."""
        document = json.loads(self.cassette.read_text())
        text = json.dumps(document["interactions"][number])
        assert old in text
        document["interactions"][number] = json.loads(text.replace(old, new))
        self.cassette.write_text(json.dumps(document, indent=4))

    def replay(self) -> list[Any]:
        """What the recorded client sees now."""
        options = ("--port", "0", "--cassette", "api.json")
        with (
            BuffrProcess.run("replay", *options, cwd=self.directory) as buffr,
            httpx.Client(base_url=buffr.url, headers={"Authorization": "Bearer any"}) as client,
        ):
            return _session(client)


@pytest.fixture
def place(tmp_path: Path, recorded: Path) -> Iterator[Place]:
    shutil.copy(recorded, tmp_path / "api.json")
    api = DriftingAPI("breaking")
    api.skip(500)
    with FakeUpstream(api) as upstream:
        yield Place(tmp_path, api, upstream)


SEEN = [200, 200, 200, True, 204]


class TestRefresh:
    def test_it_makes_check_clean(self, place: Place) -> None:
        """What drifted is new, in its place; the others have the bytes they had."""
        before = place.elements()
        assert place.run("check").returncode == 2
        done = place.run("refresh", "--yes")
        assert done.returncode == 0, done.stdout
        assert done.stdout.endswith("api.json: 3 recorded anew\n")
        after = place.elements()
        assert [one == other for one, other in zip(before, after, strict=True)] == [
            *[False] * 3,
            *[True] * 3,
        ]
        assert [one["http"]["request"]["path"] for one in after] == [
            one["http"]["request"]["path"] for one in before
        ]
        assert place.run("check").returncode == 0
        assert place.replay() == SEEN

    def test_a_chain_is_recorded_anew_as_a_whole(self, place: Place) -> None:
        """A replay gives the new identifier, and expects it."""
        done = place.run("refresh", "--yes", "--all", "--unsafe")
        assert done.returncode == 0, done.stdout + done.stderr
        paths = [one["http"]["request"]["path"] for one in place.elements()]
        assert paths[4:] == ["/v1/things/thing-1500"] * 2
        assert place.replay() == SEEN
        assert place.run("check", "--unsafe").returncode == 0
        assert "tok_" not in place.cassette.read_text()

    def test_what_was_edited_by_hand_stays(self, place: Place) -> None:
        place.edit(0, '"status": 200', '"status": 203')
        edited = place.elements()[0]
        done = place.run("refresh", "--yes")
        assert done.returncode == 1
        assert "0 stays as it is: 0 was edited by hand" in done.stdout
        assert "2 recorded anew" in done.stdout
        assert place.elements()[0] == edited
        assert place.run("refresh", "--yes", "--edited").returncode == 0
        assert place.elements()[0]["http"]["response"]["status"] == 200
        assert place.run("check").returncode == 0

    def test_another_layout_is_no_edit(self, place: Place) -> None:
        place.cassette.write_text(json.dumps(json.loads(place.cassette.read_text()), indent=1))
        assert place.run("refresh", "--yes").returncode == 0

    def test_failures_replace_nothing(self, place: Place) -> None:
        before = place.cassette.read_bytes()
        place.api.token = b"Bearer another"
        done = place.run("refresh", "--yes")
        assert done.returncode == 1
        assert "the API answered 401 to 0" in done.stdout
        assert place.cassette.read_bytes() == before

    def test_a_dry_run_and_a_pipe_write_nothing(self, place: Place) -> None:
        before = place.cassette.read_bytes()
        done = place.run("refresh", "--dry-run")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "3 would be recorded anew")
        done = place.run("refresh")
        assert done.returncode == 1
        assert "--yes does it unasked" in done.stderr
        assert place.cassette.read_bytes() == before

    @pytest.mark.parametrize(("said", "written"), [(b"n\n", False), (b"y\n", True)])
    def test_a_terminal_is_asked(self, place: Place, said: bytes, written: bool) -> None:
        before = place.cassette.read_bytes()
        words = ("cassette", "refresh", "api.json", "--against", place.upstream.url, *CREDENTIAL)
        shown, code = _on_terminal((*BUFFR, *words), place.directory, said)
        assert shown.index(b"type changed") < shown.index(b"Record 3 anew? [y/N]")
        assert code == (0 if written else 1)
        assert (place.cassette.read_bytes() != before) is written


def _on_terminal(command: Sequence[str], directory: Path, said: bytes) -> tuple[bytes, int]:
    """What a command shows on a terminal, on which this is typed when it asks; its exit code."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **KEY},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
            if said and b"[y/N]" in shown:
                os.write(ours, said)
                said = b""
        code = process.wait(60)
    os.close(ours)
    return shown, code


class TestFidelity:
    def test_an_answer_is_recorded_as_it_came(self, tmp_path: Path) -> None:
        """Order, case and duplicates of fields, the coded bytes, chunks, times and trailers."""
        packed = gzip.compress(b'{"new": true}')
        pieces = [packed[:7], packed[7:9], packed[9:]]
        fields = [
            (b"Content-Type", b"application/json"),
            (b"x-b", b"1"),
            (b"X-A", b"2"),
            (b"X-B", b"3"),
            (b"Content-Encoding", b"gzip"),
        ]

        def script(_: Received) -> Any:
            return chunked(pieces, fields, delay_s=0.05, trailers=[(b"X-Sum", b"9")])

        element = {
            "request": {"method": "GET", "path": "/x", "headers": {}},
            "response": {
                "status": 200,
                "headers": {"Content-Type": ["application/json"]},
                "body": "{}",
            },
        }
        cassette = {"version": 1, "interactions": [{"type": "http", "http": element}]}
        (tmp_path / "api.json").write_text(json.dumps(cassette))
        with FakeUpstream(script) as upstream:
            words = ("cassette", "refresh", "api.json", "--against", upstream.url, "--yes")
            done = run_command(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout
        (new,) = interactions(tmp_path / "api.json")
        response = new["http"]["response"]
        assert response["raw_headers"] == [
            *[name.decode() for name, _ in fields],
            "Transfer-Encoding",
        ]
        assert response["headers"]["X-B"] == ["1", "3"]
        assert [size for size, _ in response["chunks"]] == [7, 2, len(packed) - 9]
        assert all(delay_ms >= 30 for _, delay_ms in response["chunks"])
        assert response["trailers"] == [["X-Sum", "9"]]
        with BuffrProcess.run(
            "replay", "--port", "0", "--cassette", "api.json", cwd=tmp_path
        ) as it:
            assert httpx.get(f"{it.url}/x").json() == {"new": True}

    def test_events_keep_their_pauses(self, place: Place) -> None:
        place.run("refresh", "--yes", "--all", "--only", "/v1/events")
        chunks = place.elements()[2]["http"]["response"]["body_chunks"]
        assert len(chunks) == 3
        assert all(chunk["data"].startswith("event: ") for chunk in chunks)

    def test_a_recording_that_was_changed_meanwhile(self, tmp_path: Path) -> None:
        """By another process, while the API was being asked: nothing is written."""
        path = tmp_path / "api.json"
        response = {"status": 200, "headers": {}, "body": "old"}
        request = {"method": "GET", "path": "/x", "headers": {}}
        document = {
            "version": 1,
            "interactions": [{"type": "http", "http": {"request": request, "response": response}}],
        }
        path.write_text(json.dumps(document))
        response["body"] = "edited just now"

        def script(_: Received) -> bytes:
            path.write_text(json.dumps(document))
            return answer(b"new")

        with FakeUpstream(script) as upstream:
            words = ("cassette", "refresh", "api.json", "--against", upstream.url, "--yes")
            done = run_command(*words, cwd=tmp_path)
        assert done.returncode == 3
        assert "interaction 0 was changed meanwhile" in done.stderr
        assert json.loads(path.read_text()) == document


class TestEndlessStreams:
    def test_a_stream_that_only_its_client_ended_is_left_as_it_was(self, tmp_path: Path) -> None:
        """It is asked again, for as long as the recorded client had stayed."""
        version = "old"

        def script(_: Received) -> Iterator[Any]:
            yield (
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            name = b"change" if version == "old" else b"update"
            event = b'event: %b\ndata: {"n": 1}\n\n' % name
            yield b"%x\r\n%b\r\n" % (len(event), event)
            yield 600.0

        element = {
            "request": {"method": "GET", "path": "/watch", "headers": {}},
            "response": {
                "status": 200,
                "headers": {"Content-Type": ["text/event-stream"]},
                "body_chunks": [{"data": 'event: change\ndata: {"n": 1}\n\n', "delay_ms": 5}],
            },
            "end": {"reason": "every client left", "after_ms": 100},
        }
        cassette = {"version": 1, "interactions": [{"type": "http", "http": element}]}
        (tmp_path / "api.json").write_text(json.dumps(cassette))
        with FakeUpstream(script) as upstream:
            words = ("api.json", "--against", upstream.url)
            done = run_command("cassette", "check", *words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout
            version = "new"
            done = run_command("cassette", "refresh", *words, "--yes", cwd=tmp_path)
            assert done.returncode == 0, done.stdout
            assert "event change is gone" in done.stdout
        (new,) = interactions(tmp_path / "api.json")
        assert new["http"]["end"]["reason"] == "every client left"
        assert "update" in new["http"]["response"]["body_chunks"][0]["data"]
