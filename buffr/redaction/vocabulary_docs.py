"""The documentation's tables of the vocabulary of telling names.

``python -m buffr.redaction.vocabulary_docs PAGE`` updates them in a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from buffr.redaction.vocabulary import (
    NEVER,
    OPAQUE_PAIRS,
    OPAQUE_WORDS,
    SECRET_PAIRS,
    SECRET_WORDS,
)

__all__ = ["with_tables"]

_BEGIN = "<!-- vocabulary: begin, written by `make docs-reference` -->\n"
_END = "<!-- vocabulary: end -->\n"


def with_tables(page: str) -> str:
    """The page with the current tables between its markers.

    Raises ``ValueError`` without markers.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no markers for the vocabulary")
    tables = "".join(f"{line}\n" for line in _lines())
    return f"{before}{begin}\n{tables}\n{end}{after}"


def _lines() -> Iterator[str]:
    yield "| A name that contains | Its value is hidden |"
    yield "| --- | --- |"
    yield f"| the word {_listed(SECRET_WORDS)} | unless it cannot be a secret |"
    yield f"| the words {_listed(SECRET_PAIRS)} | unless it cannot be a secret |"
    yield f"| the word {_listed(OPAQUE_WORDS)} | if it looks random |"
    yield f"| the words {_listed(OPAQUE_PAIRS)} | if it looks random |"
    yield ""
    yield "Never redacted, whatever the words (patterns for whole names; `x-` is optional):"
    yield ""
    for pattern in NEVER:
        yield f"- `{pattern}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument)
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
