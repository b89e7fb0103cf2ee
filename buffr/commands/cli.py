"""Runs the ``buffr`` command that a command line names."""

from __future__ import annotations

import io
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from buffr.commands.parser import Misused, find
from buffr.commands.terminal import complain, ends_with_its_reader

__all__ = ["main", "parsed", "run"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, and exit with its code."""
    with ends_with_its_reader():
        sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code. Errors go to standard error."""
    alone = not arguments and any(name.startswith("BUFFR_") for name in os.environ)
    try:
        module, given = parsed(["serve"] if alone else arguments)
        if alone:
            given.default = None  # the environment decides, not a file in the directory
        return _run(module, given)
    except Misused as error:
        complain(str(error))
        return error.code


def parsed(arguments: Sequence[str]) -> tuple[ModuleType, Namespace]:
    """The module of a command, and its arguments.

    Raises ``Misused``, and ``SystemExit`` after printing a requested text.
    """
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    command, parser, rest = find(arguments)
    if command.commands:
        parser.parse(rest)  # `--help`, `--version`, or an error
        sys.stdout.write(parser.format_help())
        raise SystemExit(command.misused)
    module = import_module(command.module)
    module.declare(parser)
    return module, parser.parse(rest)


def _run(module: ModuleType, given: Namespace) -> int:
    # Names of hosts and files may contain characters that the terminal lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN and not getattr(module, "HANDLES_SIGNALS", False):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # so that files are closed
    try:
        code: int = module.run(given)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        from buffr.errors import BuffrError  # noqa: PLC0415  # most commands end well

        if not isinstance(error, BuffrError):
            raise
        complain(str(error))
        return 1
    finally:
        signal.signal(signal.SIGINT, before)
    return code
