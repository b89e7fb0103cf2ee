"""The rows of all benchmarks as one table, which is Markdown and reads well as it is."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

__all__ = ["Row", "rendered"]

_TITLES = ("benchmark", "measure", "server", "figure", "to buffr", "target")


@frozen
class Row:
    """One figure. It is to be ``most`` or ``least``, where there is a target."""

    benchmark: str
    measure: str
    server: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def target(self) -> str:
        if self.most is not None:
            return f"<= {_figure(self.most)}, {'met' if self.value <= self.most else 'missed'}"
        if self.least is not None:
            return f">= {_figure(self.least)}, {'met' if self.value >= self.least else 'missed'}"
        return ""


def _figure(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def rendered(rows: Sequence[Row]) -> str:
    """The table, with each figure's ratio to buffr's for the same measure."""
    ours = {(row.benchmark, row.measure): row.value for row in rows if row.server == "buffr"}
    cells = [_TITLES]
    for row in rows:
        own = ours.get((row.benchmark, row.measure))
        ratio = f"{row.value / own:.2f}" if own and row.server != "buffr" else ""
        figure = _figure(row.value)
        cells.append((row.benchmark, row.measure, row.server, figure, ratio, row.target))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"
