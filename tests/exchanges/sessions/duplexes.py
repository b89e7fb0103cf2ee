"""Duplexes over transports in memory."""

from __future__ import annotations

from buffr.testing.wire import Wire
from buffr.transport.duplex import TransportDuplex

__all__ = ["over"]


def over(wire: Wire) -> TransportDuplex:
    """A duplex whose connection this is."""
    duplex = TransportDuplex()
    duplex.makeConnection(wire)
    return duplex
