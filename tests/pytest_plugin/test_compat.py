"""Suites of pytest-recording under ``buffr_compat = vcr``, and cassettes that it has written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_suite import Run, numbered

from buffr.testing import FakeUpstream

SAMPLE = Path(__file__).parents[1] / "interchange" / "samples" / "pytest-recording"
SUITE = """
import pytest
import requests

UP = "http://127.0.0.1:23001"


@pytest.mark.vcr
def test_one():
    assert requests.get(UP + "/json").json() == {"hello": "w\\u00f6rld", "n": 1}


@pytest.mark.vcr
def test_two(vcr):
    assert requests.get(UP + "/gzip").json() == {"compressed": True}
    assert vcr.play_count == 1


class TestX:
    @pytest.mark.vcr
    @pytest.mark.parametrize("path", ["/bin", "/sse"])
    def test_three(self, path):
        assert requests.get(UP + path).ok
        with pytest.raises(Exception):
            assert requests.get(UP + path).ok


@pytest.mark.vcr
@pytest.mark.default_cassette("named.yaml")
def test_named():
    assert requests.get(UP + "/json").status_code in (200, 599)


@pytest.mark.block_network
def test_blocked():
    with pytest.raises(RuntimeError):
        requests.get(UP)
"""
RECORDING = """
import os

import pytest
import requests

UP = os.environ["UPSTREAM"]


@pytest.fixture
def vcr_config():
    return {"filter_headers": ["x-own-secret"], "filter_query_parameters": ["now"]}


@pytest.mark.vcr
def test_it():
    headers = {"X-Own-Secret": "hidden-1234567890"}
    assert requests.get(UP + "/it?now=" + os.environ.get("NOW", "1"), headers=headers).ok
"""


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with numbered() as running:
        yield running


@pytest.fixture
def run(tmp_path: Path, upstream: FakeUpstream) -> Run:
    return Run(tmp_path, upstream)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nbuffr_compat = vcr\n")
    return tmp_path


@pytest.fixture
def old(place: Path) -> Path:
    """The sample's cassettes, with a suite for them."""
    (place / "test_a.py").write_text(SUITE)
    shutil.copytree(SAMPLE / "cassettes", place / "cassettes")
    return place


def files(place: Path) -> dict[str, bytes]:
    directory = place / "cassettes" / "test_a"
    return {each.name: each.read_bytes() for each in directory.iterdir()}


class TestOldCassettes:
    @pytest.mark.parametrize("workers", [(), ("-n", "2")])
    def test_replayed_in_place(self, old: Path, run: Run, workers: tuple[str, ...]) -> None:
        before = files(old)
        run(*workers)
        assert files(old) == before

    def test_several_are_one(self, old: Path, run: Run) -> None:
        (old / "test_b.py").write_text(
            "import pytest, requests\n"
            '@pytest.mark.vcr("../test_a/test_one.yaml", "../test_a/test_two.yaml")\n'
            "def test_it():\n"
            '    assert requests.get("http://127.0.0.1:23001/json").ok\n'
            '    assert requests.get("http://127.0.0.1:23001/gzip").ok\n'
        )
        run("test_b.py")


class TestRecord:
    def test_into_json_beside_the_yaml(self, place: Path, run: Run, upstream: FakeUpstream) -> None:
        """The YAML stays as it is; the JSON counts from then on."""
        (place / "test_a.py").write_text(RECORDING)
        directory = place / "cassettes" / "test_a"
        directory.mkdir(parents=True)
        yaml = directory / "test_it.yaml"
        shutil.copy(SAMPLE / "cassettes" / "test_a" / "test_one.yaml", yaml)
        text = yaml.read_bytes()
        run(code=1)
        assert "stays as it is" in run("--record-mode=all")
        assert yaml.read_bytes() == text
        recorded = (directory / "test_it.json").read_text()
        assert "hidden-1234567890" not in recorded
        run(NOW="2")
        assert len(upstream.received) == 1

    def test_new_episodes_keeps_the_old_ones(
        self, place: Path, run: Run, upstream: FakeUpstream
    ) -> None:
        (place / "test_a.py").write_text(RECORDING)
        directory = place / "cassettes" / "test_a"
        directory.mkdir(parents=True)
        shutil.copy(SAMPLE / "cassettes" / "test_a" / "test_one.yaml", directory / "test_it.yaml")
        run("--record-mode=new_episodes")
        recorded = json.loads((directory / "test_it.json").read_text())
        assert len(recorded["interactions"]) == 2
        assert len(upstream.received) == 1

    def test_once(self, place: Path, run: Run, upstream: FakeUpstream) -> None:
        (place / "test_a.py").write_text(RECORDING)
        run("--record-mode=once", "-n", "2")
        run("--record-mode=once")
        assert len(upstream.received) == 1

    def test_strict_replay_is_stronger(self, place: Path, run: Run, upstream: FakeUpstream) -> None:
        (place / "test_a.py").write_text(RECORDING)
        run("--record-mode=once", "--buffr-mode=replay", code=1)
        assert upstream.received == []

    def test_disabled(self, place: Path, run: Run, upstream: FakeUpstream) -> None:
        (place / "test_a.py").write_text(RECORDING)
        run("--disable-recording")
        assert len(upstream.received) == 1
        assert not (place / "cassettes").exists()


class TestRefused:
    @pytest.mark.parametrize(
        ("key", "told"),
        [
            ("before_record_request=print", "has no before_record_request"),
            ("match_on=['headers']", "has no match_on headers"),
            ("serializer='json'", "reads YAML alone"),
        ],
    )
    def test_by_name(self, place: Path, run: Run, key: str, told: str) -> None:
        (place / "test_a.py").write_text(
            f"import pytest\n@pytest.mark.vcr({key})\ndef test_it(): pass\n"
        )
        assert told in run(code=1)

    def test_another_word(self, place: Path, run: Run) -> None:
        (place / "pytest.ini").write_text("[pytest]\nbuffr_compat = betamax\n")
        assert "must be vcr" in run(code=4)
