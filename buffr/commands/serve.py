"""``buffr serve``: serve what a settings file describes, buffr's own or reference-api-buddy's."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buffr.commands.flags import FLAGS, declare_flags, flags_of, path_of
from buffr.commands.imports import for_good
from buffr.commands.parser import Parser

if TYPE_CHECKING:
    from buffr.config import Config

__all__ = ["buddy_arguments", "declare", "run", "settings"]

HANDLES_SIGNALS = True
_DEFAULT_FILE = "buffr.yaml"
_BUDDYS = ("config", "host", "listen", "port", "log_level")


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        f"Serves what {_DEFAULT_FILE}, or the file that --config names, describes: any number of "
        "upstreams, a gateway, a forward proxy. The file may be the JSON file of "
        "reference-api-buddy.\n\nFlags override BUFFR_... variables, which override the file.",
        examples=(
            ("buffr serve", f"serve what {_DEFAULT_FILE} in this directory describes"),
            ("buffr serve --config gateway.yaml --port 9000", "another file, on another port"),
        ),
        check=buddy_arguments,
    )
    declare_flags(parser, (flag.name for flag in FLAGS))
    parser.set_defaults(default=_DEFAULT_FILE)
    for name in ("--host", "--log-level"):
        parser.flag(name, help=argparse.SUPPRESS)  # reference-api-buddy's


def buddy_arguments(given: argparse.Namespace) -> list[str] | None:
    """The arguments for ``api-buddy`` where the file is that program's; else ``None``.

    Raises ``Misused`` for flags that do not apply.
    """
    theirs = given.config is not None and given.config.endswith(".json") and _is_buddys(given)
    if not theirs:
        for name, instead in (("host", "--listen"), ("log_level", "--log-format")):
            if getattr(given, name) is not None:
                text = f"is for the settings of reference-api-buddy; did you mean '{instead}'?"
                given.parser.error(f"--{name.replace('_', '-')} {text}")
        return None
    for name in sorted(flags_of(given).keys() - set(_BUDDYS)):
        flag = name.replace("_", "-")
        given.parser.error(f"--{flag} does not apply to {given.config}, a reference-api-buddy file")
    said = {name: getattr(given, name) for name in _BUDDYS}
    said["host"] = said.pop("listen") or said["host"]
    return [
        f"--{name.replace('_', '-')}={value}" for name, value in said.items() if value is not None
    ]


def _is_buddys(given: argparse.Namespace) -> bool:
    from buffr.config.api_buddy import looks_like_api_buddy  # noqa: PLC0415  # rarely asked

    try:
        document: Any = json.loads(Path(given.config).read_bytes())
    except (OSError, ValueError):
        return False
    return looks_like_api_buddy(document)


def _file(given: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    default = given.default
    there = default is not None and Path(default).exists()
    return path_of(given, environ) or (default if there else None)


def settings(given: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings, of a file of buffr's own. Raises ``ConfigError``."""
    from buffr.config import load  # noqa: PLC0415  # help does without

    path = _file(given, environ)
    return load(Path(path) if path else None, environ, flags_of(given))


def run(given: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    theirs = buddy_arguments(given)
    if theirs is not None:
        from buffr.commands.api_buddy import main  # noqa: PLC0415  # rarely used

        return main(theirs)
    path = _file(given, os.environ)
    with for_good():
        from buffr.commands.tap import serve  # noqa: PLC0415  # help does without Twisted

    missing = given.default if path is None else None
    return serve(path, flags_of(given), missing=missing)
