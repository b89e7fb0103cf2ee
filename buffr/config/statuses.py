"""A set of HTTP statuses, as settings name it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

__all__ = ["StatusSet"]

_ENTRY = re.compile(
    r"(?P<no>!?)(?:(?P<hundred>[1-9])xx|(?P<low>[1-9][0-9]{2})(?:-(?P<high>[1-9][0-9]{2}))?)",
    re.IGNORECASE,
)


@frozen
class StatusSet:
    """The statuses in any of ``included`` and in none of ``excluded``.

    An empty ``included`` means all statuses.
    """

    included: tuple[range, ...] = ()
    excluded: tuple[range, ...] = ()

    @classmethod
    def of(cls, *entries: str) -> StatusSet:
        """From entries like ``200``, ``2xx``, ``400-499`` and ``!429``, in any order.

        An entry that is none of these raises ``ValueError``.
        """
        included: list[range] = []
        excluded: list[range] = []
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None:
                raise ValueError(entry)
            (excluded if match["no"] else included).append(_range(match))
        return cls(tuple(included), tuple(excluded))

    @classmethod
    def union(cls, sets: Iterable[StatusSet]) -> StatusSet:
        """One set out of the sets of single entries."""
        parts = tuple(sets)
        return cls(
            tuple(one for part in parts for one in part.included),
            tuple(one for part in parts for one in part.excluded),
        )

    def __contains__(self, status: object) -> bool:
        if any(status in statuses for statuses in self.excluded):
            return False
        return not self.included or any(status in statuses for statuses in self.included)


def _range(match: re.Match[str]) -> range:
    if match["hundred"]:
        first = int(match["hundred"]) * 100
        return range(first, first + 100)
    low = int(match["low"])
    high = int(match["high"] or low)
    if high < low:
        raise ValueError(match[0])
    return range(low, high + 1)
