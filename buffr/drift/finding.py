"""One difference between a recorded and a live answer, and how much it matters."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from attrs import frozen

from buffr.matching.suggestion import json_path

__all__ = ["ANY", "Finding", "Place", "Severity", "Spot", "excerpt", "worst"]

ANY: Final = -1
"""In a place: every element of an array, and every member of an object used as a map."""

Place = tuple[str | int, ...]
"""A place in a document: names, and ``ANY`` for elements; empty for the whole document."""

Spot = tuple[str, Place]
"""A part of an answer (``status``, ``header etag``, ``body``, ``event delta``), and a place in it.

It identifies noise and findings across several answers to the same request.
"""

_LONGEST = 60


class Severity(IntEnum):
    """How much a difference matters to a client.

    ``BREAKING``: a client that relied on the recorded answer may fail.
    ``ADDITION``: something new, which a tolerant client ignores. ``VALUE``:
    the same structure with other content.
    """

    VALUE = 1
    ADDITION = 2
    BREAKING = 3

    @property
    def word(self) -> str:
        return self.name.lower()


@frozen
class Finding:
    """A difference. ``recorded`` and ``live`` are short texts without credentials, if they help."""

    severity: Severity
    part: str
    place: Place
    what: str
    recorded: str | None = None
    live: str | None = None

    @property
    def spot(self) -> Spot:
        return self.part, self.place

    @property
    def path(self) -> str:
        """The place as a JSONPath (RFC 9535); empty for the whole part."""
        return json_path(self.place, general=True) if self.place else ""

    def __str__(self) -> str:
        where = f"{self.part} {self.path}".rstrip()
        if self.recorded is None and self.live is None:
            return f"{where}: {self.what}"
        values = [value for value in (self.recorded, self.live) if value is not None]
        return f"{where}: {self.what}: {' -> '.join(values)}"


def worst(findings: Iterable[Finding]) -> Severity | None:
    """The highest severity; ``None`` without findings."""
    return max((one.severity for one in findings), default=None)


def excerpt(text: str) -> str:
    """The beginning of a text, for a line of a report."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
