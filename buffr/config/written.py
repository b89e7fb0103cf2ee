"""The values in a source as written, before validation: each has its text and its position."""

from __future__ import annotations

import enum

from attrs import frozen

__all__ = ["Broken", "Entry", "Listing", "Scalar", "Source", "Table", "Tag", "Written"]


class Tag(enum.Enum):
    """The type that YAML gives a scalar; values from other sources are untyped."""

    TEXT = "text"
    NUMBER = "a number"
    BOOL = "true or false"
    NULL = "nothing"
    DATE = "a date"
    UNTYPED = "untyped"


@frozen
class Scalar:
    """A single value as written. ``at`` is its position: ``buffr.yaml:12``, ``--port``."""

    at: str
    text: str
    tag: Tag = Tag.UNTYPED


@frozen
class Listing:
    """A YAML sequence."""

    at: str
    items: tuple[Written, ...]


@frozen
class Entry:
    """A key with its value, and the position of the key."""

    at: str
    key: str
    value: Written


@frozen
class Table:
    """A YAML mapping, in written order, no key twice."""

    at: str
    entries: tuple[Entry, ...]


@frozen
class Broken:
    """A value whose problem has already been reported."""

    at: str


Written = Scalar | Listing | Table | Broken


@frozen
class Source:
    """A YAML text's origin: a file (``name:12``) or an environment variable (``NAME line 12``)."""

    name: str
    is_file: bool = True

    def at(self, line: int, column: int = 0) -> str:
        """A position; lines and columns count from 1, and a column of 0 is left out."""
        if self.is_file:
            return f"{self.name}:{line}:{column}" if column else f"{self.name}:{line}"
        return f"{self.name} line {line}" + (f" column {column}" if column else "")
