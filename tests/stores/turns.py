"""A reactor for one test: functions of other threads run here, in the thread that waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


class Turns:
    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()
        self.seconds = 0.0

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        self._calls.put((function, arguments))

    def callLater(self, _: float, function: Callable[[], object]) -> None:
        self.call(function)

    def now(self) -> float:
        return self.seconds

    def start(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> list[T | Failure]:
        """Begin a coroutine; its result, or failure, will be in the list."""
        results: list[T | Failure] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        return results

    def run(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        """Run a coroutine to its end, and the calls of other threads meanwhile."""
        results = self.start(coroutine)
        while not results:
            self.step()
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def step(self) -> None:
        """Wait for one call of another thread, and make it."""
        function, arguments = self._calls.get(timeout=120)
        function(*arguments)
