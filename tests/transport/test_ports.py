"""Accepting: no more than descriptors allow, and shared evenly among processes."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from attrs import define, field
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol

from buffr.transport.ports import Balance, Share, adopted_port


@define(eq=False)
class Acceptor:
    """One process, as far as the socket and the balance can tell."""

    listening: socket.socket
    share: Share
    reactor: EPollReactor = field(factory=EPollReactor)
    accepted: int = 0

    def __attrs_post_init__(self) -> None:
        self.reactor.startRunning(installSignalHandlers=False)
        fd, family = self.listening.fileno(), self.listening.family
        factory = Factory.forProtocol(Protocol)
        build = factory.buildProtocol

        def counted(address: object) -> object:
            self.accepted += 1
            self.share.changed(self.accepted)
            return build(address)  # type: ignore[arg-type]

        factory.buildProtocol = counted  # type: ignore[assignment]
        adopted_port(self.reactor, fd, family, factory, lambda _: None, self.share)


def until(is_so: Callable[[], bool], *acceptors: Acceptor) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        for each in acceptors:
            each.reactor.iterate(0.001)


class TestShares:
    def test_they_are_even(self) -> None:
        """Although the first one is always asked first."""
        balance = Balance.new(2)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            one, two = (Acceptor(listening, Share(balance, number)) for number in range(2))
            clients = []
            for number in range(10):
                clients.append(socket.create_connection(listening.getsockname()))
                until(lambda number=number: one.accepted + two.accepted > number, one, two)  # type: ignore[misc]
            assert (one.accepted, two.accepted) == (5, 5)
            for client in clients:
                client.close()

    def test_one_that_does_not_accept_is_waited_for_only_for_a_moment(self) -> None:
        balance = Balance.new(2)
        balance.set(1, 0)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            one = Acceptor(listening, Share(balance, 0))
            clients = [socket.create_connection(listening.getsockname()) for _ in range(5)]
            until(lambda: one.accepted == 5, one)
            for client in clients:
                client.close()

    def test_one_that_is_away_counts_for_nothing(self) -> None:
        balance = Balance.new(3)
        balance.set(0, 7)
        assert balance.least() == 7
        balance.set(1, 3)
        assert balance.least() == 3
        balance.away(1)
        assert balance.least() == 7
        assert not Share(balance, 0, 7).is_over


_STARVED = """
import resource, time
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from buffr.transport.ports import new_port

resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
reactor = EPollReactor()
reactor.startRunning(installSignalHandlers=False)
open_, said = [], []

class Echo(Protocol):
    def connectionMade(self):
        open_.append(self)
    def dataReceived(self, data):
        self.transport.write(data)

port = new_port(reactor, 0, Factory.forProtocol(Echo), 500, "127.0.0.1", said.append)
print(port.getHost().port, flush=True)
while not said:
    reactor.iterate(1)
print(len(open_), said, flush=True)
spent, began = time.process_time(), time.monotonic()
while time.monotonic() < began + 1:
    reactor.iterate(1)
print(time.process_time() - spent, flush=True)
for each in open_[:50]:
    each.transport.loseConnection()
while True:
    reactor.iterate(1)
"""


class TestDescriptors:
    def test_they_run_out(self) -> None:
        """It is said once, nothing spins, those who wait are served, and some are kept."""
        command = [sys.executable, "-c", _STARVED]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
            ExitStack() as clients,
        ):
            clients.callback(process.kill)
            assert process.stdout is not None
            address = ("127.0.0.1", int(process.stdout.readline()))
            connected = [
                clients.enter_context(socket.create_connection(address, timeout=60))
                for _ in range(140)
            ]
            accepted, _, said = process.stdout.readline().partition(" ")
            assert 80 <= int(accepted) <= 112
            assert said == "[128]\n"
            assert float(process.stdout.readline()) < 0.2
            waiting = connected[-1]
            waiting.sendall(b"at last")
            assert waiting.recv(100) == b"at last"
