"""The resolver inside: DNS over UDP and over TCP, answered by buffr's own reactor."""

from __future__ import annotations

import socket
import struct

from attrs import define
from twisted.internet.interfaces import IAddress, IReadDescriptor
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from buffr.isolate import dns
from buffr.isolate.names import Names
from buffr.transport.memo import Memo

__all__ = ["ResolverFactory", "UDPResolver"]

_LONGEST = 4096
_MOST_A_TURN = 64


@implementer(IReadDescriptor)
class UDPResolver:
    """Answers queries that come to a socket, for the reactor.

    A query takes two thirds of the time that it would as a Twisted datagram
    port, and every new connection of a command begins with two. No answer is
    longer than one may be without EDNS.
    """

    def __init__(self, opened: socket.socket, names: Names) -> None:
        self._opened = opened
        self._names = names
        self._answers: Memo[bytes, bytes] = Memo(entries=1024, size_bytes=1 << 20)
        """By questions, without the number of the query: a name keeps its addresses."""

    def fileno(self) -> int:
        return self._opened.fileno()

    def logPrefix(self) -> str:
        return "resolver"

    def doRead(self) -> None:
        """Answer what has come, up to a bound, so that a flood leaves time for others."""
        for _ in range(_MOST_A_TURN):
            try:
                query, client = self._opened.recvfrom(_LONGEST)
                answer = self._answer(query)
                if answer:
                    self._opened.sendto(answer, client)
            except OSError:  # no more has come, or the client is gone
                return

    def _answer(self, query: bytes) -> bytes:
        question = query[2:]
        known = self._answers.get(question)
        if known is not None:
            return query[:2] + known
        answer = dns.answer(query, self._names)
        if dns.has_records(answer):
            self._answers.put(question, answer[2:], len(query) + len(answer))
        return answer

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends."""


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
