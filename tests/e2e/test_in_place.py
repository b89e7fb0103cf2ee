"""Recordings of other tools, replayed where they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests
from commands import run

from buffr.testing import BuffrProcess

SAMPLES = Path(__file__).parents[1] / "interchange" / "samples"


class TestInPlace:
    @pytest.mark.parametrize(
        ("name", "preset"), [("vcrpy/requests.yaml", "vcr"), ("playwright/h1-embed.har", "har")]
    )
    def test_replayed_and_never_written(self, tmp_path: Path, name: str, preset: str) -> None:
        cassette = tmp_path / f"old{Path(name).suffix}"
        shutil.copy(SAMPLES / name, cassette)
        before = cassette.read_bytes()
        (tmp_path / "buffr.yaml").write_text(
            f"forward: {{hosts: [{{host: '*', cassette: {cassette.name}, match: {preset}}}]}}\n"
        )
        words = ("proxy", "--replay", "--port=0", "-c", "buffr.yaml")
        with BuffrProcess.run(*words, cwd=tmp_path) as up:
            session = requests.Session()
            session.trust_env = False
            session.proxies = {"http": up.url}
            origin = "http://127.0.0.1:23001"
            given = session.get(f"{origin}/gzip", timeout=60)
            assert given.json() == {"compressed": True}
            assert session.get(f"{origin}/not-there", timeout=60).status_code == 599
        assert cassette.read_bytes() == before
        assert (
            sorted(each.name for each in tmp_path.iterdir() if each.suffix in {".json", ".d"}) == []
        )

    def test_behind_a_reverse_port(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "vcrpy" / "requests.yaml", tmp_path / "old.yaml")
        words = ("replay", "--cassette=old.yaml", "--port=0")
        with BuffrProcess.run(*words, cwd=tmp_path) as up:
            assert requests.get(f"{up.url}/gzip", timeout=60).json() == {"compressed": True}

    @pytest.mark.parametrize("mode", ["auto", "record"])
    def test_modes_that_record_are_refused(self, tmp_path: Path, mode: str) -> None:
        shutil.copy(SAMPLES / "vcrpy" / "requests.yaml", tmp_path / "old.yaml")
        words = (mode, "--target=http://127.0.0.1:1", "--cassette=old.yaml", "--port=0")
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 1
        assert "replayed where they are, and never written" in done.stdout + done.stderr

    def test_a_file_of_no_tool(self, tmp_path: Path) -> None:
        (tmp_path / "old.yaml").write_text("what: is this\n")
        done = run("replay", "--cassette=old.yaml", "--port=0", cwd=tmp_path)
        assert done.returncode == 1
        assert "no importer knows this format" in done.stdout + done.stderr
