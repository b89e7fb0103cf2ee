"""``buffr doctor``: check the installation, as text for people and for reports of problems."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from buffr.commands.flags import FLAGS, declare_flags, flags_of, path_of
from buffr.commands.parser import Parser
from buffr.commands.terminal import paint_for, plain

if TYPE_CHECKING:
    from buffr.commands.doctor.checks import Check
    from buffr.config import Config

__all__ = ["declare", "run"]

_DEFAULT_FILE = "buffr.yaml"
_MARKS = {"ok": ("32", "ok"), "warning": ("33", "warning"), "fault": ("31", "FAULT")}


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Checks the installation, with the settings that `buffr serve` would have: versions, "
        "settings and where they are from, the CA and which clients trust it, ports, cassettes, "
        "and a request through a proxy of its own that is recorded and replayed. Nothing is "
        "changed, nothing leaves this machine, and secrets in the settings are masked. Exits with "
        "1 if there is a fault.",
        examples=(
            ("buffr doctor", "with buffr.yaml of this directory, if there is one"),
            ("buffr doctor --json > doctor.json", "for a report of a problem"),
            ("buffr doctor --config ci.yaml --no-live", "without the request"),
        ),
    )
    parser.flag("--json", action="store_true", help="print JSON")
    parser.flag("--no-live", action="store_true", help="make no request")
    declare_flags(parser, (flag.name for flag in FLAGS))


def run(given: argparse.Namespace) -> int:
    """Check everything; returns the exit code."""
    found = _checked(given, os.environ)
    if given.json:
        sys.stdout.write(json.dumps(_as_data(found), indent=2, ensure_ascii=False) + "\n")
    else:
        _print(found)
    return 1 if any(one.verdict == "fault" for one in found) else 0


def _checked(given: argparse.Namespace, environ: Mapping[str, str]) -> list[Check]:
    from datetime import UTC, datetime  # noqa: PLC0415  # help does without all of these

    from buffr.commands.doctor import checks  # noqa: PLC0415

    config, problem = _settings(given, environ)
    found = [
        checks.versions(),
        checks.settings(config, problem),
        checks.authority(config, environ, datetime.now(UTC)),
        checks.ports(config),
        checks.cassettes(config),
    ]
    if not given.no_live:
        from buffr.commands.doctor.live_check import replayed  # noqa: PLC0415

        wrong = replayed()
        if wrong is None:
            found.append(checks.Check("live", "ok", "a request was recorded, and replayed"))
        else:
            found.append(checks.Check("live", "fault", wrong))
    return found


def _settings(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[Config, str | None]:
    """The settings, or the defaults and why those that are given cannot be used."""
    from buffr.config import Config, load  # noqa: PLC0415
    from buffr.errors import ConfigError  # noqa: PLC0415

    there = _DEFAULT_FILE if Path(_DEFAULT_FILE).exists() else None
    name = path_of(given, environ) or there
    path, flags = Path(name) if name else None, flags_of(given)
    try:
        return load(path, environ, flags), None
    except ConfigError as error:
        if not error.message.startswith("no route"):
            return Config(), str(error)
    return load(path, environ, flags, serves=False), None


def _print(found: Sequence[Check]) -> None:
    paint = paint_for(sys.stdout, os.environ)
    for one in found:
        code, word = _MARKS[one.verdict]
        sys.stdout.write(f"{one.name:<10}{paint(code, f'{word:<8}')} {plain(one.summary)}\n")
        for line in one.lines:
            sys.stdout.write(f"{'':<19}{plain(line)}\n")


def _as_data(found: Sequence[Check]) -> dict[str, object]:
    shown = {
        one.name: {"verdict": one.verdict, "summary": one.summary, **one.data} for one in found
    }
    return {"ok": all(one.verdict != "fault" for one in found), "checks": shown}
