"""The tests and commands that docs/reliability.md names are there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
PAGE = (TREE / "docs/reliability.md").read_text()
CODE = re.findall(r"`([^`\n]+)`", PAGE)


def selections() -> Iterator[tuple[list[str], list[str]]]:
    """The paths and the words of each choice of tests, with ``pytest`` before it or not."""
    for text in CODE:
        words = [word for word in shlex.split(text) if "=" not in word]
        if words[:1] == ["pytest"]:
            words = words[1:]
        elif not words or not words[0].startswith("tests/"):
            continue
        chosen = words[words.index("-k") + 1] if "-k" in words else ""
        paths = [word for word in words if word.startswith("tests/")]
        yield paths, [word for word in chosen.split() if word not in ("or", "and", "not")]


def names_in(path: Path) -> str:
    """All names that ``-k`` can find in a file, or in the files below a directory."""
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    found = []
    for file in files:
        found.append(file.name)
        found += [
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ClassDef | ast.FunctionDef)
        ]
    return " ".join(found).lower()


@pytest.mark.parametrize(("paths", "words"), list(selections()), ids=" ".join)
def test_what_is_chosen_is_there(paths: list[str], words: list[str]) -> None:
    """Every file exists, and has a test for every word."""
    for path in paths:
        names = names_in(TREE / path)
        assert [word for word in words if word.lower() not in names] == []


def test_there_are_many() -> None:
    """The page is read as it is meant."""
    assert len(list(selections())) > 40


@pytest.mark.parametrize(
    "target", sorted({word.split()[1] for word in CODE if word.startswith("make ")})
)
def test_what_is_made_can_be(target: str) -> None:
    assert re.search(rf"^{re.escape(target)}:", (TREE / "Makefile").read_text(), re.MULTILINE)
