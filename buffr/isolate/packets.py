"""Packets as bytes: those that were refused, and those that tell a client so.

A refused packet is dropped, and its client waits, until buffr has seen which
program it is of. Then buffr answers as the far end would.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

__all__ = ["ICMP", "ICMPV6", "TCP", "UDP", "Packet", "parsed", "reset_of", "unreachable"]

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
_RESET_AND_ACK = 0x14
_TTL = 64
_QUOTED_V4, _QUOTED_V6 = 28, 48
"""What an ICMP error quotes: the IP header, without options, and eight bytes more."""

Address = IPv4Address | IPv6Address


@frozen
class Packet:
    """A packet's addresses and ports; ports are zero where the protocol has none.

    ``sequence`` is TCP's number of the first byte, and ``raw`` the whole packet.
    """

    source: Address
    source_port: int
    target: Address
    target_port: int
    protocol: int
    sequence: int
    raw: bytes


def parsed(raw: bytes) -> Packet | None:
    """The packet in what nftables logged; ``None`` if it is too short to be one."""
    if not raw:
        return None
    source: Address
    target: Address
    if raw[0] >> 4 == 4 and len(raw) >= 20:
        protocol, at = raw[9], (raw[0] & 15) * 4
        source, target = IPv4Address(raw[12:16]), IPv4Address(raw[16:20])
    elif raw[0] >> 4 == 6 and len(raw) >= 40:
        protocol, at = raw[6], 40
        source, target = IPv6Address(raw[8:24]), IPv6Address(raw[24:40])
    else:
        return None
    ports, sequence = (0, 0), 0
    if protocol in (TCP, UDP) and len(raw) >= at + 8:
        ports = struct.unpack_from(">HH", raw, at)
        (sequence,) = struct.unpack_from(">I", raw, at + 4)
    return Packet(source, ports[0], target, ports[1], protocol, sequence, raw)


def reset_of(packet: Packet) -> bytes:
    """A TCP reset from where a SYN was to go, which its client sees as a closed port."""
    segment = struct.pack(
        ">HHIIBBHHH",
        packet.target_port,
        packet.source_port,
        0,
        (packet.sequence + 1) & 0xFFFFFFFF,
        5 << 4,
        _RESET_AND_ACK,
        *(0, 0, 0),
    )
    summed = _checksum(_pseudo_header(packet, TCP, len(segment)) + segment)
    return _headed(packet, TCP, segment[:16] + struct.pack(">H", summed) + segment[18:])


def unreachable(packet: Packet) -> bytes:
    """An ICMP error from where a packet was to go.

    For a datagram: nobody is at that port. For anything else: it is
    administratively prohibited.
    """
    is_datagram = packet.protocol == UDP
    if packet.target.version == 4:
        code = 3 if is_datagram else 13
        message = struct.pack(">BBHI", 3, code, 0, 0) + packet.raw[:_QUOTED_V4]
        summed = _checksum(message)
        protocol = ICMP
    else:
        code = 4 if is_datagram else 1
        message = struct.pack(">BBHI", 1, code, 0, 0) + packet.raw[:_QUOTED_V6]
        protocol = ICMPV6
        summed = _checksum(_pseudo_header(packet, ICMPV6, len(message)) + message)
    return _headed(packet, protocol, message[:2] + struct.pack(">H", summed) + message[4:])


def _headed(packet: Packet, protocol: int, payload: bytes) -> bytes:
    """An IP packet from the target of another one to its source."""
    source, target = packet.target.packed, packet.source.packed
    if packet.target.version == 6:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, _TTL)
        return head + source + target + payload
    # The kernel fills the checksum in.
    size = 20 + len(payload)
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, _TTL, protocol, 0)
    return head + source + target + payload


def _pseudo_header(packet: Packet, protocol: int, size: int) -> bytes:
    addresses = packet.target.packed + packet.source.packed
    if packet.target.version == 4:
        return addresses + struct.pack(">BBH", 0, protocol, size)
    return addresses + struct.pack(">II", size, protocol)


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
