"""The workflows run what the Makefile has, and the action does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
_OTHERS = (".ci/run", "gh release create ")


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in read(workflow)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
class TestWorkflows:
    def test_their_commands_are_the_makefiles(self, workflow: Path) -> None:
        """So that each can be tried on any machine."""
        targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
        for command in [step["run"] for step in steps(workflow) if "run" in step]:
            if not command.startswith(_OTHERS):
                program, *wanted = command.split()
                assert program == "make"
                assert set(wanted) <= targets

    def test_rights_are_given_by_job(self, workflow: Path) -> None:
        """The token of a workflow may read; a job that needs more says so. None runs for ever."""
        found = read(workflow)
        assert found["permissions"] == {"contents": "read"}
        assert all("timeout-minutes" in job for job in found["jobs"].values())


class TestIssues:
    def test_a_problem_comes_with_the_doctors_words(self) -> None:
        fields = read(PROJECT / ".github/ISSUE_TEMPLATE/problem.yml")["body"]
        (doctor,) = [one for one in fields if one.get("id") == "doctor"]
        assert "buffr doctor" in doctor["attributes"]["label"]
        assert doctor["validations"] == {"required": True}


_ASK = "curl --silent --show-error --fail --output /dev/null http://127.0.0.1:9/v1/a_b"


class TestAction:
    """Its own scripts are run here, in an environment like that of a runner."""

    @pytest.fixture
    def runner(self, tmp_path: Path) -> Path:
        (tmp_path / "buffr/bin").mkdir(parents=True)
        (tmp_path / "buffr/bin/buffr").symlink_to(Path(sys.executable).with_name("buffr"))
        return tmp_path

    def step(self, name: str, runner: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        (found,) = [
            one for one in read(PROJECT / "action.yml")["runs"]["steps"] if one["id"] == name
        ]
        environ = {
            **os.environ,
            "NO_PROXY": "",
            "no_proxy": "",
            "RUNNER_TEMP": str(runner),
            "GITHUB_OUTPUT": str(runner / "output"),
            "GITHUB_STEP_SUMMARY": str(runner / "summary.md"),
            **variables,
        }
        assert set(found["env"]) <= environ.keys()
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
            cwd=runner,
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def test_a_miss_fails_and_stands_in_the_summary(self, runner: Path) -> None:
        given = {"COMMAND": _ASK, "DATA_DIR": "cassettes", "MODE": "replay", "ARGUMENTS": ""}
        done = self.step("tests", runner, **given)
        assert done.returncode != 0
        report = json.loads((runner / "buffr-report.json").read_bytes())
        assert report["counts"]["misses"] == 1
        assert (runner / "output").read_text() == f"report={runner}/buffr-report.json\n"
        script = str(PROJECT / "deploy/github-action/summary.py")
        assert self.step("summary", runner, SCRIPT=script).returncode == 0
        said = (runner / "summary.md").read_text()
        assert "failed" in said
        assert "| <code>GET http://127.0.0.1:9/v1/a&#95;b</code> | 1 |" in said

    def test_a_command_that_asks_for_nothing_passes(self, runner: Path) -> None:
        given = {"COMMAND": "true", "DATA_DIR": "cassettes", "MODE": "replay", "ARGUMENTS": ""}
        done = self.step("tests", runner, **given)
        assert (done.returncode, done.stdout) == (0, "")
        assert not list((runner / "cassettes").glob("buffr-ca*"))  # its key is not to be cached

    def test_another_mode_is_refused(self, runner: Path) -> None:
        given = {"COMMAND": "true", "DATA_DIR": ".", "MODE": "recrod", "ARGUMENTS": ""}
        done = self.step("tests", runner, **given)
        assert done.returncode == 2
        assert "must be replay or auto" in done.stdout

    def test_without_a_report_the_summary_says_so(self, runner: Path) -> None:
        script = str(PROJECT / "deploy/github-action/summary.py")
        assert self.step("summary", runner, SCRIPT=script).returncode == 0
        assert "did not run" in (runner / "summary.md").read_text()
