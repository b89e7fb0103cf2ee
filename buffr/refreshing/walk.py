"""Walks through a cassette in recorded order, with several requests under way where that is safe.

A request waits for those before it whose answers may hold a value of it, and
one that may change something waits for all, and all wait for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.drift.carrying import answer_words, asked_words
from buffr.drift.verdict import Asked, Verdict
from buffr.errors import CassetteError
from buffr.interaction import Interaction
from buffr.refreshing.asking import Asking, is_safe
from buffr.transport.streams import Signal

__all__ = ["Step", "Walk"]


@frozen(eq=False)
class Step:
    """One interaction to ask about; ``load`` reads it, and raises ``CassetteError``."""

    number: int
    title: str
    load: Callable[[], Interaction]
    edited: bool = False


@frozen(eq=False)
class _UnderWay:
    number: int
    words: set[bytes]
    alone: bool


@define(eq=False)
class Walk:
    """The walk through one cassette, with at most ``most`` requests under way.

    It begins with one, and takes one more after each answer, so that the API
    can say what it allows.
    """

    asking: Asking
    steps: Iterable[Step]
    most: int = 4
    _under_way: dict[int, _UnderWay] = field(init=False, factory=dict)
    _done: dict[int, Verdict] = field(init=False, factory=dict)
    _failure: BaseException | None = field(init=False, default=None)
    _news: Signal = field(init=False, factory=Signal)
    _allowed: int = field(init=False, default=1)

    async def verdicts(self) -> AsyncIterator[Verdict]:
        """One verdict a step, in the order of the steps."""
        waiting: list[int] = []
        for step in self.steps:
            await self._start(step)
            waiting.append(step.number)
            while waiting and waiting[0] in self._done:
                yield self._done.pop(waiting.pop(0))
        for number in waiting:
            while number not in self._done:
                await self._wait()
            yield self._done.pop(number)

    async def _start(self, step: Step) -> None:
        try:
            interaction = step.load()
            words = answer_words(interaction)
        except CassetteError as error:
            why = f"it cannot be read: {error.message}"
            self._done[step.number] = Verdict(step.number, step.title, Asked.FAILED, why=why)
            return
        alone = not is_safe(interaction.request)
        needed = asked_words(interaction)
        while not self._may_start(needed, alone=alone):
            await self._wait()
        self._under_way[step.number] = _UnderWay(step.number, words, alone)
        asking = Deferred.fromCoroutine(self._ask(step, interaction))
        asking.addErrback(self._failed)

    def _may_start(self, needed: set[bytes], *, alone: bool) -> bool:
        others = self._under_way.values()
        if alone or any(other.alone for other in others):
            return not others
        room = self.asking.room
        allowed = min(self._allowed, self.most)
        if room is not None and others:
            allowed = min(allowed, room)
        return len(others) < allowed and not any(other.words & needed for other in others)

    async def _ask(self, step: Step, interaction: Interaction) -> None:
        verdict = await self.asking.verdict(step.number, interaction, step.title)
        self._end(step.number)
        self._done[step.number] = evolve(verdict, edited=step.edited)
        self._allowed += 1
        self._news.notify()

    def _failed(self, failure: Failure) -> None:
        self._failure = failure.value
        self._news.notify()

    def _end(self, number: int) -> None:
        self._under_way.pop(number, None)

    async def _wait(self) -> None:
        if self._failure is None:
            await self._news.wait()
        if self._failure is not None:
            raise self._failure
