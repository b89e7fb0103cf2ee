"""The turn of the reactor that is under way."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["Turn"]


@define(eq=False)
class Turn:
    """Tells when the reactor goes round once more, to those who do something once a turn.

    A delayed call costs more than most of what a turn is about. So one serves
    all: it is made when the first one wants to be told. ``watched`` says that
    it is; only then do two looks at ``number`` tell whether they belong to one turn.
    """

    _reactor: IReactorTime
    number: int = field(init=False, default=0)
    watched: bool = field(init=False, default=False)
    _told: list[Callable[[], None]] = field(init=False, factory=list)

    def at_end(self, call: Callable[[], None]) -> None:
        """Call a function when this turn is over."""
        if not self.watched:
            self.watched = True
            self._reactor.callLater(0, self._end)
        self._told.append(call)

    def _end(self) -> None:
        self.number += 1
        self.watched = False
        told, self._told = self._told, []
        for call in told:
            call()
