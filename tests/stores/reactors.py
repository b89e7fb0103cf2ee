"""A reactor for one test of a store that is reached over sockets."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from closing import close_reactor
from turns import Turns
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

T = TypeVar("T")


class ReactorTurns(Turns):
    """Turns of a reactor of its own, which the test's thread runs while it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.reactor = EPollReactor()
        self.reactor.startRunning(installSignalHandlers=False)

    def step(self) -> None:
        self.reactor.iterate(0.01)

    def run(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T:
        results = self.start(coroutine)
        for _ in range(6000):
            if results:
                break
            self.step()
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def close(self) -> None:
        self.reactor.stop()
        for _ in range(3):
            self.reactor.iterate(0)
        close_reactor(self.reactor)
