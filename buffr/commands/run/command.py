"""``buffr run``: runs a command with its HTTP traffic through its own proxy, and reports."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from buffr.commands.flags import MATCHING, declare_flags, mode_of
from buffr.commands.imports import for_good
from buffr.commands.parser import Parser, one_of
from buffr.commands.proxy import MODE_FLAGS

if TYPE_CHECKING:
    from buffr.isolate.loopback import Allowed, Published

__all__ = ["declare", "run"]

HANDLES_SIGNALS = True
_REPORTS = (".json", ".xml")
_SCOPE = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_LONGEST_S = 1e6
T = TypeVar("T")
_NOT_STARTED = 2
_SHOWN = (
    *("bypass", "config", "data-dir", "store", "ttl", "repeat", "replay-delays", "replay-clock"),
    *(*MATCHING, "allow-unrecorded", "ca-file", "ca-cert", "ca-key", "log-format"),
)
_OTHERWISE = ("target", "port", "listen", "cassette", "keep-host", "proxy")
"""Flags that ``buffr run`` does not have, or declares itself."""


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Runs a command whose HTTP and HTTPS go through a forward proxy of its own, and reports "
        "what was replayed, recorded and missed. Settings and BUFFR_... variables apply as for "
        "`buffr proxy`.\n\nThe exit code is the command's; 2 if buffr could not start it, 127 if "
        "there is no such command.",
        "-- COMMAND [ARGUMENT ...]",
        examples=(
            ("buffr run -- pytest", "record in the first run, replay in later ones"),
            (
                "buffr run --replay --clock recorded -- pytest",
                "replay an old recording at its own time",
            ),
            (
                "buffr run --replay --fail-on-miss --report buffr.xml -- npm test",
                "in CI: never touch the network, and fail if something was not recorded",
            ),
        ),
        check=_check,
    )
    parser.takes_command()
    for mode, text in MODE_FLAGS.items():
        parser.flag(f"--{mode}", action="store_true", help=text)
    parser.flag(
        "--cassette",
        metavar="FILE",
        help="one cassette for all hosts that no row names",
    )
    parser.flag(
        "--fail-on-miss", action="store_true", help="exit with 1 if a request found no recording"
    )
    parser.flag(
        "--fail-on-record", action="store_true", help="exit with 1 if something was recorded"
    )
    parser.flag(
        "--fail-on-unused", action="store_true", help="exit with 1 if a recording was not replayed"
    )
    parser.flag(
        "--accept-rules",
        action="store_true",
        help="with --replay: write the rules that make misses match into the settings file",
    )
    parser.flag("--report", metavar="FILE", help="write a report: FILE.json, or FILE.xml for JUnit")
    parser.flag(
        "--log", metavar="FILE", help="append buffr's log to this file, not to the terminal"
    )
    parser.flag(
        "--clock",
        metavar="TIME",
        type=_checked(_clock),
        help="set the command's clock, by libfaketime: to a date like 2026-11-29T09:30Z, or to "
        "`recorded`, the time of the first recording",
    )
    parser.flag(
        "--isolate",
        nargs="?",
        const="always",
        type=one_of("always", "try"),
        metavar="WHEN",
        help="run the command where every connection ends at buffr, whatever opens it (Linux); "
        "--isolate=try does without if the system forbids it",
    )
    parser.flag(
        "--allow",
        metavar="HOST:PORT",
        action="append",
        type=_checked(_allowed),
        default=[],
        help="with --isolate: relay connections to this service as they are; may be repeated",
    )
    parser.flag(
        "--publish",
        metavar="PORT",
        action="append",
        type=_checked(_published),
        default=[],
        help="with --isolate: a port of the command's that can be reached from outside, "
        "or OUTSIDE:INSIDE; may be repeated",
    )
    parser.flag(
        "--fail-on-escape",
        action="store_true",
        help="with --isolate: exit with 1 if an attempt to get out was refused",
    )
    parser.flag(
        "--scope", metavar="NAME", help="user name for the proxy, which names a scope [a new one]"
    )
    parser.flag(
        "--grace",
        metavar="SECONDS",
        type=_seconds,
        default=10.0,
        help="how long the command may take to end after SIGTERM [10]",
    )
    parser.flag(
        "-p",
        "--port",
        metavar="PORT",
        default="0",
        help="port on 127.0.0.1 [a free one]",
    )
    declare_flags(parser, _SHOWN, without=_OTHERWISE)


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A type for argparse that says what is wrong with a value."""

    def checked(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def _allowed(text: str) -> Allowed:
    from buffr.isolate.loopback import Allowed  # noqa: PLC0415  # help imports little

    return Allowed.parse(text)


def _published(text: str) -> Published:
    from buffr.isolate.loopback import Published  # noqa: PLC0415  # as above

    return Published.parse(text)


def _clock(text: str) -> str:
    if text != "recorded":
        try:
            datetime.fromisoformat(text)
        except ValueError:
            what = f"{text!r} must be recorded, or a date like 2026-11-29T09:30Z"
            raise ValueError(what) from None
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds")
    return seconds


def _check(given: argparse.Namespace) -> None:
    """Report errors before anything starts."""
    report, scope, wrong = given.report, given.scope, given.parser.error
    if report is not None and Path(report).suffix not in _REPORTS:
        wrong(f"--report: {report!r} must end in .json or .xml")
    if report is not None and not Path(report).parent.is_dir():
        wrong(f"--report: there is no directory {str(Path(report).parent)!r}")
    if scope is not None and not _SCOPE.fullmatch(scope):
        wrong(f"--scope: {scope!r} must have 1 to 64 letters, digits and . _ ~ -")
    if not given.isolate and (given.allow or given.publish or given.fail_on_escape):
        wrong("--allow, --publish and --fail-on-escape need --isolate")
    mode_of(given)


def run(given: argparse.Namespace) -> int:
    """Run the command in the arguments; returns the exit code."""
    if not given.command:
        sys.stderr.write(f"Usage: {given.parser.usage}\n")
        return _NOT_STARTED
    with for_good():
        from buffr.commands.run.session import run_command  # noqa: PLC0415  # help does without

    return run_command(given)
