"""``buffr cassette check``: whether the live API would still answer like the recordings."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from buffr.commands.cassette.arguments import snapshot_of
from buffr.commands.cassette.live_api import (
    DEFAULT_FILE,
    Chosen,
    chosen_from,
    declare_asking,
    run_walks,
)
from buffr.commands.parser import Parser
from buffr.commands.progress import Progress
from buffr.commands.terminal import complain, paint_for, plain
from buffr.drift.verdict import NOT_ASKED, Verdict, exit_status
from buffr.errors import BuffrError, ConfigError

__all__ = ["declare", "run", "say_unsafe"]


def declare(parser: Parser) -> None:
    """Describe the arguments."""
    parser.describe(
        "Asks the live API the recorded requests again, in recorded order, and says what has "
        "changed: first the structure of the answers, then their values. What differs in any two "
        "answers, such as times and identifiers, is noise. Only requests that change nothing are "
        "sent, and only to the recorded host, unless you say otherwise; credentials come from "
        "variables.\n\nExits with 0 if nothing has changed, with 1 for additions and values, with "
        "2 for breaking changes, and with 3 if something could not be asked.",
        "FILE ...",
        examples=(
            (
                "buffr cassette check api.json --credential authorization=API_KEY",
                "ask the recorded host, with the credential in $API_KEY",
            ),
            (
                "buffr cassette check api.json --only 'GET /v1/*' --sample 20 --rate 2/s",
                "ask about 20 of its requests, two each second",
            ),
            (
                "buffr cassette check api.json --against http://127.0.0.1:9000 --unsafe",
                "ask another server about all of them",
            ),
        ),
        check=_check,
    )
    parser.argument("files", metavar="FILE", nargs="+", help="cassettes")
    declare_asking(parser)
    parser.flag(
        "--write-rules",
        action="store_true",
        help="add the noise that was learnt to drift.volatile in the settings file",
    )
    parser.flag("--json", action="store_true", help="print a JSON object")
    parser.flag("--junit", action="store_true", help="print JUnit's XML, for CI servers")


def _check(given: argparse.Namespace) -> None:
    if given.json and given.junit:
        given.parser.error("--json and --junit are alternatives")
    if given.once and given.twice:
        given.parser.error("--once and --twice are alternatives")


def run(given: argparse.Namespace) -> int:
    """Check cassettes; returns the exit code."""
    try:
        chosen = [chosen_from(given, snapshot_of(file)) for file in given.files]
        return _report(given, chosen)
    except BuffrError as error:
        complain(str(error))
        return NOT_ASKED


def say_unsafe(given: argparse.Namespace, chosen: Sequence[Chosen]) -> None:
    """List the requests that may change something, before they are sent."""
    if not given.unsafe:
        return
    for one in chosen:
        for title in one.unsafe:
            sys.stderr.write(f"buffr: will be sent: {plain(title)}\n")
    sys.stderr.flush()


def _write_rules(given: argparse.Namespace, verdicts: Sequence[Verdict]) -> str:
    """Add what was learnt to the settings; returns a line about it. Raises ``ConfigError``."""
    from buffr.config import load  # noqa: PLC0415  # help does without
    from buffr.config.growing import with_entries  # noqa: PLC0415
    from buffr.config.rewriting import replace_file  # noqa: PLC0415

    rows = list(dict.fromkeys(one.learnt for one in verdicts if one.learnt is not None))
    if not rows:
        return "--write-rules: no noise was learnt"
    path = Path(given.config or DEFAULT_FILE)
    rules = [
        {
            "path": row.path,
            **({"json": list(row.json)} if row.json else {}),
            **({"headers": list(row.headers)} if row.headers else {}),
        }
        for row in rows
    ]
    try:
        path.touch()
        text = with_entries(path.read_bytes().decode(), {"drift": {"volatile": rules}})
        replace_file(path, text, lambda new: load(new, {}, {}, serves=False))
    except OSError as error:
        raise ConfigError(f"--write-rules: {path}: {error.strerror}") from error
    count = "1 rule" if len(rules) == 1 else f"{len(rules)} rules"
    return f"--write-rules: {count} added to {path}; see what they leave out"


def _report(given: argparse.Namespace, chosen: Sequence[Chosen]) -> int:
    from buffr.commands.cassette.drift_report import (  # noqa: PLC0415  # help does without
        as_json,
        as_junit,
        lines_of,
        summary,
    )

    say_unsafe(given, chosen)
    paint = paint_for(sys.stdout, os.environ)
    found: dict[str, list[Verdict]] = {str(one.snapshot.path): [] for one in chosen}
    as_text = not (given.json or given.junit)
    shows_lines = as_text and sys.stdout.isatty()
    with Progress("interactions", sum(len(one.steps) for one in chosen)) as progress:

        def tell(one: Chosen, verdict: Verdict) -> None:
            found[str(one.snapshot.path)].append(verdict)
            if not shows_lines:
                progress.step(verdict.number)
            if as_text:
                width = len(str(max(len(one.snapshot) - 1, 0)))
                for line in lines_of(verdict, width, paint):
                    sys.stdout.write(f"{line}\n")

        run_walks(given, chosen, tell)
    verdicts = [verdict for each in found.values() for verdict in each]
    if given.write_rules:
        complain(_write_rules(given, verdicts))
    if given.json:
        sys.stdout.write(as_json(found).decode())
    elif given.junit:
        sys.stdout.write(as_junit(found).decode())
    else:
        sys.stdout.write(f"{summary(verdicts, paint)}\n")
    return exit_status(verdicts)
