"""A setting is declared in one place; all that users see of it comes by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PATHS = (
    "reverse[0].think",
    "forward.hosts[0].think",
    "forward.think",
    "gateway.routes.g.think",
)


@pytest.fixture(scope="module")
def came(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of the setting that ``new_setting`` declares, ``think``."""
    script = Path(__file__).with_name("new_setting.py")
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path_factory.mktemp("new"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def values(shown: dict[str, Any]) -> list[str]:
    """What each kind of row has, the last one from ``forward``."""
    forward = shown["forward"]
    rows = [*shown["reverse"], shown["gateway"]["routes"]["g"], forward, *forward["hosts"]]
    return [row["think"] for row in rows]


class TestOneDeclaration:
    def test_reference(self, came: dict[str, Any]) -> None:
        lines = [one for one in came["reference"].splitlines() if ".think`" in one]
        assert len(lines) == len(PATHS)
        for line in lines:
            assert "How long the upstream is left to think." in line
            assert "auto, record, replay" in line
            assert "`BUFFR_THINK` | `--think`" in line

    def test_json_schema(self, came: dict[str, Any]) -> None:
        models = [
            name
            for name, model in came["schema"]["definitions"].items()
            if "think" in model["properties"]
        ]
        assert models == ["ForwardHost", "ForwardSettings", "GatewayRow", "ReverseRoute"]

    def test_errors(self, came: dict[str, Any]) -> None:
        assert len(came["errors"]) == len(PATHS)
        for path in PATHS:
            (line,) = (one for one in came["errors"] if f": {path}: " in one)
            assert line.startswith("s.yaml:")
            assert "'soon' must be seconds" in line

    def test_modes(self, came: dict[str, Any]) -> None:
        assert len(came["unused"]) == len(PATHS)
        for path in PATHS:
            assert any(f": {path}: has no effect in mode cache" in one for one in came["unused"])

    def test_misspelt(self, came: dict[str, Any]) -> None:
        assert came["misspelt"] == ["s.yaml:1: forward.thnik: unknown key; did you mean 'think'?"]

    def test_admin_page(self, came: dict[str, Any]) -> None:
        """Every kind of row has it, a host by what ``forward`` says too."""
        assert [str(one) for one in values(came["shown"])] == ["5.0"] * 5

    def test_variable_and_flag(self, came: dict[str, Any]) -> None:
        """They count over every row."""
        assert [str(one) for one in values(came["by_variable"])] == ["7.0"] * 5
        assert [str(one) for one in values(came["by_flag"])] == ["9.0"] * 5
