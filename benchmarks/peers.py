"""The programs that a run can compare buffr with, where they are at hand."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from benchmarks.process import TREE

__all__ = ["BUFFR", "Build", "Peers"]

_HERE = Path(__file__).parent / ".peers"
_LACKING = "{} is not installed, and left out"


@frozen
class Build:
    """One build of buffr: how it is called in the table, and how it is started."""

    name: str
    python: str
    tree: Path

    @property
    def command(self) -> tuple[str, ...]:
        return (self.python, "-m", "buffr")

    @property
    def environment(self) -> Mapping[str, str]:
        """What has its interpreter import this build, and not another."""
        return {"PYTHONPATH": str(self.tree)}

    @classmethod
    def before(cls, tree: Path) -> Build:
        """The build of another checkout, which ``make setup-dev`` was run in."""
        return cls("before", str(tree / ".venv/bin/python"), tree)


BUFFR = Build("buffr", sys.executable, TREE)


@frozen
class Peers:
    """``go_buffr`` is the Go program that buffr succeeds; ``before`` an earlier build."""

    mitmdump: str | None = field(factory=lambda: _found("mitmdump"))
    go_buffr: str | None = field(factory=lambda: _found("buffr-go"))
    api_buddy: str | None = field(factory=lambda: _beside("python", "api-buddy"))
    before: Build | None = None

    @property
    def builds(self) -> tuple[Build, ...]:
        """The builds to measure: this one, and the one before it if it is given."""
        return (BUFFR,) if self.before is None else (BUFFR, self.before)

    @property
    def lacking(self) -> list[str]:
        """A line for each peer that is not there."""
        peers = (("mitmproxy", self.mitmdump), ("reference-api-buddy", self.api_buddy))
        lines = [_LACKING.format(name) for name, path in peers if path is None]
        if self.go_buffr is None:
            lines.append("the Go program (buffr-go) is not on the PATH, and left out")
        return lines


def _found(name: str) -> str | None:
    return _beside(name, name) or shutil.which(name)


def _beside(name: str, wanted: str) -> str | None:
    """A program of ``benchmarks/.peers``, if what is wanted is installed there."""
    path = _HERE / "bin" / name
    return str(path) if (_HERE / "bin" / wanted).exists() and path.exists() else None
