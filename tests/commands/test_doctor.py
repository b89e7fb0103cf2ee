"""What the doctor finds: an installation that is well, and each kind of fault."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buffr.commands.cli import run

_SETTINGS = """\
listen: 127.0.0.1
access:
  key: a-key-that-nobody-may-see
reverse:
  - target: http://api.example.test
    port: {port}
    cassette: api.json
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert run(["doctor", "--no-live", "--json", *arguments]) == code
    text = capsys.readouterr().out
    assert "nobody-may-see" not in text
    return json.loads(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestDoctor:
    def test_a_new_directory_is_well(self, tmp_path: Path) -> None:
        """With a request that is recorded and replayed, and nothing left behind."""
        done = subprocess.run(
            [sys.executable, "-m", "buffr", "doctor"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "live      ok       a request was recorded, and replayed" in done.stdout
        assert list(tmp_path.iterdir()) == []

    def test_settings_have_sources_and_no_secrets(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (here / "buffr.yaml").write_text(_SETTINGS.format(port=0))
        monkeypatch.setenv("BUFFR_LOG_FORMAT", "json")
        found = told(capsys, "--data-dir", "data")["checks"]["settings"]
        assert found["sources"]["reverse[0].target"] == "buffr.yaml:5"
        assert found["sources"]["log.format"] == "BUFFR_LOG_FORMAT"
        assert found["sources"]["data_dir"] == "--data-dir"
        assert found["masked"] == ["access.key"]

    def test_a_stores_password_is_masked(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = "redis://:a-word-that-nobody-may-see@store.test"
        found = told(capsys, "--target", "http://api.test", "--port", "0", "--store", store)
        shown = found["checks"]["settings"]["configuration"]["reverse"][0]["store"]
        assert shown == "redis://:***@store.test"

    def test_settings_that_cannot_be_used(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (here / "buffr.yaml").write_text("reverse: [{prot: 1}]")
        found = told(capsys, code=1)
        assert found["ok"] is False
        assert found["checks"]["settings"]["verdict"] == "fault"

    def test_a_port_in_use(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            (here / "buffr.yaml").write_text(_SETTINGS.format(port=port))
            found = told(capsys)["checks"]["ports"]
        assert found["verdict"] == "warning"
        assert found["ports"][0]["state"] == "in use"

    def test_an_admin_port_that_nobody_chose_may_be_taken(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """buffr takes another; one that was chosen must be free."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            found = told(capsys, "--proxy", "true", "--port", "0", "--admin", port)
        assert found["checks"]["ports"]["ports"][1]["state"] == "in use"
        found = told(capsys, "--proxy", "true", "--port", "0")["checks"]["ports"]
        assert found["ports"][1]["state"] in ("free", "in use, so a free one is taken instead")
        assert found["verdict"] == "ok"

    def test_a_damaged_cassette(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (here / "api.json").write_text('{"interactions": [{"request": 1')
        found = told(capsys, code=1)["checks"]["cassettes"]
        assert found["faults"]

    def test_the_ca_and_who_trusts_it(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run(["ca", "--fingerprint"]) == 0
        fingerprint = capsys.readouterr().out.strip()
        monkeypatch.setenv("CURL_CA_BUNDLE", "buffr-ca.pem")
        found = told(capsys)["checks"]["ca"]
        assert found["fingerprint"] == fingerprint
        assert found["trusted_by"] == ["CURL_CA_BUNDLE"]
        (here / "buffr-ca.key").unlink()
        assert told(capsys, code=1)["checks"]["ca"]["verdict"] == "fault"
