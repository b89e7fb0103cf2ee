"""``buffr cassette export``: a cassette in another tool's format."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from buffr.commands.cassette.arguments import snapshot_of
from buffr.commands.cassette.import_ import origin_of, write_file
from buffr.commands.parser import Parser
from buffr.commands.terminal import plain, times
from buffr.interchange.exporting import ExportReport, ExportTo, exported

__all__ = ["declare", "run"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Writes the interactions of a cassette in another tool's format, and reports what that "
        "cannot hold. A HAR holds everything: importing it gives the same cassette.",
        "FILE --to FORMAT",
        examples=(
            ("buffr cassette export api.json --to har -o api.har", "a HAR for other tools"),
            ("buffr cassette export api.json --to vcr -o api.yaml", "back to VCR.py"),
            ("buffr cassette export api.json --to curl", "the requests, on standard output"),
        ),
    )
    parser.argument("file", metavar="FILE", help="the cassette")
    parser.flag(
        "--to",
        metavar="FORMAT",
        required=True,
        choices=[str(each) for each in ExportTo],
        help=", ".join(ExportTo),
    )
    parser.flag("-o", "--output", metavar="FILE", help="where to; without it, standard output")
    parser.flag(
        "--target", metavar="URL", help="scheme and host for interactions that do not have them"
    )
    parser.flag("--report", metavar="FILE", help="write what was lost of each interaction as JSON")


def run(given: argparse.Namespace) -> int:
    """Export; returns the exit code: 1 if an interaction was left out."""
    snapshot = snapshot_of(given.file)
    report = ExportReport()
    pieces = exported(snapshot, ExportTo(given.to), report, origin_of(given.target))
    if given.output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
    else:
        write_file(Path(given.output), pieces)
    count = times(report.written, "interaction", "interactions")
    lines = [f"{given.file}: {count} exported ({given.to})"]
    lines += [f"  {count} x not kept: {loss}" for loss, count in sorted(report.counted().items())]
    lines += [f"  interaction {number} left out: {why}" for number, why in report.left_out]
    sys.stderr.write("".join(f"{plain(line)}\n" for line in lines))
    if given.report is not None:
        text = json.dumps(report.as_json(), indent=2) + "\n"
        write_file(Path(given.report), [text.encode()])
    return 1 if report.left_out else 0
