"""The documentation's table of header fields.

``python -m buffr.matching.header_docs PAGE`` updates it in a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from buffr.matching.header_table import TABLE, HeaderClass, HeaderRow

__all__ = ["with_table"]

_BEGIN = "<!-- headers: begin, written by `make docs-reference` -->\n"
_END = "<!-- headers: end -->\n"

_TITLES = {
    HeaderClass.IDENTITY: "Identity: part of the key, and so is its absence",
    HeaderClass.OPTIONS: "Identity of `OPTIONS` requests",
    HeaderClass.VARIANT: "Variant: selects among the recordings of one key",
    HeaderClass.NEGOTIATED: "Variant if the recorded answer's `Vary` names it",
    HeaderClass.PRIVATE: "Noise, but two requests that differ in it never share a call",
    HeaderClass.NOISE: "Noise",
}


def with_table(page: str) -> str:
    """The page with the current table between its markers.

    Raises ``ValueError`` without markers.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no markers for the table")
    table = "".join(f"{line}\n" for line in _lines())
    return f"{before}{begin}\n{table}\n{end}{after}"


def _lines() -> Iterator[str]:
    yield "| Class | Header fields | Meaning |"
    yield "| --- | --- | --- |"
    for header_class, title in _TITLES.items():
        rows = [row for row in TABLE if row.header_class is header_class]
        for number, row in enumerate(rows):
            yield f"| {'' if number else title} | {_names(row)} | {row.why} |"
    yield f"| {_TITLES[HeaderClass.NEGOTIATED]} | any other | |"


def _names(row: HeaderRow) -> str:
    return ", ".join(f"`{name}`" for name in row.names)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument)
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")
