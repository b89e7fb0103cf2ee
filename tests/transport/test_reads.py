"""The size of reads, by transports over real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from twisted.internet import tcp
from twisted.internet.protocol import Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.testing import StringTransport

from buffr.transport.reads import after_read, usual_reads

USUAL, MANY = 65536, 262144


class Sizes(Protocol):
    """Notes how much each read took."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def dataReceived(self, data: bytes) -> None:
        self.seen.append(len(data))


class Peer:
    """A transport to read from, and the socket that sends to it."""

    def __init__(self, here: socket.socket, there: socket.socket) -> None:
        self.protocol = Sizes()
        self.transport = tcp.Connection(here, self.protocol, SelectReactor())
        self._there = there

    def reads(self) -> int:
        """How much it reads when there is as much as the system holds."""
        with suppress(BlockingIOError):
            while True:
                self._there.send(bytes(8192))
        self.transport.doRead()
        return self.protocol.seen[-1]


@pytest.fixture
def peer() -> Iterator[Peer]:
    here, there = socket.socketpair()
    there.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    with here, there:
        here.setblocking(False)
        there.setblocking(False)
        yield Peer(here, there)


class TestReads:
    def test_few_large_ones_for_a_long_body(self, peer: Peer) -> None:
        """A read that was full says that more has come; behind the body all is as before."""
        after_read(peer.transport, USUAL - 1)
        assert peer.reads() == USUAL
        after_read(peer.transport, USUAL)
        assert peer.reads() == MANY
        usual_reads(peer.transport)
        assert peer.reads() == USUAL

    def test_other_transports_are_left_alone(self) -> None:
        transport = StringTransport()
        before = dict(vars(transport))
        after_read(transport, USUAL)
        usual_reads(transport)
        assert vars(transport) == before
