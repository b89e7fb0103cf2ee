"""``check_live``: a route asks the live API on the side whether it would still answer so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from admin_client import Admin
from commands import run as run_command
from drifting_api import TOKEN, DriftingAPI
from forward_bench import NO_PARENTS
from test_check import record

from buffr.testing import BuffrProcess, FakeUpstream

AUTHORIZED = {"Authorization": TOKEN.decode()}


def _session(client: httpx.Client) -> None:
    for path in ("/v1/items", "/v1/packed", "/v1/nothing"):
        client.get(path)
    client.post("/v1/things", json={"name": "x"})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded")
    with FakeUpstream(DriftingAPI()) as upstream:
        record(directory, upstream, _session)
    return directory / "api.json"


@contextmanager
def replaying(
    directory: Path, recorded: Path, upstream: FakeUpstream, share: str, **more: Any
) -> Iterator[BuffrProcess]:
    shutil.copy(recorded, directory / "api.json")
    row = {"target": upstream.url, "mode": "replay", "cassette": "api.json", "port": 0}
    settings = {"reverse": [{**row, "check_live": share}], **more}
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    with BuffrProcess.run("serve", cwd=directory, env={"BUFFR_ADMIN": "0"}) as buffr:
        yield buffr


class TestRoute:
    def test_drift_is_told_and_answers_are_those_of_the_recording(
        self, tmp_path: Path, recorded: Path
    ) -> None:
        """Each recording is checked once; what may change something is not asked."""
        with (
            FakeUpstream(DriftingAPI("breaking")) as upstream,
            replaying(tmp_path, recorded, upstream, "100%") as buffr,
            httpx.Client(base_url=buffr.url, headers=AUTHORIZED, trust_env=False) as client,
        ):
            for _ in range(3):
                assert "name" in client.get("/v1/items").json()["items"][0]
                assert client.get("/v1/nothing").status_code == 404
                assert client.post("/v1/things", json={"name": "x"}).status_code == 201
            line = buffr.wait_for("the live API has drifted")[0]
            assert "severity=breaking" in buffr.log()
            assert "body $.items[*].name: is gone" in buffr.log(), line
            exchanges = Admin.of(buffr, tmp_path)
            (summary, *_) = exchanges.get("/api/exchanges", q="/v1/items")["items"][::-1]
            detail = exchanges.get(f"/api/exchanges/{summary['id']}")
            assert detail["drift"]["result"] == "breaking"
            assert "body $.items[*].name: is gone: string" in detail["drift"]["findings"]
            buffr.stop()
            assert buffr.log().count("the live API has drifted") == 1
            asked = [(one.method, one.target) for one in upstream.received]
            assert sorted(asked) == [
                *[(b"GET", b"/v1/items")] * 2,
                (b"GET", b"/v1/nothing"),
            ]
            assert TOKEN.decode().removeprefix("Bearer ") not in buffr.log()

    def test_the_credential_of_the_settings_comes_first(
        self, tmp_path: Path, recorded: Path
    ) -> None:
        api = DriftingAPI("breaking")
        with (
            FakeUpstream(api) as upstream,
            replaying(
                tmp_path, recorded, upstream, "100%", credentials={"authorization": "NOT_SET"}
            ) as buffr,
        ):
            httpx.get(f"{buffr.url}/v1/items", headers=AUTHORIZED, trust_env=False)
            assert "needs the credential authorization" in buffr.wait_for("not checked.*")[0]
            assert upstream.received == []

    def test_without_it_nothing_is_asked(self, tmp_path: Path, recorded: Path) -> None:
        with (
            FakeUpstream(DriftingAPI()) as upstream,
            replaying(tmp_path, recorded, upstream, "0%") as buffr,
        ):
            httpx.get(f"{buffr.url}/v1/items", headers=AUTHORIZED, trust_env=False)
            buffr.stop()
            assert upstream.received == []


class TestRun:
    def test_the_summary_and_the_report_tell_it(self, tmp_path: Path) -> None:
        api = DriftingAPI()
        with FakeUpstream(api) as upstream:
            (tmp_path / "buffr.yaml").write_text(json.dumps({"forward": {"check_live": "100%"}}))
            env = {**NO_PARENTS, "BUFFR_CONFIG": "buffr.yaml"}
            curl = ("curl", "-sS", "-H", f"Authorization: {TOKEN.decode()}")
            command = ("--", *curl, f"{upstream.url}/v1/items")
            done = run_command("run", "--auto", *command, cwd=tmp_path, env=env)
            assert "1 recorded" in done.stderr, done.stderr
            api.version = "additive"
            options = ("--replay", "--report", "report.json")
            done = run_command("run", *options, *command, cwd=tmp_path, env=env)
        assert done.returncode == 0, done.stderr
        assert "1 hit" in done.stderr
        assert "1 drifted" in done.stderr
        assert "$.items[*].colour: is new" in done.stderr
        report = json.loads((tmp_path / "report.json").read_text())
        (drift,) = report["drifted"]
        assert (drift["method"], drift["severity"]) == ("GET", "addition")
        assert report["counts"]["drifted"] == 1
