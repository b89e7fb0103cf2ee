"""Writes plain data as YAML that fits into a file which people write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Data", "block", "flow"]

Data = str | Sequence["Data"] | Mapping[str, "Data"]
"""Texts, lists, and mappings whose keys are plain words."""

_DOTTED = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]*[a-z][a-z0-9-]*)+")


def block(data: Data) -> list[str]:
    """The lines of a list or a mapping, one entry a line."""
    return list(_lines(data))


def _lines(data: Data) -> Iterator[str]:
    if isinstance(data, str):
        yield _scalar(data)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if isinstance(value, str):
                yield f"{key}: {_scalar(value)}"
            else:
                yield f"{key}:"
                yield from (f"  {line}" for line in _lines(value))
    else:
        for item in data:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def flow(data: Data) -> str:
    """The same on one line, as within ``{}`` or ``[]``."""
    if isinstance(data, str):
        return _scalar(data)
    if isinstance(data, Mapping):
        return "{" + ", ".join(f"{key}: {flow(value)}" for key, value in data.items()) + "}"
    return "[" + ", ".join(map(flow, data)) + "]"


def _scalar(text: str) -> str:
    """In single quotes, where only the quote itself is special; a dotted name without."""
    if _DOTTED.fullmatch(text):
        return text
    return "'" + text.replace("'", "''") + "'"
