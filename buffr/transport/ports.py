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

import errno
import mmap
import os
import resource
import struct
import tempfile
from collections.abc import Callable
from socket import (
    IPPROTO_TCP,
    NI_NUMERICHOST,
    NI_NUMERICSERV,
    TCP_NODELAY,
    getnameinfo,
    socket,
)
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IListeningPort, IReactorFDSet
from twisted.internet.tcp import Port
from twisted.python import log

from buffr.transport.accepted import INHERITS_NO_DELAY, transport_for

__all__ = ["Balance", "Share", "Starved", "adopted_port", "new_port"]

_SLOT = struct.Struct("=q")
_AWAY = (1 << 62) - 1
_YIELD_S = 0.002
"""How long a process leaves a connection to one that has fewer."""
_AT_ONCE = 16
"""How many connections are taken at once at most, so that those that are open have their turn."""
_KEPT = 128
"""How many descriptors are kept for upstreams and files; an eighth, if that is fewer."""
_COUNTED_S = 1.0
"""For how long it is known how many descriptors there are."""
_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
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


def _free_descriptors(fd: int) -> int:
    """How many descriptors there are for connections.

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
    return most - min(_KEPT, most // 8) - lowest


class _PatientPort(Port):
    """Leaves connections in the socket's queue while there are no descriptors for them."""

    starved: Starved
    _silent_until = 0.0
    _at_once = 1
    """How many connections are taken at once. It grows while more are waiting."""
    _free = 0
    """How many may be taken before descriptors are counted again."""
    _counted_until = 0.0

    def startListening(self) -> None:
        super().startListening()
        self.transport = transport_for(self.reactor)
        if INHERITS_NO_DELAY:
            self.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def doRead(self) -> None:
        most = min(self._at_once, self._room())
        taken = 0
        while taken < most and self._take_one():
            taken += 1
        if most > 0:
            self._at_once = max(1, taken) if taken < most else min(2 * most, _AT_ONCE)

    def _room(self) -> int:
        """How many connections may be accepted now; if none, accepting pauses."""
        clock: Any = self.reactor
        now = clock.seconds()
        if self._free <= 0 or now >= self._counted_until:
            free = _free_descriptors(self.fileno())
            if free <= 0:
                self._starve(now)
                return 0
            # Others take some meanwhile.
            self._free, self._counted_until = max(1, free // 4), now + _COUNTED_S
        return self._free

    def _take_one(self) -> bool:
        """Accept one connection. Returns whether there was one."""
        listening: Any = self.socket
        try:
            # As ``accept`` does, without what it finds out about the socket.
            fd, address = listening._accept()  # noqa: SLF001
        except OSError as error:
            if error.errno in _NONE_LEFT:
                self._starve(self._clock.seconds())
            return False
        self._free -= 1
        try:
            self._made(socket(self.addressFamily, self.socketType, 0, fd), address)
        except Exception:  # noqa: BLE001  # as Twisted: the next one is accepted all the same
            log.err()
        return True

    def _made(self, accepted: socket, address: tuple[Any, ...]) -> None:
        if len(address) == 4:  # with the scope of an IPv6 address, as Twisted has it
            host = getnameinfo(address, NI_NUMERICHOST | NI_NUMERICSERV)[0]
            address = (host, *address[1:])
        factory: Any = self.factory
        # No protocol here wants the address before it has its transport, which knows it.
        protocol = factory.buildProtocol(None)
        if protocol is None:
            accepted.close()
            return
        number = self.sessionno
        self.sessionno = number + 1
        transport = self.transport(accepted, protocol, address, self, number, self.reactor)
        protocol.makeConnection(transport)

    def _starve(self, now: float) -> None:
        self._pause(_PAUSE_S)
        if now >= self._silent_until:
            self._silent_until = now + _SILENT_S
            self.starved(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

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
        self._at_once = _AT_ONCE if self._yielded else 1
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
