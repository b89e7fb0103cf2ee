"""A listening socket that several processes accept from, each as many connections as the others.

A kernel wakes all of them and mostly the same one is first: without a balance
it would have nearly all connections of a quiet service. Twisted has no public
way to a port of one's own class on an open socket; without the private one,
the stock port is used, and connections are spread as the kernel likes.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port

__all__ = ["Balance", "Share", "fair_port"]

_SLOT = struct.Struct("=q")
_AWAY = (1 << 62) - 1
_YIELD_S = 0.002
"""How long a process leaves a connection to one that has fewer."""
_AT_ONCE = 16
"""How many it takes at once if none of the others wanted them."""


@define(eq=False)
class Balance:
    """How many connections each of ``count`` processes has, in memory that all of them share.

    ``fd`` is that of the memory; a process that does not accept counts as ``away``.
    """

    count: int
    fd: int
    _memory: mmap.mmap = field(init=False)

    @_memory.default
    def _mapped(self) -> mmap.mmap:
        return mmap.mmap(self.fd, self.count * _SLOT.size)

    @classmethod
    def new(cls, count: int) -> Balance:
        """A balance of processes that are all away."""
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
        os.ftruncate(fd, count * _SLOT.size)
        made = cls(count, fd)
        for number in range(count):
            made.away(number)
        return made

    def away(self, number: int) -> None:
        self.set(number, _AWAY)

    def set(self, number: int, connections: int) -> None:
        _SLOT.pack_into(self._memory, number * _SLOT.size, connections)

    def least(self) -> int:
        """The number of connections of the process that has the fewest."""
        return int(min(each[0] for each in _SLOT.iter_unpack(self._memory[:])))


@define(eq=False)
class Share:
    """The connections of one process, by its ``number``."""

    balance: Balance
    number: int
    connections: int = 0

    def changed(self, connections: int) -> None:
        self.connections = connections
        self.balance.set(self.number, connections)

    def ended(self) -> None:
        self.balance.away(self.number)

    @property
    def is_over(self) -> bool:
        """Whether another process has fewer."""
        return self.connections > self.balance.least()


class _FairPort(Port):
    """Leaves connections to processes that have fewer."""

    share: Share
    _yielded = False

    def doRead(self) -> None:
        if self.share.is_over and not self._yielded:
            self._yielded = True
            self.stopReading()
            clock: Any = self.reactor
            clock.callLater(_YIELD_S, self._go_on)
            return
        self.numberAccepts = _AT_ONCE if self._yielded else 1
        self._yielded = False
        super().doRead()

    def _go_on(self) -> None:
        if self.connected:
            self.startReading()


def fair_port(reactor: Any, fd: int, family: int, factory: Any, share: Share) -> IListeningPort:
    """A port on a socket that listens already, which accepts its ``share``."""
    make = getattr(Port, "_fromListeningDescriptor", None)
    port: Any
    if make is None:
        port = reactor.adoptStreamPort(fd, family, factory)
    else:
        port = _FairPort._fromListeningDescriptor(reactor, fd, family, factory)  # noqa: SLF001
        port.share = share
        port.startListening()
    share.changed(0)
    listening: IListeningPort = port
    return listening
