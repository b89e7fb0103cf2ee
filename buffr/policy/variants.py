"""What holds where the only recording of a request is that of another variant."""

from __future__ import annotations

from attrs import define, field

from buffr.matching.variants import Difference

__all__ = ["Variants"]

_MOST_TOLD = 4096


@define(eq=False)
class Variants:
    """``strict``: no other variant ever answers. Remembers which differences were told."""

    strict: bool = False
    _told: set[Difference] = field(factory=set, init=False)

    def is_news(self, difference: Difference) -> bool:
        """Whether nobody was told of this difference yet."""
        if difference in self._told:
            return False
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told.add(difference)
        return True
