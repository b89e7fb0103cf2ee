"""Packets as bytes: what was refused, and the answers that a client takes for the far end's."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate.packets import ICMP, TCP, UDP, parsed, reset_of, unreachable


def summed(data: bytes) -> int:
    """The Internet checksum over data that has a right one: zero."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def v4(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return head + ip_address("198.18.0.1").packed + ip_address("8.8.8.8").packed + payload


def v6(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    source = ip_address("fd62:7566:6672::1").packed
    return head + source + ip_address("2001:db8::5").packed + payload


SYN = struct.pack(">HHIIBBHHH", 40000, 5432, 0xFFFFFFFF, 0, 0x50, 2, 65535, 0, 0)
DATAGRAM = struct.pack(">HHHH", 40000, 443, 9, 0) + b"x"


class TestParsed:
    @pytest.mark.parametrize("wrap", [v4, v6])
    def test_addresses_and_ports(self, wrap: Callable[[int, bytes], bytes]) -> None:
        packet = parsed(wrap(TCP, SYN))
        assert packet is not None
        assert (packet.source_port, packet.target_port, packet.sequence) == (40000, 5432, 2**32 - 1)
        assert str(packet.target) in ("8.8.8.8", "2001:db8::5")

    @given(st.binary(max_size=80))
    def test_hostile_bytes(self, data: bytes) -> None:
        packet = parsed(data)
        if packet is not None:
            assert reset_of(packet)
            assert unreachable(packet)


class TestAnswers:
    def test_a_reset_acknowledges_the_syn(self) -> None:
        packet = parsed(v4(TCP, SYN))
        assert packet is not None
        reset = reset_of(packet)
        assert reset[12:20] == packet.target.packed + packet.source.packed
        ports_and_numbers = struct.unpack(">HHII", reset[20:32])
        assert ports_and_numbers == (5432, 40000, 0, 0)  # after the last number comes the first
        assert reset[33] == 0x14
        assert summed(reset[12:20] + struct.pack(">BBH", 0, TCP, 20) + reset[20:]) == 0

    def test_over_ipv6(self) -> None:
        packet = parsed(v6(UDP, DATAGRAM))
        assert packet is not None
        error = unreachable(packet)
        size = len(error) - 40
        assert error[40:42] == bytes((1, 4))
        assert error[48:] == packet.raw[:48]
        pseudo = packet.target.packed + packet.source.packed + struct.pack(">II", size, 58)
        assert summed(pseudo + error[40:]) == 0

    def test_a_datagram_and_anything_else(self) -> None:
        for protocol, code in ((UDP, 3), (ICMP, 13)):
            packet = parsed(v4(protocol, DATAGRAM + b"x"))
            assert packet is not None
            error = unreachable(packet)
            assert error[20:22] == bytes((3, code))
            assert error[28:] == packet.raw[:28]
            assert summed(error[20:]) == 0
