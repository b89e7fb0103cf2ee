"""``buffr version``: print the version. A module of its own, as each command has one."""

from __future__ import annotations

import argparse
import sys

from buffr import __version__
from buffr.commands.parser import Parser

__all__ = ["declare", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments: there are none."""
    parser.describe("Prints the version of buffr.", examples=(("buffr version", "print it"),))


def run(_: argparse.Namespace) -> int:
    """Print the version."""
    sys.stdout.write(f"buffr {__version__}\n")
    return 0
