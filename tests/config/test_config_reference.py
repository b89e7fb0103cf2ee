"""The pages and files that describe settings agree with the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from buffr.config import Config, load
from buffr.config.reference import reference
from buffr.config.schema import Kind, Setting, settings_of
from buffr.config.shapes import Drafted, Rows, Rules, Section
from buffr.config.written import Scalar, Tag
from buffr.origin import Origin
from buffr.policy.mode import Mode

ROOT = Path(__file__).parents[2]


def every_setting(model: type = Config) -> Iterator[Setting]:
    for one in settings_of(model):
        yield one
        if isinstance(one.shape, Section | Drafted | Rows | Rules):
            yield from every_setting(one.shape.model)


SETTINGS = tuple(every_setting())
MODELS = (Config, *(one.shape.model for one in SETTINGS if hasattr(one.shape, "model")))


class TestReference:
    def test_committed_page(self) -> None:
        """docs/settings.md is what the models say; `python -m buffr.config.reference` writes it."""
        assert (ROOT / "docs" / "settings.md").read_text("utf-8") == reference()

    @pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: one.name)
    def test_every_setting(self, setting: Setting) -> None:
        """Every setting has its line, with variable, flag and a meaning in one sentence."""
        page = reference()
        assert setting.doc.endswith(".")
        assert setting.doc in page
        for name in (setting.variable, setting.flag.replace("_", "-")):
            assert name in page

    @pytest.mark.parametrize("setting", SETTINGS, ids=lambda one: one.name)
    def test_defaults(self, setting: Setting) -> None:
        """A default is shown as it could be written, and is a value that would be taken."""
        shape = setting.shape
        if isinstance(shape, Kind) and isinstance(setting.default, (bool, int, float, str, Mode)):
            tag = Tag.BOOL if isinstance(setting.default, bool) else Tag.TEXT
            shown = shape.show(setting.default)
            assert shape.parse(Scalar("here", shown, tag)) == setting.default

    @pytest.mark.parametrize("model", MODELS)
    def test_every_field(self, model: type) -> None:
        """No field of a model is out of reach, but for those that loading fills."""
        named = {one.within or one.name for one in settings_of(model)}
        filled = {
            "warnings",
            "no_proxy",
            "parents",
            "data_dir",
            "file",
            "name",
            "_table",
            "_bypass",
            "shown_as",
            "sources",
        }
        assert {field.name for field in attrs.fields(model)} <= named | filled


class TestOwnFile:
    def test_loads(self) -> None:
        """The repository's buffr.yaml is valid, and does what the tutorial says."""
        config = load(ROOT / "buffr.yaml", {}, {})
        assert config.warnings == ()
        assert config.data_dir == Path("data")
        (route,) = config.reverse
        assert route.target == Origin("https", "api.openai.com", 443)
        assert (route.port, route.mode) == (8080, Mode.AUTO)
        assert route.cassette == Path("data/api.openai.com.json")


class TestPurity:
    @pytest.mark.parametrize(
        "path", sorted((ROOT / "buffr" / "config").glob("*.py")), ids=lambda p: p.name
    )
    def test_imports(self, path: Path) -> None:
        """Settings know no reactor, no clock, no network and no chance."""
        forbidden = {"twisted", "OpenSSL", "time", "socket", "random", "re2", "os"}
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Import():
                    names = [alias.name for alias in node.names]
                case ast.ImportFrom():
                    names = [node.module or ""]
                case _:
                    continue
            assert not {name.partition(".")[0] for name in names} & forbidden
