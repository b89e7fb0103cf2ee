"""``buffr proxy``: serve as a forward proxy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from buffr.commands.flags import MATCHING, declare_flags, flags_of, mode_of, path_of
from buffr.commands.parser import Parser

if TYPE_CHECKING:
    from buffr.config import Config

__all__ = ["MODE_FLAGS", "declare", "run", "settings"]

HANDLES_SIGNALS = True
MODE_FLAGS = {
    "auto": "replay what is recorded, fetch and record the rest (the default)",
    "record": "fetch and record everything anew",
    "replay": "answer from cassettes alone, without the network",
    "cache": "answer from an HTTP cache, and fetch what is not fresh",
    "passthrough": "relay, and keep nothing",
}
_SHOWN = (
    *("port", "listen", "bypass", "config", "data-dir", "store", "ttl", "repeat"),
    *("replay-delays", "replay-clock", *MATCHING, "allow-unrecorded"),
    *("ca-file", "ca-cert", "ca-key", "admin", "workers", "log-format"),
)


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Serves as a forward proxy for HTTP and HTTPS: decrypts what comes by CONNECT with "
        "certificates of its own CA (see `buffr ca`). Each host has a cassette in the data "
        "directory.\n\nFlags override BUFFR_... variables, which override `forward:` of the "
        "settings file.",
        examples=(
            ("buffr proxy", "record each host, and replay it"),
            ("buffr proxy --replay --port 9000", "never touch the network"),
            ("buffr proxy --bypass localhost,*.corp.example", "tunnel these hosts untouched"),
        ),
        check=_flags,
    )
    for mode, text in MODE_FLAGS.items():
        parser.flag(f"--{mode}", action="store_true", help=text)
    declare_flags(parser, _SHOWN)


def _flags(given: argparse.Namespace) -> dict[str, str]:
    mode = mode_of(given)
    flags = {"proxy": "true", **flags_of(given)}
    return flags if mode is None else {**flags, "mode": mode}


def settings(given: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings. Raises ``ConfigError``, ``Misused``."""
    from buffr.config import load  # noqa: PLC0415  # help does without

    path = path_of(given, environ)
    return load(Path(path) if path else None, environ, _flags(given))


def run(given: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    flags = _flags(given)
    from buffr.commands.tap import serve  # noqa: PLC0415  # help does without Twisted

    return serve(path_of(given, os.environ), flags)
