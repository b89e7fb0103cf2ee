"""Starts that are refused: exit code 1, a line for each thing that is wrong, and no traceback.

Nothing has listened before, and no file is touched.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from attrs import field, frozen
from commands import BUFFR, TWISTD, complaint, run

TARGET = ("--target", "https://a.test", "--port", "0")

BAD_SETTINGS = """\
listne: 127.0.0.1
reverse:
  - {target: ftp://example.com, port: 1}
  - {target: 'http://a.test', port: seven}
  - {target: 'http://a.test', port: 8081, mode: sometimes}
  - {target: 'http://b.test', port: 8081}
"""

_ROW = {"target": "http://a.test", "port": 0, "cassette": "a.json"}
RECORD_BESIDE_AUTO = yaml.safe_dump({"reverse": [{**_ROW, "mode": "record"}, _ROW]})

GOOD = (
    '{"type": "http", "http": {"request": {"method": "GET", "path": "/a"},'
    ' "response": {"status": 200}}}'
)
TYPO = f'{{"version": 1,\n "interactions": [{GOOD},\n  {{"type" "http"}}, {{}}]}}'
MERGE = f'{{"version": 1, "interactions": [\n<<<<<<< HEAD\n{GOOD}\n=======\n]}}'


@frozen
class Start:
    """What is started, in a directory with these files, and what each line of its output says."""

    says: tuple[str, ...]
    arguments: tuple[str, ...]
    env: Mapping[str, str] = field(factory=dict)
    files: Mapping[str, str] = field(factory=dict)


def over(cassette: str, place: str, mode: str = "auto") -> Start:
    """A start with this cassette. Seed defect 2: it was taken for empty, and overwritten."""
    arguments = (mode, *TARGET, "--cassette", "api.json")
    return Start((f"api.json:{place}",), arguments, files={"api.json": cassette})


BAD_LINES = tuple(f"bad.yaml:{line}" for line in ("1: listne", "3:", "4:", "5:", "6:"))

STARTS = {
    "no target": Start(("target",), ("auto",)),
    "unknown flag": Start(("prot",), ("auto", "--prot", "1")),
    "unknown command": Start(("recrod",), ("recrod",)),
    "nothing to replay": Start(("cassette",), ("replay",)),
    # Seed defect 21: such an error was logged, and the service started with nothing.
    "broken BUFFR_TARGETS": Start(("BUFFR_TARGETS",), (), {"BUFFR_TARGETS": "- {target: [http"}),
    "no certificates": Start(
        ("junk.pem",), ("auto", *TARGET, "--ca-file", "junk.pem"), files={"junk.pem": "junk"}
    ),
    "data in a file": Start(
        ("junk.pem",), ("auto", *TARGET, "--data-dir", "junk.pem"), files={"junk.pem": "junk"}
    ),
    "a directory as cassette": Start(("directory",), ("auto", *TARGET, "--cassette", ".")),
    "another machine's address": Start(
        ("203.0.113.1",), ("auto", *TARGET, "--listen", "203.0.113.1")
    ),
    "five faults": Start(
        BAD_LINES, ("serve", "--config", "bad.yaml"), files={"bad.yaml": BAD_SETTINGS}
    ),
    "record beside auto": Start(("a.json",), ("serve",), files={"buffr.yaml": RECORD_BESIDE_AUTO}),
    "not JSON": over('{"version": 1, "interactions": [\n  nonsense\n]}', "2:3"),
    "a typo": over(TYPO, "3:"),
    "a typo in replay": over(TYPO, "3:", "replay"),
    "merge markers": over(MERGE, "2:1"),
    "a newer version": over('{\n  "version": 2,\n  "interactions": []\n}\n', "2:14"),
    "a list": over("[]", "1:1"),
    "no text": over("\x00\x01\x02", "1:1"),
}


class TestRefusedStarts:
    @pytest.mark.parametrize("name", STARTS)
    def test_it_is_said_in_a_line_and_nothing_happens(self, tmp_path: Path, name: str) -> None:
        start = STARTS[name]
        for file, text in start.files.items():
            (tmp_path / file).write_text(text)
        env = {"BUFFR_PORT": "0", **start.env} if not start.arguments else start.env
        lines = complaint(*start.arguments, cwd=tmp_path, env=env)
        for line, words in zip(lines, start.says, strict=True):
            assert words in line
        left = {path.name: path.read_text() for path in tmp_path.iterdir()}
        assert left == start.files

    def test_twistd_says_the_same_and_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "bad.yaml").write_text(BAD_SETTINGS)
        lines = complaint("--config", "bad.yaml", cwd=tmp_path, command=TWISTD)
        for line, words in zip(lines, BAD_LINES, strict=True):
            assert words in line

    @pytest.mark.parametrize("command", [BUFFR, TWISTD], ids=["buffr", "twistd"])
    def test_a_taken_port(self, tmp_path: Path, command: tuple[str, ...]) -> None:
        """Seed defect 18: the process stayed, and served nothing."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            flags = ("--mode", "auto", "--target", "http://127.0.0.1:9", "--port", port)
            arguments = ("serve", *flags) if command is BUFFR else flags
            (line,) = complaint(*arguments, cwd=tmp_path, command=command)
        assert f"127.0.0.1:{port}" in line
        assert "in use" in line

    def test_a_daemon_tells_whoever_starts_it(self, tmp_path: Path) -> None:
        """Seen: twistd waited for a start that never came, and its PID file stayed."""
        (tmp_path / "api.json").write_text(TYPO)
        twistd = (TWISTD[0], "--pidfile=buffr.pid", "--logfile=buffr.log", "buffr")
        done = run(*TARGET, "--cassette", "api.json", cwd=tmp_path, command=twistd)
        assert done.returncode == 1
        assert "api.json:3:" in done.stderr
        assert "api.json:3:" in (tmp_path / "buffr.log").read_text()
        assert not (tmp_path / "buffr.pid").exists()
