"""The fixtures of the page on pytest: what a test that fails shows of buffr's log."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from commands import PYTEST

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pytest.md"
TESTS = """\
import urllib.request
from urllib.error import HTTPError

import pytest


def test_that_passes(openai_url):
    with pytest.raises(HTTPError):
        urllib.request.urlopen(openai_url + "/passes")


def test_that_fails(openai_url):
    urllib.request.urlopen(openai_url + "/fails")


def test_the_last(openai_url):
    assert openai_url.endswith("/v1")
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of three tests with the page's conftest."""
    place = tmp_path_factory.mktemp("pytest_page")
    text = PAGE.read_text("utf-8")
    snippet = re.search(r"```python\n# tests/conftest.py\n(.*?)```", text, re.DOTALL)
    assert snippet is not None
    (place / "conftest.py").write_text(snippet[1])
    (place / "test_it.py").write_text(TESTS)
    (place / "cassettes").mkdir()
    (place / "cassettes" / "api.openai.com.json").write_text('{"version": 1, "interactions": []}')
    environ = {name: value for name, value in os.environ.items() if name != "RECORD"}
    done = subprocess.run(
        [*PYTEST, "-q"],
        cwd=place,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    return done.stdout


class TestReport:
    def test_a_failing_test_shows_why_its_request_was_missed(self, report: str) -> None:
        section = report.partition("Captured stderr teardown")[2]
        assert 'msg="GET /v1/fails" status=599' in section
        assert "no recorded interaction matches GET /v1/fails" in section

    def test_other_tests_lines_are_not_shown(self, report: str) -> None:
        assert "/v1/passes" not in report
