"""Searches for secrets of many kinds, of which a text takes few."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from attrs import frozen

from buffr.redaction.screen import Screen
from buffr.redaction.spans import SecretSpan

__all__ = ["Search", "Searches"]


@frozen(eq=False)
class Search:
    """A search for secrets of one kind.

    In a text in which ``shown`` (RE2) does not match, ``find`` finds nothing.
    """

    shown: str
    find: Callable[[bytes], Iterator[SecretSpan]]


class Searches:
    """Makes those searches whose patterns a screen shows in a text.

    They are in groups. What they yield overlaps; of two that find the same,
    the first comes first.
    """

    def __init__(self, *groups: Sequence[Search], probe: bytes) -> None:
        """``probe`` is a text that a pattern of them matches."""
        self._every = [each for group in groups for each in group]
        self._ends = [*accumulate(map(len, groups), initial=0)]
        self._screen = Screen([each.shown for each in self._every], probe=probe)

    def shown(self, text: bytes) -> Sequence[int]:
        """The numbers of the searches that may find something, in order."""
        return self._screen.shown(text)

    def find(self, text: bytes, shown: Iterable[int]) -> Iterator[SecretSpan]:
        """What those with these numbers find."""
        for number in shown:
            yield from self._every[number].find(text)

    def of_group(self, group: int, shown: Sequence[int]) -> Sequence[int]:
        """Those of the numbers that are in a group."""
        start, end = self._ends[group : group + 2]
        return shown[bisect_left(shown, start) : bisect_left(shown, end)]
