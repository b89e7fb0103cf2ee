"""Twisted's reactor on a daemon thread: one for a process and all of its proxies.

A reactor cannot be started twice, so it runs from the first proxy's start to
the end of the process. A forked process has none of its parent's threads: it
releases the inherited reactor, and creates its own when it first needs one.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["ReactorThread", "reactor_thread"]

T = TypeVar("T")

_MODULE = "twisted.internet.reactor"


@define(eq=False)
class ReactorThread:
    """A running reactor, and the way to it from other threads."""

    reactor: Any
    ident: int | None = None

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the reactor's thread, and wait for it.

        Raises what it raises, and ``RuntimeError`` on the reactor's own thread,
        where waiting would be for ever.
        """
        if threading.get_ident() == self.ident:
            raise RuntimeError(
                "this call waits for Twisted's reactor, but was made on its thread; "
                "use twisted.internet.threads.deferToThread"
            )
        result: Future[T] = Future()

        def begin() -> None:
            Deferred.fromCoroutine(function()).addCallbacks(
                result.set_result, lambda failure: _set_failure(result, failure)
            )

        self.reactor.callFromThread(begin)
        return result.result()


def _set_failure(result: Future[Any], failure: Failure) -> None:
    result.set_exception(failure.value)


@define(eq=False)
class _Process:
    """The state of this process."""

    lock: Any = field(factory=threading.Lock)
    thread: ReactorThread | None = None


_process = _Process()
_inherited: list[Any] = []
"""Reactors of parent processes: kept, since to free one could reach what the parent shares."""


def reactor_thread() -> ReactorThread:
    """The running reactor of this process, started if it is not yet.

    A reactor that the program has installed is used; one that it runs itself
    is used where it runs.
    """
    with _process.lock:
        if _process.thread is None:
            _process.thread = _started()
        return _process.thread


def _started() -> ReactorThread:
    from buffr.transport.reactor import install  # noqa: PLC0415  # it is a part of Twisted's

    install()
    from twisted.internet import reactor as installed  # noqa: PLC0415  # its import installs one
    from twisted.python import threadable  # noqa: PLC0415  # with it

    reactor: Any = installed
    made = ReactorThread(reactor)
    if reactor.running:
        made.ident = threadable.ioThread
        return made
    up = threading.Event()

    def run() -> None:
        made.ident = threading.get_ident()
        reactor.callWhenRunning(up.set)
        reactor.run(installSignalHandlers=False)

    threading.Thread(target=run, name="buffr reactor", daemon=True).start()
    up.wait()
    return made


def _after_fork() -> None:
    """Let go of the parent's reactor: its thread is not here, and its sockets are the parent's."""
    global _process
    parent, _process = _process, _Process()
    if parent.thread is None:
        return
    reactor = parent.thread.reactor
    _inherited.append(reactor)
    for reader in reactor.getReaders():
        # Closing the copies leaves the parent's sockets, and the ports, alone.
        # The reactor is not told: its epoll is shared with the parent.
        close = getattr(getattr(reader, "socket", None), "close", None)
        if close is not None:
            with suppress(OSError):
                close()
    if sys.modules.get(_MODULE) is reactor:
        del sys.modules[_MODULE]
        del sys.modules["twisted.internet"].reactor


os.register_at_fork(after_in_child=_after_fork)
