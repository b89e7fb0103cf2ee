"""The script that replays cassettes of public projects, on those that are in the repository."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "interchange"))
import public_cassettes

SAMPLES = Path(__file__).parents[1] / "interchange" / "samples"
TORNADO = """interactions:
- request: {body: null, headers: {}, method: get, uri: 'http://a.test/x?a=1'}
  response:
    body: {string: !!python/unicode 'said'}
    headers:
    - !!python/tuple
      - Content-Type
      - [text/plain]
    - !!python/tuple
      - Set-Cookie
      - [a=1, b=2]
    status: {code: 404, message: Not Found}
version: 1
"""


class TestScript:
    def test_all_replay_as_they_were(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Python 2's tags and Tornado's list of fields, too."""
        (tmp_path / "tornado.yaml").write_text(TORNADO)
        for name in ("pytest-recording", "vcrpy"):
            shutil.copytree(SAMPLES / name, tmp_path / name)
        assert public_cassettes.main([tmp_path]) == 0
        *_, last = capsys.readouterr().out.splitlines()
        assert last.startswith("files imported: ")
        assert "others" not in last
