"""Stepping an exchange: a Deferred is made only where it has to wait."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

from twisted.internet.defer import Deferred

__all__ = ["start"]


def start(running: Coroutine[Any, Any, None]) -> Deferred[None] | None:
    """Step a coroutine; ``None`` when it was done without waiting for anything.

    A replay from memory never waits, and so costs no Deferred.
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
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is the coroutine's
                awaited = running.throw(error)
            else:
                awaited = running.send(result)
        except StopIteration:
            return
