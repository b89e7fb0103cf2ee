"""``python -m buffr.commands.reference docs/commands.md``: each command, out of its parser."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from buffr.commands.parser import Parser, find
from buffr.commands.tree import ROOT, Command

__all__ = ["parsers", "reference"]

_MARK = "<!-- What follows is written by `make docs-reference`. -->\n"


def parsers(command: Command = ROOT, words: tuple[str, ...] = ()) -> Iterator[Parser]:
    """The parser of each command, in the order of the tree."""
    for one in command.commands:
        path = (*words, one.name)
        if one.module:
            _, parser, _ = find(path)
            import_module(one.module).declare(parser)
            yield parser
        yield from parsers(one, path)


def reference(page: str) -> str:
    """The page with what follows its mark made anew, in Markdown."""
    before, mark, _ = page.partition(_MARK)
    assert mark, "the page has no mark"
    return "\n".join((before + mark, *map(_section, parsers())))


def _section(parser: Parser) -> str:
    lines = [f"## {parser.prog}", "", f"    {parser.usage}", "", str(parser.description), ""]
    rows = [_row(one) for one in (*parser.arguments, *parser.flags) if "--help" not in _names(one)]
    if rows:
        lines += ["| Option | does |", "| --- | --- |", *rows, ""]
    for call, does in parser.examples:
        lines += [f"    {call}    # {does}"]
    return "\n".join((*lines, ""))


def _names(action: argparse.Action) -> str:
    value = f" {action.metavar}" if action.nargs != 0 and action.metavar else ""
    if not action.option_strings:
        return str(action.metavar)
    return ", ".join(f"{name}{value}" for name in action.option_strings)


def _row(action: argparse.Action) -> str:
    cells = (f"`{_names(action)}`", str(action.help))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(reference(path.read_text("utf-8")), "utf-8")
