"""A reactor with nothing around the call of what became ready.

Twisted's own puts a context for its log around each call, which buffr's log
has no use for: a dozen calls for each event. And it knows no end of a turn, so
that what is to be done then takes a delayed call, which is two dozen. Nearly
all that becomes ready has something to read and nothing else; it is told so
directly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import default
from twisted.internet.main import installReactor
from twisted.python import log

__all__ = ["install"]

_NAMES = ("_poller", "_selectables", "_doReadOrWrite", "_disconnectSelectable", "_POLL_IN")
_EPOLL = "twisted.internet.epollreactor"


def install() -> None:
    """Install it where Twisted would choose its own for epoll, and none is installed yet."""
    if "twisted.internet.reactor" in sys.modules or default.install.__module__ != _EPOLL:
        return
    reactor = plain_epoll()
    if all(hasattr(reactor, name) for name in _NAMES):
        installReactor(reactor)


def plain_epoll() -> Any:
    """A reactor of this kind that is not installed."""
    from twisted.internet.epollreactor import EPollReactor  # noqa: PLC0415  # Linux alone has it

    class PlainEpoll(EPollReactor):
        def __init__(self) -> None:
            self._ending: list[Callable[[], None]] = []
            self.at_turn_end = self._ending.append  # what ``Turn`` looks for
            super().__init__()

        def doPoll(self, timeout: float | None) -> None:
            selectables, act, readable = self._selectables, self._doReadOrWrite, self._POLL_IN
            if self._ending:  # the turn was that of a delayed call
                timeout = 0
            try:
                ready = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
            except InterruptedError:
                return
            for fd, event in ready:
                selectable = selectables.get(fd)
                if selectable is not None:  # another one may have closed it
                    try:
                        if event != readable:
                            act(selectable, fd, event)
                            continue
                        try:
                            why, is_read = selectable.doRead(), True
                        except Exception as error:  # noqa: BLE001  # as Twisted: it is disconnected
                            log.err()
                            why, is_read = error, False
                        if why is not None:
                            self._disconnectSelectable(selectable, why, is_read)
                    except Exception:  # noqa: BLE001  # as Twisted: the others have their turn
                        log.err()
            if self._ending:
                self._end_turn()

        def _end_turn(self) -> None:
            ending = self._ending[:]
            self._ending.clear()
            for call in ending:
                try:
                    call()
                except Exception:  # noqa: BLE001  # as above
                    log.err()

        doIteration = doPoll

    return PlainEpoll()
