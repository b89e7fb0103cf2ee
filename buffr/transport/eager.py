"""Coroutines that start at once: a Deferred is made only if one has to wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

__all__ = ["AT_ONCE_BYTES", "Running", "aside", "at_once", "start"]

AT_ONCE_BYTES = 8192
"""Of more than this a search keeps the reactor too long: a body of nothing but credentials
takes a microsecond a byte."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def aside(
    reactor: Any, size_bytes: int, run: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T:
    """Run what searches so many bytes: at once, or on a thread if they are many."""
    if size_bytes <= AT_ONCE_BYTES:
        return run(*args, **kwargs)
    pool = reactor.getThreadPool()
    result: _T = await deferToThreadPool(reactor, pool, run, *args, **kwargs)
    return result


def at_once(running: Coroutine[Any, Any, _T]) -> _T | None:
    """The result of a coroutine that need not wait; ``None`` if it would, and it is given up."""
    try:
        running.send(None)
    except StopIteration as ended:
        result: _T = ended.value
        return result
    running.close()
    return None


class Running:
    """A coroutine that has had to wait. It goes on when what it awaits has its result.

    A Deferred around it would cost more than many exchanges do for themselves
    (4 us against 1), and nobody wants the coroutine's result.
    """

    __slots__ = ("_awaited", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Deferred[Any]) -> None:
        self._coroutine = coroutine
        self._await(awaited)

    def _await(self, awaited: Deferred[Any]) -> None:
        self._awaited = awaited
        awaited.addCallbacks(self._resume, self._fail)

    def _resume(self, result: object) -> None:
        try:
            awaited = self._coroutine.send(result)
        except StopIteration:
            return
        self._await(awaited)

    def _fail(self, failure: Failure) -> None:
        try:
            awaited = failure.throwExceptionIntoGenerator(self._coroutine)
        except StopIteration:
            return
        self._await(awaited)

    def cancel(self) -> None:
        """Cancel what is awaited: the coroutine gets ``CancelledError`` there unless it is over."""
        self._awaited.cancel()


def start(coroutine: Coroutine[Any, Any, None]) -> Running | None:
    """Start a coroutine, which handles its errors. Returns ``None`` if it need not wait.

    A replay from memory never waits, so it costs no Deferred.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return None
    return Running(coroutine, awaited)
