"""Which connections lead back to buffr itself, and which say by whom they came."""

from __future__ import annotations

import socket

import pytest
from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from buffr.config import Config
from buffr.errors import AccessDenied, BadRequest
from buffr.policy.access import Address
from buffr.upstream.hops import Mark, announce_port, is_announced
from buffr.wiring.own_ports import OwnPorts
from buffr.wiring.upstreams import Upstreams


def own(listen: str) -> OwnPorts:
    """A listener on port 8080 of a machine whose addresses are 192.0.2.7 and 2001:db8::7."""

    def is_local(address: Address) -> bool:
        return str(address).partition("%")[0] in ("192.0.2.7", "2001:db8::7", "fe80::7")

    return OwnPorts(lambda: [(listen, 8080), (listen, 9090)], is_local)


class TestOwnPorts:
    @pytest.mark.parametrize(
        ("listen", "peer"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "::ffff:127.0.0.1"),
            ("127.0.0.1", "0.0.0.0"),
            ("127.0.0.1", "::ffff:0.0.0.0"),
            ("127.0.0.5", "127.0.0.5"),
            ("::1", "::1"),
            ("::1", "::"),
            ("192.0.2.7", "192.0.2.7"),
            ("0.0.0.0", "127.0.0.1"),
            ("0.0.0.0", "127.9.9.9"),
            ("0.0.0.0", "192.0.2.7"),
            ("0.0.0.0", "::ffff:192.0.2.7"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "2001:db8::7"),
            ("::", "fe80::7%eth0"),
            ("::", "192.0.2.7"),
            ("::", "::"),
            ("fe80::7%eth0", "fe80::7%eth0"),
        ],
    )
    def test_has(self, listen: str, peer: str) -> None:
        assert own(listen).has(peer, 8080)
        assert own(listen).has(peer, 9090)
        assert not own(listen).has(peer, 8081)

    @pytest.mark.parametrize(
        ("listen", "peer"),
        [
            ("127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "192.0.2.7"),
            ("127.0.0.1", "::1"),
            ("192.0.2.7", "127.0.0.1"),
            ("0.0.0.0", "192.0.2.8"),
            ("::", "2001:db8::8"),
            ("0.0.0.0", "no address"),
        ],
    )
    def test_has_not(self, listen: str, peer: str) -> None:
        assert not own(listen).has(peer, 8080)

    def test_asks_the_machine_for_its_addresses(self) -> None:
        found = OwnPorts(lambda: [("0.0.0.0", 8080)])
        assert not found.has("203.0.113.77", 8080)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
            except OSError:
                pytest.skip("this machine has no other address")
            assert found.has(probe.getsockname()[0], 8080)


@frozen
class Transport:
    """A connection to somewhere."""

    peer: IAddress

    def getPeer(self) -> IAddress:
        return self.peer


def mark(peer: IAddress, *, deny_private: bool = False) -> Mark:
    upstreams = Upstreams(Config(), None, lambda: {("127.0.0.1", 8080)})
    return upstreams.judge(Transport(peer), deny_private=deny_private)  # type: ignore[arg-type]


class TestJudge:
    @pytest.mark.parametrize(
        ("host", "expected"),
        [
            ("10.1.2.3", Mark.ADD),
            ("192.168.0.9", Mark.ADD),
            ("fd00::1", Mark.ADD),
            ("::ffff:10.1.2.3", Mark.ADD),
            ("93.184.215.14", Mark.NEVER),
            ("2606:2800:21f::1", Mark.NEVER),
            ("::ffff:93.184.215.14", Mark.NEVER),
        ],
    )
    def test_by_the_address(self, host: str, expected: Mark) -> None:
        """The field goes to nobody beyond the private networks."""
        kind = IPv6Address if ":" in host else IPv4Address
        assert mark(kind("TCP", host, 443)) is expected

    def test_a_socket_of_this_machine_is_not_judged(self) -> None:
        assert mark(UNIXAddress("/run/x")) is Mark.NEVER

    def test_what_is_not_to_be_reached(self) -> None:
        with pytest.raises(BadRequest, match="buffr itself"):
            mark(IPv6Address("TCP", "::ffff:127.0.0.1", 8080))
        with pytest.raises(AccessDenied):
            mark(IPv4Address("TCP", "10.1.2.3", 80), deny_private=True)

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no such sockets")
    def test_on_this_machine_by_whether_a_buffr_listens_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            announced = announce_port(port)
            if announced is None:
                pytest.skip("ports cannot be announced here")
            peer = IPv4Address("TCP", "127.0.0.1", port)
            assert mark(peer) is Mark.ADD
            assert announce_port(port) is None, "nobody else can"
            announced.close()
            assert mark(peer) is Mark.PASS_ON
            assert not is_announced(port)
