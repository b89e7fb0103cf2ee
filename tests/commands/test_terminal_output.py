"""What commands show on a terminal, and that a pipe gets nothing but data."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from buffr.commands.terminal import money

_RECORDED = {
    "type": "http",
    "http": {
        "request": {"method": "GET", "host": "a.example", "path": "/x", "headers": {}},
        "response": {"status": 200, "headers": {}, "body": "hello"},
    },
}
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def cassette(tmp_path: Path) -> Path:
    path = tmp_path / "api.json"
    path.write_text(json.dumps({"version": 1, "interactions": [_RECORDED] * 3}))
    return path


def _on_a_terminal(*words: str, program: str = "") -> str:
    """What a command writes to a terminal of 80 columns."""
    controller, terminal = pty.openpty()
    start = ["-c", program] if program else ["-m", "buffr"]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", "NO_COLOR": ""}
    read = bytearray()

    def drain() -> None:
        while True:
            try:
                data = os.read(controller, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            read.extend(data)

    reader = threading.Thread(target=drain)
    reader.start()
    try:
        subprocess.run(
            [sys.executable, *start, *words],
            stdout=terminal,
            stderr=terminal,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=True,
        )
    finally:
        os.close(terminal)
        reader.join(30)
        os.close(controller)
    return read.decode()


class TestTables:
    def test_a_terminal_gets_a_coloured_table(self, cassette: Path) -> None:
        shown = _on_a_terminal("cassette", "stats", str(cassette))
        assert "\x1b[" in shown
        lines = [line.split() for line in _ESCAPE.sub("", shown).splitlines()]
        assert ["interactions", "3"] in lines
        assert ["hosts", "3", "a.example"] in lines

    def test_a_pipe_gets_plain_lines(self, cassette: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "buffr", "cassette", "stats", str(cassette)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "\x1b" not in done.stdout
        assert ["interactions", "3"] in [line.split() for line in done.stdout.splitlines()]
        assert done.stderr == ""

    def test_a_recorded_control_character_is_escaped(self, tmp_path: Path) -> None:
        request = {**_RECORDED["http"]["request"], "host": "a\x1b[31m.example"}  # type: ignore[index]
        path = tmp_path / "api.json"
        recorded = {"type": "http", "http": {**_RECORDED["http"], "request": request}}  # type: ignore[dict-item]
        path.write_text(json.dumps({"version": 1, "interactions": [recorded]}))
        assert "\x1b[31m" not in _on_a_terminal("cassette", "stats", str(path))


class TestProgress:
    _SLOW = (
        "from buffr.commands import progress\n"
        "progress._FIRST_S = progress._EVERY_S = 0\n"
        "for one in progress.followed(range(7), 'interactions', {total}):\n"
        "    pass\n"
        "print('done')\n"
    )

    @pytest.mark.parametrize(("total", "shown"), [("7", "/7"), ("None", " interactions")])
    def test_a_terminal_sees_how_far_it_is(self, total: str, shown: str) -> None:
        written = _on_a_terminal(program=self._SLOW.format(total=total))
        assert shown in _ESCAPE.sub("", written)
        assert written.rstrip().endswith("done")

    def test_nothing_is_shown_in_a_pipe(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self._SLOW.format(total=7)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize(
    ("usd", "words"),
    [(0.0, "$0.0000"), (0.0000213, "$0.000021"), (0.012, "$0.0120"), (1234.5, "$1,234.5000")],
)
def test_how_little_a_call_costs(usd: float, words: str) -> None:
    assert money(usd) == words
