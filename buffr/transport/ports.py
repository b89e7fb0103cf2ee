"""Listening sockets that take no more connections than the process has descriptors for.

The stock port of Twisted accepts and closes whatever waits once descriptors
have run out. Here some are kept for upstreams and files: accepting stops before
these are used, clients wait in the socket's queue, and it goes on when others
have left.

Several processes can accept from one socket, each as many connections as the
others. A kernel wakes all of them and mostly the same one is first: without a
balance it would have nearly all connections of a quiet service. Twisted has no
public way to a port of one's own class on an open socket; without the private
one, the stock port is used, and connections are spread as the kernel likes.
"""

from __future__ import annotations

import mmap
import os
import resource
import struct
import tempfile
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.internet.tcp import Port

__all__ = ["Balance", "Share", "Starved", "adopted_port", "new_port"]

_SLOT = struct.Struct("=q")
_AWAY = (1 << 62) - 1
_YIELD_S = 0.002
"""How long a process leaves a connection to one that has fewer."""
_AT_ONCE = 16
"""How many connections are taken at once, if none of the other processes wanted them."""
_KEPT = 128
"""How many descriptors are kept for upstreams and files; an eighth, if that is fewer."""
_PAUSE_S = 0.25
"""How long accepting pauses without descriptors."""
_SILENT_S = 60.0
"""How often it is said that there are none."""

Starved = Callable[[int], None]
"""Is called with the process's limit when accepting pauses."""


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


def _room(fd: int) -> int:
    """How many connections may be accepted now.

    A copy of ``fd`` takes the lowest number that is free: all below are in use.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        lowest = os.dup(fd)
    except OSError:
        return 0
    os.close(lowest)
    if most == resource.RLIM_INFINITY:
        return _AT_ONCE
    return min(most - min(_KEPT, most // 8) - lowest, _AT_ONCE)


class _PatientPort(Port):
    """Leaves connections in the socket's queue while there are no descriptors for them."""

    starved: Starved
    _silent_until = 0.0

    def doRead(self) -> None:
        room = _room(self.fileno())
        if room <= 0:
            self._pause(_PAUSE_S)
            now = self._clock.seconds()
            if now >= self._silent_until:
                self._silent_until = now + _SILENT_S
                self.starved(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            return
        self.numberAccepts = min(self.numberAccepts, room)
        super().doRead()

    @property
    def _clock(self) -> Any:
        return self.reactor

    def _pause(self, seconds: float) -> None:
        self.stopReading()
        self._clock.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        if self.connected:
            self.startReading()


class _FairPort(_PatientPort):
    """Leaves connections to processes that have fewer."""

    share: Share
    _yielded = False

    def doRead(self) -> None:
        if self.share.is_over and not self._yielded:
            self._yielded = True
            self._pause(_YIELD_S)
            return
        self.numberAccepts = _AT_ONCE if self._yielded else 1
        self._yielded = False
        super().doRead()


def new_port(
    reactor: Any, number: int, factory: Any, backlog: int, interface: str, starved: Starved
) -> IListeningPort:
    """A port on a socket of its own. Raises ``CannotListenError``."""
    port: Any
    if IReactorFDSet.providedBy(reactor):
        port = _PatientPort(number, factory, backlog, interface, reactor)
        port.starved = starved
        port.startListening()
    else:
        port = reactor.listenTCP(number, factory, backlog, interface)
    listening: IListeningPort = port
    return listening


def adopted_port(
    reactor: Any, fd: int, family: int, factory: Any, starved: Starved, share: Share | None = None
) -> IListeningPort:
    """A port on a socket that listens already; it accepts its ``share`` if there is one."""
    kind: Any = _PatientPort if share is None else _FairPort
    make = getattr(kind, "_fromListeningDescriptor", None)
    port: Any
    if make is None or not IReactorFDSet.providedBy(reactor):
        port = reactor.adoptStreamPort(fd, family, factory)
    else:
        port = make(reactor, fd, family, factory)
        port.starved = starved
        port.share = share
        port.startListening()
    if share is not None:
        share.changed(0)
    listening: IListeningPort = port
    return listening
