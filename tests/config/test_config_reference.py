"""The pages and files that describe settings agree with the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs

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

    def test_every_setting(self) -> None:
        """Every setting has its line, with variable, flag and a meaning in one sentence."""
        page = reference()
        for setting in SETTINGS:
            assert setting.doc.endswith("."), setting.name
            for told in (setting.doc, setting.variable, setting.flag.replace("_", "-")):
                assert told in page, setting.name

    def test_defaults(self) -> None:
        """A default is shown as it could be written, and is a value that would be taken."""
        tried = 0
        for setting in SETTINGS:
            shape, default = setting.shape, setting.default
            if isinstance(shape, Kind) and isinstance(default, (bool, int, float, str, Mode)):
                tag = Tag.BOOL if isinstance(default, bool) else Tag.TEXT
                taken = shape.parse(Scalar("here", shape.show(default), tag))
                assert taken == default, setting.name
                tried += 1
        assert tried > 50

    def test_every_field(self) -> None:
        """No field of a model is out of reach, but for those that loading fills."""
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
        for model in MODELS:
            named = {one.within or one.name for one in settings_of(model)}
            assert {field.name for field in attrs.fields(model)} <= named | filled, model


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
    def test_imports(self) -> None:
        """Settings know no reactor, no clock, no network and no chance."""
        forbidden = {"twisted", "OpenSSL", "time", "socket", "random", "re2", "os"}
        for path in (ROOT / "buffr" / "config").glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.Import():
                        names = [alias.name for alias in node.names]
                    case ast.ImportFrom():
                        names = [node.module or ""]
                    case _:
                        continue
                assert not {name.partition(".")[0] for name in names} & forbidden, path.name
