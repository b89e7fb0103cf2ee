"""The directory of a run: nothing of a killed one stays for long."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from buffr.commands.run.temporary import run_directory


@pytest.fixture(autouse=True)
def above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class TestSweep:
    def test_what_a_killed_run_has_left_is_removed(self, above: Path) -> None:
        left, new, other = (above / name for name in ("buffr-run-1", "buffr-run-2", "mine"))
        for directory in (left, new, other):
            directory.mkdir()
        (left / "file").touch()
        os.utime(left, (0, 0))
        os.utime(other, (0, 0))
        with run_directory() as directory:
            assert {*above.iterdir()} == {new, other, directory}
        assert not directory.exists()

    def test_one_in_use_stays(self, above: Path) -> None:
        with run_directory() as first:
            os.utime(first, (0, 0))
            with run_directory():
                assert first.is_dir()
