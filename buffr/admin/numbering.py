"""Ids of exchanges, computed from their positions: nothing is kept for each of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from attrs import define, field

__all__ = ["Numbering"]

_MOST_EARLY = 20_000


@define(eq=False)
class Numbering:
    """Gives ids in the order in which exchanges end, but to those that are shown before.

    The exchange at a position has the id ``position + 1``, and one more for
    each id that was given early until then. ``first`` is the first position
    that is still kept.
    """

    _early: list[int] = field(init=False, factory=list)
    _ends: list[int] = field(init=False, factory=list)
    _before: int = field(init=False, default=0)
    _taken: dict[int, int] = field(init=False, factory=dict)

    def early(self, end: int) -> int:
        """An id for an exchange under way; ``end`` is the position of the next one that ends."""
        number = end + 1 + self._before + len(self._early)
        self._early.append(number)
        self._ends.append(end)
        return number

    def took(self, number: int, position: int) -> None:
        """An exchange with an early id has ended, at this position."""
        self._taken[number] = position

    def of(self, position: int) -> int:
        """The id of an exchange at a position that has no early one."""
        return position + 1 + self._before + bisect_right(self._ends, position)

    def position(self, number: int) -> int | None:
        """The position of an id; ``None`` for an early one whose exchange has not ended."""
        taken = self._taken.get(number)
        if taken is not None:
            return taken
        before = bisect_left(self._early, number)
        if before < len(self._early) and self._early[before] == number:
            return None
        return number - 1 - self._before - before

    def forget(self, first: int) -> None:
        """Forget what is before the first position that is kept, once it is much."""
        if len(self._early) < _MOST_EARLY:
            return
        gone = bisect_left(self._ends, first)
        self._before += gone
        del self._early[:gone], self._ends[:gone]
        self._taken = {number: at for number, at in self._taken.items() if at >= first}
