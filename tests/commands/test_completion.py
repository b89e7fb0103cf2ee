"""What shells complete: bash, zsh and fish are asked, where they are installed."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from buffr.commands.cli import run
from buffr.commands.completion import SHELLS
from buffr.commands.tree import ROOT

_BASH = """
source {script}
compopt() {{ :; }}
COMP_LINE={line!r}
COMP_POINT=${{#COMP_LINE}}
_buffr
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

_ZSH_SETUP = (
    "fpath=({directory} $fpath); autoload -U compinit; compinit -D -u; "
    'show() {{ print -r -- "line: $BUFFER.end" }}; zle -N show; bindkey "^G" show; '
    "echo is\\ ready\n"
)
"""Ctrl-G tells what is on the line."""


class Zsh:
    """A zsh at a terminal of its own."""

    def __init__(self, directory: Path) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["zsh", "-f", "-i"],
            cwd=directory,
            env={**os.environ, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.told(_ZSH_SETUP.format(directory=directory), "\nis ready")

    def told(self, typed: str, last: str) -> str:
        """What it writes until something that must come."""
        os.write(self._ours, typed.encode())
        said = ""
        while last not in said:
            readable, _, _ = select.select([self._ours], [], [], 60)
            assert readable, said
            said += os.read(self._ours, 4096).decode()
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture(scope="session", params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def script_of(shell: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["completion", shell]) == 0
    script = directory / "_buffr"
    script.write_text(capsys.readouterr().out)
    return script


def asked(command: Sequence[str], directory: Path) -> str:
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout


class TestAnyShell:
    def test_it_is_valid(
        self, shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked([shell, "-n", str(script_of(shell, tmp_path, capsys))], tmp_path)

    def test_another_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["completion", "fsh"]) == 1
        assert "did you mean 'fish'?" in capsys.readouterr().err


LINES = (
    ("buffr ", {one.name for one in ROOT.commands}),
    ("buffr cassette ver", {"verify"}),
    ("buffr cassette ls --js", {"--json"}),
    ("buffr ca --format ", {"pem", "der", "p12", "bundle"}),
    ("buffr ca --format=b", {"bundle"}),
    ("buffr cassette verify recor", {"recorded.json"}),
    ("buffr serve --mode rep", {"replay"}),
    ("buffr serve -c recor", {"recorded.json"}),
    ("buffr run --config recor", {"recorded.json"}),
    ("buffr run dirna", {"dirname"}),
    ("buffr key ", set[str]()),
)


class TestBash:
    @pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line for line, _ in LINES])
    def test_offers(
        self, line: str, wanted: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = script_of("bash", tmp_path, capsys)
        (tmp_path / "recorded.json").touch()
        told = asked(["bash", "-c", _BASH.format(script=script, line=line)], tmp_path)
        assert set(told.split()) == wanted


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
class TestFish:
    @pytest.mark.parametrize(("line", "wanted"), LINES, ids=[line for line, _ in LINES])
    def test_offers(
        self, line: str, wanted: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = script_of("fish", tmp_path, capsys)
        (tmp_path / "recorded.json").touch()
        program = f"source {script}; complete -C '{line}'"
        told = asked(["fish", "--no-config", "-c", program], tmp_path)
        # With the flag, where one word has both: --format=bundle.
        names = {row.partition("\t")[0].rpartition("=")[2] for row in told.splitlines()}
        assert names == wanted


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
class TestZsh:
    def test_completes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        script_of("zsh", tmp_path, capsys)
        (tmp_path / "recorded.json").touch()
        zsh = Zsh(tmp_path)
        try:
            for line, wanted in (
                ("buffr cassette ver", "verify"),
                ("buffr cassette ls --js", "--json"),
                ("buffr ca --format b", "bundle"),
                ("buffr cassette verify recor", "recorded.json"),
                ("buffr run --replay recor", "recorded.json"),
            ):
                told = zsh.told(f"\x15{line}\t\x07", ".end\r\n")
                assert told.rpartition("line: ")[2].partition(".end")[0].split()[-1] == wanted
        finally:
            zsh.close()
