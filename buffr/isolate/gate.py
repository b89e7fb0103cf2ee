"""What serves the sockets of a namespace: entrance and resolver, on buffr's own reactor."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.protocol import Protocol as TwistedProtocol

from buffr.isolate.entrance import EntranceFactory, Target
from buffr.isolate.names import Names
from buffr.isolate.namespace import HandedOut
from buffr.isolate.resolver import ResolverFactory, UDPResolver
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.listener import HTTPListener

__all__ = ["Gate"]


@define(eq=False)
class Gate:
    """Serves what was handed out of one namespace; ``scope`` is that of its requests."""

    out: HandedOut
    names: Names
    scope: str

    def lead_to(self, proxy: ForwardProxy, listener: HTTPListener, reactor: Any) -> None:
        """Have a forward proxy serve the connections, in place of those to a port of its own."""
        listener.opened = [made for door, made in self.out.doors if door.name == "entrance"]
        listener.front = EntranceFactory(listener, proxy, self.names, self.scope, self)
        for door, made in self.out.doors:
            if door.name == "dns-tcp":
                reactor.adoptStreamPort(made.fileno(), made.family, ResolverFactory(self.names))
            elif door.name == "dns-udp":
                reactor.adoptDatagramPort(made.fileno(), made.family, UDPResolver(self.names))

    def came(self, target: Target) -> None:
        """A connection to a host began."""

    def refused(self, target: Target, why: str) -> None:
        """A connection was refused, since it is not of a kind that can be recorded."""

    def relayed(self, target: Target) -> TwistedProtocol | None:
        """What relays a connection as it is, if that was allowed."""
