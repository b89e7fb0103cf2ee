"""The turn of the reactor that is under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

__all__ = ["Turn"]


@define(eq=False)
class Turn:
    """Tells when the reactor goes round once more, to those who do something once a turn.

    To be told costs more than most of what a turn is about. So one call serves
    all: it is asked for when the first one wants to be told. ``watched`` says that
    it is; only then do two looks at ``number`` tell whether they belong to one turn.
    """

    _reactor: IReactorTime
    _at_end: Callable[[Callable[[], None]], object] = field(init=False)
    number: int = field(init=False, default=0)
    watched: bool = field(init=False, default=False)
    _first: Callable[[], None] | None = field(init=False, default=None)
    _others: list[Callable[[], None]] = field(init=False, factory=list)
    _ended: Callable[[], None] = field(init=False)

    @_at_end.default
    def _of_the_reactor(self) -> Callable[[Callable[[], None]], object]:
        own: Callable[[Callable[[], None]], object] | None
        own = getattr(self._reactor, "at_turn_end", None)  # a ``PlainEpoll`` has it
        return partial(self._reactor.callLater, 0) if own is None else own

    @_ended.default
    def _made_once(self) -> Callable[[], None]:
        return self._end

    def at_end(self, call: Callable[[], None]) -> None:
        """Call a function when this turn is over."""
        if not self.watched:
            self.watched = True
            self._first = call
            self._at_end(self._ended)
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
