"""``buffr key``: print a new access key. A module of its own, as each command has one."""

from __future__ import annotations

import argparse
import sys

from buffr.commands.parser import Parser

__all__ = ["declare", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments: there are none."""
    parser.describe(
        "Prints a new random access key, for BUFFR_KEY or `access.key` of the settings file.",
        examples=(("export BUFFR_KEY=$(buffr key)", "make clients give a key"),),
    )


def run(_: argparse.Namespace) -> int:
    """Print a key."""
    from buffr.wiring.access_keys import new_key  # noqa: PLC0415  # help does without

    sys.stdout.write(f"{new_key()}\n")
    return 0
