"""What a scan tells to people, CI and code hosts; and what a person has judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from calls import age, call, write

from buffr.interaction import Body, HTTPInteraction, RecordedRequest
from buffr.message import ResponseHead

JSON = ((b"Content-Type", b"application/json"),)
KEY = "q7XbP2mZ9sKd4LwT8vRc6NfY1hGj"
OTHER = "Zk3Vn8QwE5rTy7UiOp2AsDf9GhJk"


def answer(value: str, target: bytes = b"/a") -> HTTPInteraction:
    return HTTPInteraction(
        RecordedRequest(b"GET", target),
        ResponseHead(200, b"OK", JSON),
        Body.of(json.dumps({"api_key": value, "n": "é"}).encode()),
    )


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    return write(tmp_path / "a pi.json", answer("REDACTED"), answer(KEY))


class TestExitCodes:
    def test_0_for_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(capsys, "scan", write(tmp_path / "a.json", answer("REDACTED"))).code == 0

    def test_1_for_findings(self, cassette: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert call(capsys, "scan", cassette).code == 1

    def test_2_when_anything_could_not_be_read(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "scan", cassette.parent / "gone.json", cassette)
        assert said.code == 2
        assert "interaction 1" in said.out

    @pytest.mark.parametrize(
        "wrong", [["--detectors", "none"], ["--json", "--sarif"], ["--update-baseline"], ["--x"]]
    )
    def test_2_for_wrong_options(
        self, wrong: list[str], cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "scan", *wrong, cassette)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("buffr: cassette scan: ")


class TestBaseline:
    @pytest.fixture
    def baseline(self, cassette: Path, capsys: pytest.CaptureFixture[str]) -> Path:
        path = cassette.parent / "baseline"
        said = call(capsys, "scan", "--baseline", path, "--update-baseline", cassette)
        assert (said.code, said.err) == (0, "")
        return path

    def test_what_was_judged_is_passed_over(
        self, baseline: Path, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        said = call(capsys, "scan", "--baseline", baseline, cassette)
        assert (said.code, said.out, said.err) == (0, "", "")

    def test_the_value_is_not_in_it(self, baseline: Path) -> None:
        text = baseline.read_text()
        assert KEY[:5] not in text
        (entry,) = json.loads(text)["findings"]
        assert (entry["where"], entry["name"]) == ("response body /api_key", "api_key")
        assert len(entry["digest"]) == 32

    def test_it_holds_when_the_recording_is_made_anew(
        self, baseline: Path, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        again = write(cassette.parent / "b.json", answer(KEY, b"/new"), *[answer("REDACTED")] * 3)
        assert call(capsys, "scan", "--baseline", baseline, again).code == 0

    def test_another_value_at_the_same_place_is_found(
        self, baseline: Path, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(cassette, answer(OTHER), answer(KEY))
        said = call(capsys, "scan", "--baseline", baseline, cassette)
        assert said.code == 1
        assert len(said.out.splitlines()) == 1

    def test_updated_again_it_is_the_same_file(
        self, baseline: Path, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = baseline.read_text()
        call(capsys, "scan", "--baseline", baseline, "--update-baseline", cassette)
        assert baseline.read_text() == before

    def test_entries_of_other_files_stay_and_old_ones_go(
        self, baseline: Path, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = write(cassette.parent / "b.json", answer(OTHER))
        call(capsys, "scan", "--baseline", baseline, "--update-baseline", other)
        assert len(json.loads(baseline.read_text())["findings"]) == 2
        write(cassette, answer("REDACTED"))
        call(capsys, "scan", "--baseline", baseline, "--update-baseline", cassette)
        (entry,) = json.loads(baseline.read_text())["findings"]
        assert entry["file"].endswith("b.json")

    @pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"version": 9}'])
    def test_what_is_no_baseline(
        self, text: str | None, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = cassette.parent / "other"
        if text is not None:
            path.write_text(text)
        said = call(capsys, "scan", "--baseline", path, cassette)
        assert (said.code, said.out) == (2, "")
        assert str(path) in said.err


class TestSARIF:
    """The structure that SARIF 2.1.0 (OASIS) and code hosts ask for."""

    @pytest.fixture
    def log(
        self,
        cassette: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> Any:
        monkeypatch.chdir(cassette.parent)
        said = call(capsys, "scan", "--sarif", cassette, "gone.json")
        assert said.code == 2
        assert KEY[:5] not in said.out
        return json.loads(said.out)

    def test_head(self, log: Any) -> None:
        assert log["version"] == "2.1.0"
        assert log["$schema"].endswith("sarif-2.1.0.json")
        (run,) = log["runs"]
        driver = run["tool"]["driver"]
        assert driver["name"] == "buffr"
        assert all(isinstance(rule["id"], str) for rule in driver["rules"])
        assert all(rule["shortDescription"]["text"] for rule in driver["rules"])

    def test_results(self, log: Any) -> None:
        (run,) = log["runs"]
        (result,) = run["results"]
        rules = run["tool"]["driver"]["rules"]
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == "redaction/json"
        assert result["level"] in ("none", "note", "warning", "error")
        assert "interaction 1: response body /api_key" in result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == "a%20pi.json"
        assert physical["region"]["startLine"] > 5
        assert all(isinstance(one, str) for one in result["partialFingerprints"].values())

    def test_what_could_not_be_read(self, log: Any) -> None:
        (invocation,) = log["runs"][0]["invocations"]
        assert invocation["executionSuccessful"] is False
        (note,) = invocation["toolExecutionNotifications"]
        assert "gone.json: there is no such file" in note["message"]["text"]

    def test_nothing_found_is_a_log_too(
        self, cassette: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        age(write(cassette, answer("REDACTED")))
        said = call(capsys, "scan", "--sarif", cassette)
        assert said.code == 0
        (run,) = json.loads(said.out)["runs"]
        assert run["results"] == []
        assert run["invocations"][0]["executionSuccessful"] is True


def test_json_has_the_line_and_the_detector(
    cassette: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(call(capsys, "scan", "--json", cassette).out)
    lines = cassette.read_text().splitlines()
    assert lines[found["line"] - 1] == "    {"
    assert (found["detector"], found["start"], found["interaction"]) == ("redaction", KEY[:4], 1)
