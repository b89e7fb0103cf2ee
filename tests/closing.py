"""The end of a reactor that a test had for itself."""

from __future__ import annotations

from typing import Any

__all__ = ["close_reactor"]


def close_reactor(reactor: Any) -> None:
    """Give back its descriptors, which ``stop`` keeps: a process has no other reactor otherwise.

    A worker runs thousands of tests, and ``select`` knows no descriptor from 1,024 on.
    """
    reactor.disconnectAll()
    for waker in list(reactor._internalReaders):  # there is no public way
        waker.connectionLost(None)
    poller = getattr(reactor, "_poller", None)
    if poller is not None:
        poller.close()
