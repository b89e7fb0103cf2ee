"""``buffr auto``, ``record``, ``replay``, ``cache`` and ``passthrough``: serve one upstream."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from buffr.commands.flags import MATCHING, MODES, declare_flags, flags_of, mode_of, path_of
from buffr.commands.parser import Parser

if TYPE_CHECKING:
    from buffr.config import Config

__all__ = ["declare", "run", "settings"]

HANDLES_SIGNALS = True
_SHOWN = (
    "target",
    "port",
    "listen",
    "config",
    "data-dir",
    "keep-host",
    "ca-file",
    "admin",
    "workers",
    "log-format",
)
_OF_CASSETTES = (
    "cassette",
    "store",
    "repeat",
    "replay-delays",
    "replay-clock",
    *MATCHING,
    "allow-unrecorded",
)
_OF_CACHES = ("store", "ttl", *MATCHING, "allow-unrecorded")
_API = "https://api.openai.com"
_TEXTS = {
    "auto": (
        "Serves one upstream: replays what is recorded, fetches and records everything else.",
        _OF_CASSETTES,
        ((f"buffr auto --target {_API}", "record to api.openai.com.json, and replay from it"),),
    ),
    "record": (
        "Serves one upstream: fetches and records everything, into a new cassette.",
        _OF_CASSETTES,
        (
            (
                f"buffr record --target {_API} --cassette chat.json",
                "make a new recording, and set the old one aside",
            ),
        ),
    ),
    "replay": (
        "Answers from a cassette alone, without the network.",
        _OF_CASSETTES,
        (
            (f"buffr replay --target {_API}", "replay api.openai.com.json"),
            ("buffr replay --cassette chat.json --port 9000", "replay a file on another port"),
        ),
    ),
    "cache": (
        "Serves one upstream as a shared HTTP cache (RFC 9111), in an SQLite file.",
        _OF_CACHES,
        (
            (
                "buffr cache --target https://www.wikidata.org --ttl 1d",
                "keep answers for a day, whatever they say themselves",
            ),
        ),
    ),
    "passthrough": (
        "Serves one upstream, and keeps nothing.",
        (),
        ((f"buffr passthrough --target {_API}", "relay requests, and log them"),),
    ),
}


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    text, own, examples = _TEXTS[parser.words[-1]]
    parser.describe(
        f"{text}\n\nFlags override BUFFR_... variables, which override the settings file. "
        "The file's rules for the target are used.",
        examples=examples,
        check=_flags,
    )
    declare_flags(parser, (*_SHOWN, *own))
    for mode in MODES:
        parser.flag(f"--{mode}", action="store_true", help=argparse.SUPPRESS)


def _flags(given: argparse.Namespace) -> dict[str, str]:
    mode = mode_of(given, own=given.parser.words[-1])
    assert mode is not None
    return {**flags_of(given), "mode": mode}


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
