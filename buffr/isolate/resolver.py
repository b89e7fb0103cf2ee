"""The resolver inside: DNS over UDP and over TCP, answered by buffr's own reactor."""

from __future__ import annotations

import struct
from typing import Any

from attrs import define
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory

from buffr.isolate import dns
from buffr.isolate.names import Names

__all__ = ["ResolverFactory", "UDPResolver"]

_LONGEST = 4096


@define(eq=False)
class UDPResolver(DatagramProtocol):
    """Answers a query with a datagram; no answer is longer than one may be without EDNS."""

    names: Names

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = dns.answer(datagram, self.names)
        if answer and self.transport is not None:
            self.transport.write(answer, addr)


@define(eq=False)
class ResolverFactory(ServerFactory):
    """Makes a ``TCPResolver`` for each connection."""

    names: Names

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        return TCPResolver(self.names)


class TCPResolver(Protocol):
    """Answers queries that have their length before them (RFC 1035 4.2.2)."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._came = b""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self._came += data
        while len(self._came) >= 2:
            (length,) = struct.unpack_from(">H", self._came)
            if length > _LONGEST:
                self.transport.loseConnection()
                return
            if len(self._came) < 2 + length:
                return
            query, self._came = self._came[2 : 2 + length], self._came[2 + length :]
            answer = dns.answer(query, self._names)
            if not answer:
                self.transport.loseConnection()
                return
            self.transport.write(struct.pack(">H", len(answer)) + answer)
