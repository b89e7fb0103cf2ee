"""``buffr mcp``: records an MCP server on standard streams, or replays it without the server."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from buffr.commands.flags import FLAGS, MATCHING, declare_flags, flags_of, path_of
from buffr.commands.parser import Parser

__all__ = ["declare", "run"]

HANDLES_SIGNALS = True
_NOT_STARTED = 2
_SHOWN = ("config", *MATCHING, "repeat", "replay-delays", "replay-clock", "log-format")
_TARGET = "http://stdio.invalid"
"""Stands for the command where the settings want an upstream; nobody ever connects to it."""


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Stands between an MCP client and a server that it starts as a command: relays their "
        "lines unchanged, and records them to a cassette. With --replay the cassette answers, "
        "and the command is not started. Put it before the server's command in the client's "
        "settings.\n\nThe exit code is the command's; 2 if it could not be started.",
        "--cassette FILE -- COMMAND [ARGUMENT ...]",
        examples=(
            ("buffr mcp --cassette files.json -- npx server-filesystem .", "record a session"),
            ("buffr mcp --cassette files.json --replay -- npx server-filesystem .", "replay it"),
        ),
        check=_check,
    )
    parser.takes_command()
    parser.flag("--cassette", metavar="FILE", help="cassette file; recording replaces it")
    parser.flag("--replay", action="store_true", help="answer from the cassette alone")
    parser.flag("--log", metavar="FILE", help="append buffr's log to this file")
    declare_flags(parser, _SHOWN, without=[one.name for one in FLAGS if one.name not in _SHOWN])


def _check(given: argparse.Namespace) -> None:
    if given.cassette is None:
        given.parser.error("--cassette is missing; it names the file to record to")
    if not given.command and not given.replay:
        given.parser.error(f"there is no command; usage: {given.parser.usage}")


def run(given: argparse.Namespace) -> int:
    """Record or replay until the client or the server is done; returns the exit code."""
    from buffr.commands.mcp.session import record, replay  # noqa: PLC0415  # help does without
    from buffr.commands.run.child import CannotStart, look_for  # noqa: PLC0415
    from buffr.commands.terminal import complain  # noqa: PLC0415
    from buffr.config import load  # noqa: PLC0415

    mode = "replay" if given.replay else "record"
    own = {"target": _TARGET, "port": "0", "mode": mode, "cassette": given.cassette}
    path = path_of(given, os.environ)
    config = load(
        Path(path) if path else None, os.environ, {"match": "mcp", **flags_of(given), **own}
    )
    with ExitStack() as open_files:
        stream: TextIO = sys.stderr
        if given.log is not None:
            stream = open_files.enter_context(Path(given.log).open("a", encoding="utf-8"))
        if given.replay:
            return replay(config, stream)
        try:
            look_for(given.command[0], os.environ)
            return record(config, stream, given.command)
        except CannotStart as error:
            complain(str(error))
            return _NOT_STARTED
