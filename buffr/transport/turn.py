"""The turn of the reactor that is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    _first: Callable[[], None] | None = field(init=False, default=None)
    _others: list[Callable[[], None]] = field(init=False, factory=list)
    _ended: Callable[[], None] = field(init=False)

    @_ended.default
    def _made_once(self) -> Callable[[], None]:
        return self._end

    def at_end(self, call: Callable[[], None]) -> None:
        """Call a function when this turn is over."""
        if not self.watched:
            self.watched = True
            self._first = call
            self._reactor.callLater(0, self._ended)
        else:
            self._others.append(call)

    def _end(self) -> None:
        self.number += 1
        self.watched = False
        first, self._first = self._first, None
        others: Sequence[Callable[[], None]] = ()
        if self._others:
            others, self._others = self._others, []
        if first is not None:
            first()
        for call in others:
            call()
