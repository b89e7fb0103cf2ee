"""``buffr cassette import``, ``export`` and ``merge``, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from calls import call

from buffr.commands.cassette.merge import _DRIVER

SAMPLES = Path(__file__).parents[2] / "interchange" / "samples"


class TestImport:
    def test_each_cassette_is_written_at_its_source_s_place(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "import", SAMPLES, "-o", tmp_path)
        made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json"))
        assert "vcrpy/requests.json" in made
        assert "wiremock.json" in made
        assert len(made) == 26
        assert said.code == 1  # a HAR has a request without an answer
        assert "interaction 15 not imported: its status is -1: there was no answer" in said.out

    def test_several_become_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "one.json"
        sources = SAMPLES / "vcrpy/decoded.yaml", SAMPLES / "go-vcr/sample.yaml"
        assert call(capsys, "import", *sources, "-o", path).code == 0
        assert call(capsys, "verify", path).out == f"{path}: 9 interactions, all good\n"

    def test_the_report_has_each_loss(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path, report = tmp_path / "one.json", tmp_path / "report.json"
        call(capsys, "import", SAMPLES / "vcrpy/aiohttp.yaml", "-o", path, "--report", report)
        (file,) = json.loads(report.read_text())["files"]
        assert file["imported"] == 9
        assert file["losses"] == [
            {
                "interaction": 1,
                "loss": "the body was stored decoded: Content-Encoding: gzip is taken away",
            }
        ]

    def test_a_host_is_given_to_sources_without_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "one.json"
        target = ("--target", "https://api.example.com")
        assert call(capsys, "import", SAMPLES / "wiremock", *target, "-o", path).code == 0
        assert "https://api.example.com/json?q=1" in call(capsys, "ls", path).out

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (("README.md",), "README.md: no importer knows this format; --from names it"),
            (("README.md", "--from", "har"), "there is no list of interactions in it"),
            (("nowhere",), "No such file or directory"),
            (("vcrpy/decoded.yaml", "--target", "api"), "--target api: it"),
        ],
    )
    def test_what_is_wrong_is_said(
        self,
        arguments: tuple[str, ...],
        expected: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        name, *others = arguments
        said = call(capsys, "import", SAMPLES / name, *others, "-o", tmp_path / "x.json")
        assert said.code == 1
        assert expected in said.err
        assert list(tmp_path.iterdir()) == []


class TestExport:
    def test_a_har_comes_back_as_it_was(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, har, two = tmp_path / "one.json", tmp_path / "one.har", tmp_path / "two.json"
        call(capsys, "import", SAMPLES / "mitmproxy/flows.mitm", "-o", one)
        assert call(capsys, "export", one, "--to", "har", "-o", har).code == 0
        call(capsys, "import", har, "-o", two)
        assert call(capsys, "diff", one, two).code == 0

    def test_what_is_left_out_is_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "one.json"
        call(capsys, "import", SAMPLES / "mitmproxy/flows.mitm", "-o", path)
        said = call(capsys, "export", path, "--to", "vcr", "-o", tmp_path / "one.yaml")
        assert said.code == 1
        assert "interaction 12 left out: VCR.py has no WebSocket sessions" in said.err
        assert said.out == ""


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout


class TestMerge:
    def test_it_makes_one_of_two(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        one, two, both = (tmp_path / f"{name}.json" for name in ("one", "two", "both"))
        call(capsys, "import", SAMPLES / "vcrpy/decoded.yaml", "-o", one)
        call(capsys, "import", SAMPLES / "nock/sample.json", "-o", two)
        said = call(capsys, "merge", one, two, "-o", both)
        assert said.err == f"{both}: 9 interactions, 8 added, 0 removed\n"
        assert call(capsys, "merge", one, two, "-o", two).code == 0
        assert "not overwritten" in call(capsys, "merge", one, one, "-o", both).err

    def test_git_merges_by_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two branches record; neither has a conflict, and what one removed is gone."""
        monkeypatch.chdir(tmp_path)
        git(tmp_path, "init", "-q", "-b", "main")
        path = tmp_path / "api.json"
        call(capsys, "import", SAMPLES / "go-vcr/sample.yaml", "-o", path)
        assert call(capsys, "merge", "--install-git-driver", "*.json").code == 0
        assert git(tmp_path, "config", "merge.buffr.driver").strip() == _DRIVER
        git(tmp_path, "config", "merge.buffr.driver", f"{buffr()} {_DRIVER.partition(' ')[2]}")
        git(tmp_path, "add", "."), git(tmp_path, "commit", "-qm", "base")
        git(tmp_path, "checkout", "-qb", "theirs")
        add(path, "vcrpy/decoded.yaml", capsys)
        call(capsys, "rm", path, "0")
        git(tmp_path, "commit", "-qam", "theirs")
        git(tmp_path, "checkout", "-q", "main")
        add(path, "vcrpy/v8.2.1-gzip.yaml", capsys)
        git(tmp_path, "commit", "-qam", "ours")
        git(tmp_path, "merge", "-q", "theirs")
        assert "9 interactions, all good" in call(capsys, "verify", path).out


def add(path: Path, sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = path.with_name("other.json")
    call(capsys, "import", SAMPLES / sample, "-o", other)
    call(capsys, "merge", path, other, "-o", path)
    other.unlink()


def buffr() -> str:

    return f"{sys.executable} -m buffr"
