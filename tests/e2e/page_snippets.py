"""Pages whose snippets are files of a project: written there, and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from buffr.testing import FakeUpstream

__all__ = ["API", "Project", "page_text", "snippets_of"]

API = "https://api.example.com"
"""What the pages ask."""
_PAGES = Path(__file__).parents[2] / "docs" / "how-to"
_FENCE = re.compile(r"```\w+\n(?://|#) (\S+)\n(.*?)```", re.DOTALL)


def page_text(page: str) -> str:
    """The text of a how-to."""
    return (_PAGES / page).read_text("utf-8")


def snippets_of(page: str) -> dict[str, str]:
    """The snippets of a how-to by the file name in their first line."""
    return {found[1]: found[2] for found in _FENCE.finditer(page_text(page))}


@frozen
class Project:
    """A project with snippets of a page, whose API is the upstream of these tests."""

    directory: Path
    upstream: FakeUpstream
    snippets: Mapping[str, str]

    def write(self, *names: str) -> None:
        for name in names:
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.snippets[name].replace(API, self.upstream.url))

    def run(
        self,
        *command: str,
        ci: bool = False,
        code: int = 0,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "CI" and not name.startswith(("BUFFR_", "PYTEST_", "VITEST"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**inherited, "PATH": path, **(environ or {}), **({"CI": "true"} if ci else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def twice(self, *command: str) -> None:
        """Recorded, and then replayed as in CI, when nothing asks the upstream."""
        self.run(*command)
        assert len(self.upstream.received) == 1
        self.run(*command, ci=True)
        assert len(self.upstream.received) == 1
