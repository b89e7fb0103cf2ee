"""Look-ups: of any name, and of addresses that are judged before anything connects to them."""

# ruff: noqa: N803  # names of Twisted's interface

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial import unittest
from zope.interface import implementer

from buffr.errors import AccessDenied
from buffr.policy.access import is_private
from buffr.upstream.endpoints import plain_endpoint

TRIAL = unittest.SynchronousTestCase()


def judge(address: str) -> None:
    if is_private(address):
        raise AccessDenied("private")


@implementer(IHostResolution)
@define
class _Resolution:
    name: str

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IHostnameResolver)
@define
class Resolver:
    """Answers from a table, at once; ``asked`` are the names."""

    table: dict[str, tuple[str, ...]]
    asked: list[str] = field(factory=list)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for address in self.table.get(hostName, ()):
            kind = IPv6Address if ":" in address else IPv4Address
            resolutionReceiver.addressResolved(kind("TCP", address, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


class Looking:
    """A reactor in memory whose names are in a table, and an attempt to connect to one."""

    def __init__(self, table: dict[str, tuple[str, ...]], name: str = "h.test") -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.installNameResolver(Resolver(table))
        endpoint = plain_endpoint(self.reactor, name, 443, 5, judge=judge)
        self.connecting = endpoint.connect(Factory.forProtocol(Protocol))

    def dialled(self) -> list[str]:
        """Whom it tries to connect to, given time for all."""
        self.reactor.pump([0.3] * 6)
        return [client[0] for client in self.reactor.tcpClients]


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "h.test",
            "my_service",
            "_dmarc.my_host.test",
            "r3---sn-4g5e.example",
            "ab--cd.example",
            "-leading.example",
            "xn--i-7iq.example",
            "xn--mnchen-3ya.example",
        ],
    )
    @pytest.mark.parametrize("judged", [False, True])
    def test_a_name_is_looked_up_as_it_is_written(self, name: str, *, judged: bool) -> None:
        """Also one that IDNA 2008 does not have: the resolver decides which names there are."""
        reactor = MemoryReactorClock()
        resolver = Resolver({name: ("9.9.9.9",)})
        reactor.installNameResolver(resolver)
        endpoint = plain_endpoint(reactor, name, 443, 5, judge=judge if judged else None)
        endpoint.connect(Factory.forProtocol(Protocol))
        assert resolver.asked == [name]
        assert [client[:2] for client in reactor.tcpClients] == [("9.9.9.9", 443)]


class TestJudgedEndpoint:
    def test_public_addresses_are_dialled(self) -> None:
        looking = Looking({"h.test": ("9.9.9.9", "2620:fe::9")})
        assert looking.dialled() == ["9.9.9.9", "2620:fe::9"]

    def test_private_ones_among_them_are_left_out(self) -> None:
        """A name may have both; the public one may be gone to."""
        looking = Looking({"h.test": ("10.0.0.1", "9.9.9.9", "::1")})
        assert looking.dialled() == ["9.9.9.9"]

    @pytest.mark.parametrize(
        "addresses",
        [("127.0.0.1",), ("169.254.169.254", "::1"), ("::ffff:10.0.0.1",), ("64:ff9b::a00:1",)],
    )
    def test_where_all_are_private_the_judgement_is_the_error(
        self, addresses: tuple[str, ...]
    ) -> None:
        looking = Looking({"h.test": addresses})
        assert looking.dialled() == []
        assert TRIAL.failureResultOf(looking.connecting, AccessDenied)

    def test_a_name_without_addresses_is_only_that(self) -> None:
        looking = Looking({})
        assert TRIAL.failureResultOf(looking.connecting, DNSLookupError)

    def test_each_connection_looks_up_anew(self) -> None:
        """What was refused once may be public later, and the other way round."""
        table: dict[str, tuple[str, ...]] = {"h.test": ("10.0.0.1",)}
        looking = Looking(table)
        TRIAL.failureResultOf(looking.connecting, AccessDenied)
        endpoint = plain_endpoint(looking.reactor, "h.test", 443, 5, judge=judge)
        table["h.test"] = ("9.9.9.9",)
        endpoint.connect(Factory.forProtocol(Protocol))
        assert looking.dialled() == ["9.9.9.9"]

    def test_giving_up_ends_it(self) -> None:
        looking = Looking({"h.test": ("9.9.9.9",)})
        looking.connecting.cancel()
        TRIAL.failureResultOf(looking.connecting)
        assert looking.reactor.connectors[0].stoppedConnecting

    def test_an_address_is_not_looked_up(self) -> None:
        """Whether it may be dialled was judged when it was asked for."""
        looking = Looking({}, "9.9.9.9")
        assert looking.dialled() == ["9.9.9.9"]
