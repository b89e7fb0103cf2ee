"""Figures for people: a table on a terminal, aligned lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Literal

from attrs import field, frozen

from buffr.commands.terminal import paint_for, plain

__all__ = ["Column", "Table", "print_facts", "print_table"]

_GAP = "  "


@frozen
class Column:
    """``title`` is shown on a terminal alone."""

    title: str
    align: Literal["left", "right"] = "left"


@frozen
class Table:
    """Rows of as many texts as there are columns. Control characters are escaped when shown."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]] = field(factory=list)


def print_table(table: Table) -> None:
    """Write a table to standard output; nothing if it has no rows."""
    rows = [[plain(cell) for cell in row] for row in table.rows]
    if not rows:
        return
    if paint_for(sys.stdout, os.environ).on:
        _print_rich(table.columns, rows, header=True)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        sys.stdout.write(_GAP.join(cells).rstrip() + "\n")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Write names and what is to be said of each to standard output.

    A name that is empty continues the one above it.
    """
    cells = [(plain(name), plain(value)) for name, value in facts]
    if paint_for(sys.stdout, os.environ).on:
        _print_rich((Column(""), Column("")), cells, header=False)
        return
    width = max((len(name) for name, _ in cells), default=0)
    sys.stdout.write("".join(f"{name:<{width}}{_GAP}{value}\n" for name, value in cells))


def _print_rich(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, header: bool) -> None:
    from rich import box  # noqa: PLC0415  # of no use in a pipe
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = RichTable(box=box.SIMPLE_HEAD if header else None, show_header=header, pad_edge=False)
    for number, column in enumerate(columns):
        style = "bold cyan" if number == 0 else ""
        shown.add_column(column.title, justify=column.align, style=style, overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    Console(highlight=False).print(shown)
