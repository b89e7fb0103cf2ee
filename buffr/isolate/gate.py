"""What serves a namespace from outside, on buffr's own reactor."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol as TwistedProtocol

from buffr.isolate.entrance import EntranceFactory, Target
from buffr.isolate.ledger import Ledger, Refusal
from buffr.isolate.loopback import Allowed, Published
from buffr.isolate.names import Names
from buffr.isolate.namespace import Namespace
from buffr.isolate.packets import TCP
from buffr.isolate.plan import Door
from buffr.isolate.programs import Program, Programs
from buffr.isolate.relay import Relay, RelayFactory, dial_inside, dial_outside
from buffr.isolate.resolver import ResolverFactory, UDPResolver
from buffr.isolate.watch import AttemptWatch, Watch, tell
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.listener import HTTPListener
from buffr.origin import host_and_port

__all__ = ["Gate"]


@define(eq=False)
class Gate:
    """Serves what was handed out of a namespace. ``scope`` is that of its requests.

    ``published`` are ports outside that listen already.
    """

    _namespace: Namespace
    _names: Names
    _scope: str
    _ledger: Ledger
    _allowed: Sequence[Allowed]
    _published: Sequence[tuple[Published, socket.socket]]
    _programs: Programs = field(init=False)
    _proxy: ForwardProxy = field(init=False)
    _reactor: Any = field(init=False)

    def lead_to(self, proxy: ForwardProxy, listener: HTTPListener, reactor: Any) -> None:
        """Have a forward proxy serve the connections, in place of those to a port of its own."""
        out = self._namespace.out
        self._proxy, self._reactor = proxy, reactor
        self._programs = Programs(out.diagnosis, out.proc)
        listener.opened = [made for door, made in out.doors if door.name == "entrance"]
        listener.front = EntranceFactory(listener, proxy, self._names, self._scope, self)
        for door, made in out.doors:
            match door.name:
                case "dns-tcp":
                    self._adopt(made, ResolverFactory(self._names))
                case "dns-udp":
                    reactor.addReader(UDPResolver(made, self._names))
                case "allowed":
                    dial = dial_outside(reactor, *door.address)
                    self._adopt(made, RelayFactory(dial, partial(self._came_to, door)))
        for one, made in self._published:
            dial = dial_inside(reactor, self._namespace.socket, one.inside)
            self._adopt(made, RelayFactory(dial))
        reactor.addReader(Watch(out, self._names, self._programs, self._ledger))
        reactor.addReader(AttemptWatch(out.attempts, self._ledger))

    def _came_to(self, door: Door, client: IAddress | None) -> None:
        """Count a connection to a service of the machine outside."""
        inet: Any = client
        own, (host, port) = (ip_address(inet.host).packed, inet.port), door.address
        program = self._programs.of(TCP, own, (ip_address(host).packed, port))
        self._ledger.came(host, port, program.name, relayed=True)

    def _adopt(self, made: socket.socket, factory: Any) -> None:
        self._reactor.adoptStreamPort(made.fileno(), made.family, factory)

    def came(self, target: Target) -> TwistedProtocol | None:
        """Count a connection; returns what relays it as it is, if that is so for its host."""
        relay = self._relay(target)
        self._ledger.came(
            target.host, target.port, self._program(target).name, relayed=relay is not None
        )
        return relay

    def refused(self, target: Target, why: str) -> None:
        """A connection was refused, since it is not of a kind that can be recorded."""
        program = self._program(target)
        flag = f"--allow {host_and_port(target.host, target.port)}"
        refusal = Refusal(program.name, "tcp", target.host, target.port, why, flag)
        tell(self._ledger, refusal, program)

    def _program(self, target: Target) -> Program:
        return self._programs.of(TCP, target.client, target.meant)

    def _relay(self, target: Target) -> TwistedProtocol | None:
        host, port = target.host, target.port
        if Allowed(host, port) in self._allowed:
            return Relay(dial_outside(self._reactor, host, port))
        if self._proxy.bypassed(host, port):
            return Relay(partial(self._proxy.dial, host, port))
        return None
