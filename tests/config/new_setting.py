"""Declares one more setting of every route, and nothing else; prints what comes of it.

It runs in a process of its own, because it comes between the declarations
and the models that are made of them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import buffr

# The declarations alone, before the package has made anything of them.
bare = sys.modules["buffr.config"] = ModuleType("buffr.config")
bare.__path__ = [str(Path(buffr.__file__).parent / "config")]

kinds = importlib.import_module("buffr.config.kinds")
route: Any = importlib.import_module("buffr.config.route")
schema = importlib.import_module("buffr.config.schema")


class WithThinking(route.RouteSettings):  # type: ignore[misc]  # as imported
    think_s: float | None = schema.setting(
        kinds.duration(),
        None,
        "How long the upstream is left to think.",
        key="think",
        variable="BUFFR_THINK",
        flag="think",
        modes=route.RECORDINGS,
    )


route.RouteSettings = importlib.import_module("attrs").frozen(kw_only=True)(WithThinking)
del sys.modules["buffr.config"]

from buffr.config import load  # noqa: E402
from buffr.config.json_schema import json_schema  # noqa: E402
from buffr.config.reference import reference  # noqa: E402
from buffr.config.shown import as_data  # noqa: E402
from buffr.errors import ConfigError  # noqa: E402


def written(value: str, mode: str = "auto") -> str:
    return f"""
reverse:
  - {{target: 'http://a', mode: {mode}, think: {value}}}
gateway:
  port: 1
  routes: {{g: {{target: 'http://a', mode: {mode}, think: {value}}}}}
forward:
  port: 2
  mode: {mode}
  think: {value}
  hosts: [{{host: h, think: {value}}}, {{host: i}}]
"""


def refused(text: str) -> list[str]:
    Path("s.yaml").write_text(text)
    try:
        load(Path("s.yaml"), {}, {})
    except ConfigError as error:
        return error.message.split("\n")
    return []


def shown(environ: dict[str, str], flags: dict[str, str]) -> object:
    Path("s.yaml").write_text(written("5s"))
    return as_data(load(Path("s.yaml"), environ, flags))[0]


print(  # noqa: T201
    json.dumps(
        {
            "reference": reference(),
            "schema": json_schema(),
            "errors": refused(written("soon")),
            "unused": refused(written("5s", "cache")),
            "misspelt": refused("forward: {thnik: 5s}"),
            "shown": shown({}, {}),
            "by_variable": shown({"BUFFR_THINK": "7s"}, {}),
            "by_flag": shown({}, {"think": "9s"}),
        }
    )
)
