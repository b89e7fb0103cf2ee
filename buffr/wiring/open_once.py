"""Opens files while the service runs, each once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buffr.transport.streams import Signal

__all__ = ["Openings"]

Name = TypeVar("Name", bound=Hashable)


@define(eq=False)
class Openings(Generic[Name]):
    """Which files are open, and which are being opened, by their real paths or other names."""

    done: set[Name] = field(factory=set)
    _under_way: dict[Name, Signal] = field(factory=dict)

    async def once(self, real: Name, opened: Callable[[], Awaitable[None]]) -> None:
        """Open a file, or wait for an opening in progress; a failed one is tried again.

        It continues if its caller is cancelled, since a thread cannot be
        stopped. Raises what ``opened`` raises.
        """
        await self.settled(real)
        if real in self.done:
            return
        news = self._under_way[real] = Signal()
        failures: list[Failure] = []

        async def opening() -> None:
            try:
                await opened()
                self.done.add(real)
            finally:
                del self._under_way[real]

        def over(_: None) -> None:
            news.notify()

        Deferred.fromCoroutine(opening()).addErrback(failures.append).addCallback(over)
        if self._under_way.get(real) is news:
            await news.wait()
        if failures:
            failures[0].raiseException()

    async def settled(self, real: Name) -> None:
        """Wait until the file is not being opened."""
        while real in self._under_way:
            await self._under_way[real].wait()
