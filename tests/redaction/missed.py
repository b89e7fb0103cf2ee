"""What is missed of the planted corpus, as a page of the documentation shows it.

``python tests/redaction/missed.py PAGE`` writes it into a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from planted import Planted, planted, told

from buffr.redaction.for_log import request_for_log
from buffr.redaction.redactor import Redactor
from buffr.redaction.rules import RedactionRules

__all__ = ["in_log", "on_disk", "with_missed"]

_BEGIN = "<!-- missed: begin, written by `make docs-reference` -->\n"
_END = "<!-- missed: end -->\n"
_RULES = RedactionRules()
_REDACTOR = Redactor(_RULES, b"salt of a cassette")


def on_disk(one: Planted) -> bool:
    """Whether a value reaches the disk."""
    return any(map(one.leaks, told(_REDACTOR.interaction(one.exchange))))


def in_log(one: Planted) -> bool:
    """Whether it reaches the log."""
    return one.leaks(request_for_log(one.exchange.request, _RULES).encode())


def with_missed(page: str) -> str:
    """The page with what is missed today. Raises ``ValueError`` without its markers."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no markers for what is missed")
    lines = "".join(f"{line}\n" for line in _lines())
    return f"{before}{begin}\n{lines}\n{end}{after}"


def _lines() -> Iterator[str]:
    every = planted()
    missed = [one for one in every if on_disk(one) or in_log(one)]
    yield f"Of {len(every)} planted secrets, {len(missed)} are missed."
    for one in missed:
        yield f"- in `{one.place}`, under `{one.name}`: `{one.template}` ({one.source})"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument)
        path.write_text(with_missed(path.read_text("utf-8")), "utf-8")
