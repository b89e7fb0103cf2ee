"""Cassettes with known interactions, and ``buffr cassette`` run in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from buffr.commands.cli import run
from buffr.interaction import Interaction
from buffr.stores.cassette.format import encode
from buffr.stores.cassette.layout import TAIL
from buffr.stores.cassette.writing import head

DATA = Path(__file__).parents[2] / "data"
_WITHOUT = "detect-secrets is not installed"
SALT = "0123456789abcdef" * 2


@frozen
class Said:
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Said:
    """One command, and what it said."""
    try:
        code = run(["cassette", *map(str, arguments)])
    except SystemExit as ended:  # it was asked for help
        code = int(ended.code or 0)
    said = capsys.readouterr()
    kept = [line for line in said.err.splitlines(keepends=True) if _WITHOUT not in line]
    return Said(code, said.out, "".join(kept))


def laid_out(elements: Iterable[bytes]) -> bytes:
    listed = b",".join(b"\n    " + element for element in elements)
    return head(SALT, ()) + listed + TAIL


def write(path: Path, *interactions: Interaction) -> Path:
    """A cassette as buffr lays it out, last changed a minute ago."""
    path.write_bytes(laid_out(map(encode, interactions)))
    age(path)
    return path


def age(path: Path, seconds: float = 60) -> None:
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - seconds))


def elements(path: Path) -> list[Any]:
    return list(json.loads(path.read_bytes())["interactions"])


def targets(path: Path) -> list[str]:
    return [element["http"]["request"]["path"] for element in elements(path)]


def body_file(cassette: Path, data: bytes) -> str:
    """A body file beside a cassette; its name."""
    directory = cassette.with_suffix(".d")
    directory.mkdir(exist_ok=True)
    name = sha256(data).hexdigest()
    (directory / name).write_bytes(data)
    return name
