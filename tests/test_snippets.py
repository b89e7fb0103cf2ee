"""What readers copy from the documentation: settings that buffr takes, and calls that it knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from buffr.commands.cli import parsed
from buffr.config import load
from buffr.config.model import Config
from buffr.config.schema import settings_of
from buffr.errors import ConfigError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n|\n(?= {4}))+")
_KEY = re.compile(r"^([a-z_]+):(?= |$)", re.MULTILINE)
_CALL = re.compile(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*buffr ([a-z-](?:.|(?<=\\)\n)*)$", re.MULTILINE)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Blocks of code, each with its language, if that is named."""
    for match in _FENCE.finditer(page):
        yield match[1], match[2]
    for match in _INDENTED.finditer(_FENCE.sub("", page)):
        yield "", re.sub(r"^ {4}", "", match[0], flags=re.MULTILINE)


def _settings() -> Iterator[tuple[str, str]]:
    known = {one.name for one in settings_of(Config)}
    for page in PAGES:
        for number, (language, text) in enumerate(blocks(page.read_text("utf-8"))):
            keys = set(_KEY.findall(text))
            if language in ("", "yaml") and keys & known:
                yield f"{page.name}-{number}", text


def _calls() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page.name == "commands.md":  # made from the commands' help, which has tests of its own
            continue
        for language, text in blocks(page.read_text("utf-8")):
            if language in ("", "sh", "console"):
                for match in _CALL.finditer(text):
                    yield page.name, match[1].replace("\\\n", " ")


SETTINGS = dict(_settings())
CALLS = sorted(set(_calls()))


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_taken(name: str, tmp_path: Path) -> None:
    """A gateway may be shown without its routes, where they do not matter."""
    file = tmp_path / "buffr.yaml"
    file.write_text(SETTINGS[name])
    try:
        warnings = load(file, {}, {}, serves=False).warnings
    except ConfigError as error:
        (line,) = str(error).splitlines()
        assert "gateway.routes: is missing" in line
    else:
        assert [one for one in warnings if "is not verified" not in str(one)] == []


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_calls_are_known(page: str, call: str) -> None:
    """As far as their arguments go."""
    words = shlex.split(call.replace("…", ""), comments=True)
    end = next((at for at, word in enumerate(words) if word in ("|", ">", "2>", "&", "&&")), None)
    module, given = parsed(words[:end])
    assert given.parser.words
    assert callable(module.run)


def test_there_are_some() -> None:
    assert len(SETTINGS) > 30
    assert len(CALLS) > 60
