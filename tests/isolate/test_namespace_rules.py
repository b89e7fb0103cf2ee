"""The kernel understands the netlink messages as they are meant."""

from __future__ import annotations

import re
import shutil
import struct

import pytest
from namespaces import needs_namespaces, output_inside

from buffr.isolate import netlink

pytestmark = needs_namespaces

GUARD = """
meta l4proto tcp ct status dnat accept
meta mark 0x00000001 accept
tcp flags == 0x14 tcp sequence 0 tcp sport @on_host log prefix "lo" group 1 drop
ip daddr 127.0.0.0/8 accept
ip6 daddr ::1 accept
ip daddr 198.18.0.1 accept
ip6 daddr fd62:7566:6672::1 accept
tcp dport 53 accept
udp dport 53 accept
ip daddr 169.254.0.0/16 log prefix "metadata" group 1 drop
ip6 daddr fe80::/10 log prefix "metadata" group 1 drop
ip6 daddr fd00:ec2::254 log prefix "metadata" group 1 drop
tcp dport @server_first log prefix "port" group 1 drop
meta l4proto tcp accept
meta l4proto udp log prefix "udp" group 1 accept
log prefix "other" group 1 accept
"""
ARRIVAL = """
meta l4proto tcp accept
ip daddr 127.0.0.0/8 accept
ip6 daddr ::1 accept
ip daddr 198.18.0.1 accept
ip6 daddr fd62:7566:6672::1 accept
drop
"""
REDIRECT = """
udp dport 53 redirect to :53
tcp dport 53 redirect to :53
ip daddr 127.0.0.0/8 return
ip6 daddr ::1 return
ip daddr 198.18.0.1 return
ip6 daddr fd62:7566:6672::1 return
meta l4proto tcp redirect to :1
meta l4proto udp redirect to :9
"""


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft, which prints rules, is missing")
class TestRules:
    def test_as_nft_prints_them(self) -> None:
        said = output_inside("nft", "list", "table", "inet", "buffr")
        chains = dict(re.findall(r"chain (\w+) \{\n\s+type [^\n]+\n(.*?)\n\t\}", said, re.DOTALL))
        printed = {
            name: [line.strip() for line in rules.splitlines()] for name, rules in chains.items()
        }
        assert printed == {
            "guard": GUARD.strip().splitlines(),
            "redirect": REDIRECT.strip().splitlines(),
            "arrival": ARRIVAL.strip().splitlines(),
        }
        assert "type filter hook output priority mangle; policy accept;" in said
        assert "type nat hook output priority -100; policy accept;" in said
        assert "5432" in said


class TestAnswers:
    def test_what_the_kernel_did_not_accept(self) -> None:
        def acknowledged(errno: int) -> bytes:
            return struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -errno) + bytes(16)

        received = acknowledged(0) + acknowledged(17) + acknowledged(0)
        assert netlink.failures(received) == (3, [netlink.Failed(1, 17)])

    def test_a_message_that_is_cut(self) -> None:
        assert netlink.failures(bytes(20)) == (0, [])
        assert list(netlink.logs(struct.pack("=IHHII", 16, 0x400, 0, 0, 0))) == [
            netlink.Logged("", b"")
        ]
