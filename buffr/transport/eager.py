"""Coroutines that start at once: a Deferred is made only if one has to wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

__all__ = ["AT_ONCE_BYTES", "aside", "at_once", "start"]

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


def start(running: Coroutine[Any, Any, None]) -> Deferred[None] | None:
    """Start a coroutine. Returns ``None`` if it finished without waiting.

    A replay from memory never waits, so it costs no Deferred.
    """
    try:
        awaited = running.send(None)
    except StopIteration:
        return None
    return Deferred.fromCoroutine(_resume(running, awaited))


@coroutine
def _resume(
    running: Coroutine[Any, Any, None], awaited: Deferred[Any]
) -> Generator[Deferred[Any], Any, None]:
    while True:
        try:
            try:
                result = yield awaited
            except GeneratorExit:
                running.close()
                raise
            except BaseException as error:  # noqa: BLE001  # the coroutine handles it, whatever it is
                awaited = running.throw(error)
            else:
                awaited = running.send(result)
        except StopIteration:
            return
