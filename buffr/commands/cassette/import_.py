"""``buffr cassette import``: recordings of other tools become cassettes."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from buffr.commands.cassette.arguments import declare_names, listed
from buffr.commands.parser import Parser
from buffr.commands.progress import Progress
from buffr.commands.terminal import complain, plain, times
from buffr.errors import BuffrError, ConfigError
from buffr.interchange.formats import Format
from buffr.interchange.importing import FileReport, Importing, found_in, target_for
from buffr.origin import Origin
from buffr.redaction.rules import RedactionRules

__all__ = ["declare", "origin_of", "run", "write_file"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Makes cassettes of files that other tools recorded. The format is recognised by content. "
        "Of a directory, all files are imported that one of the importers knows. Credentials are "
        "redacted on the way. What a source does not have is reported.",
        "FILE|DIRECTORY ...",
        examples=(
            ("buffr cassette import tests/cassettes", "a .json beside each VCR.py file"),
            ("buffr cassette import session.har -o api.json", "one cassette from a HAR"),
            (
                "buffr cassette import stubs --target https://api.example.com -o api.json",
                "WireMock mappings, which have no host",
            ),
        ),
    )
    parser.argument("paths", metavar="FILE|DIRECTORY", nargs="+", help="recordings of other tools")
    parser.flag(
        "-o",
        "--output",
        metavar="PATH",
        help="a cassette for all of them (ends in .json), or a directory for a cassette each; "
        "without it, each cassette is written beside its source",
    )
    parser.flag(
        "--from",
        dest="kind",
        metavar="FORMAT",
        choices=[str(kind) for kind in Format],
        help="the format, where it is not recognised: " + ", ".join(Format),
    )
    parser.flag("--target", metavar="URL", help="scheme and host for sources that do not have them")
    parser.flag(
        "--report",
        metavar="FILE",
        help="write what was lost of each interaction as JSON; - is standard output",
    )
    declare_names(parser)


def run(given: argparse.Namespace) -> int:
    """Import; returns the exit code: 1 if a file or an interaction could not be imported."""
    rules = RedactionRules.with_extra(
        headers=listed(given.headers), fields=listed(given.fields), unsafe="warn"
    )
    with Progress("interactions") as progress:
        importing = Importing(
            rules,
            complain,
            kind=None if given.kind is None else Format(given.kind),
            origin=origin_of(given.target),
            progress=progress.step,
        )
        reports, done = _imported(given, importing)
    for report in reports:
        _tell(report, sys.stderr if given.report == "-" else sys.stdout)
    if given.report is not None:
        _write(given.report, reports)
    return 0 if done and not any(report.refused for report in reports) else 1


def origin_of(url: str | None) -> Origin | None:
    """The origin that ``--target`` names. Raises ``ConfigError``."""
    try:
        return None if url is None else Origin.parse(url)
    except ValueError as error:
        raise ConfigError(f"--target {url}: it {error}") from error


def _imported(given: argparse.Namespace, importing: Importing) -> tuple[list[FileReport], bool]:
    output = None if given.output is None else Path(given.output)
    roots = [Path(each) for each in given.paths]
    if output is not None and output.suffix == ".json":
        found = [path for root in roots for path in found_in(root, complain)]
        return importing.run(found, output), True
    reports: list[FileReport] = []
    done, taken = True, set[Path]()
    for root in roots:
        try:
            for path in found_in(root, complain):
                target = target_for(path, root, output, taken)
                target.parent.mkdir(parents=True, exist_ok=True)
                reports += importing.run([path], target)
        except BuffrError as error:
            complain(str(error))
            done = False
    return reports, done


def _tell(report: FileReport, stream: TextIO) -> None:
    count = times(report.imported, "interaction", "interactions")
    lines = [f"{report.path}: {count} imported ({report.kind})"]
    lines += [f"  {count} x {loss}" for loss, count in sorted(report.counted().items())]
    lines += [f"  interaction {number} not imported: {why}" for number, why in report.refused]
    lines.append(f"  {report.kind} never has: " + "; ".join(report.lacks))
    stream.write("".join(f"{plain(line)}\n" for line in lines))


def _write(name: str, reports: list[FileReport]) -> None:
    text = json.dumps({"files": [report.as_json() for report in reports]}, indent=2) + "\n"
    if name == "-":
        sys.stdout.write(text)
    else:
        write_file(Path(name), [text.encode()])


def write_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file as a whole or not at all. Raises ``ConfigError``."""
    beside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with beside.open("wb") as file:
            file.writelines(pieces)
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)
