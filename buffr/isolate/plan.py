"""What a namespace is to have: its network, its rules, its sockets, and the files in it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import frozen

from buffr.isolate import netlink
from buffr.isolate.first_bytes import SERVER_FIRST
from buffr.isolate.names import OWN_V4, OWN_V6

__all__ = ["LOG_GROUP", "MARK", "Door", "Mount", "Plan", "links", "ruleset"]

LOG_GROUP = 1
ENTRANCE_PORT = 1
"""Where all connections end. No program can want it for itself."""
_SINK_PORT = 9
"""Where datagrams end that are refused: what is sent to a closed port is refused at once."""
_DNS_PORT = 53
_TABLE = "buffr"
_TCP, _UDP = 6, 17
_SERVER_FIRST, _ON_HOST = "server_first", "on_host"
MARK = 1
"""Of the packets that buffr itself sends inside."""
_LOOPBACK = ((IPv4Address("127.0.0.0"), 8), (IPv6Address("::1"), 128))
_OWN = (*_LOOPBACK, (OWN_V4, 32), (OWN_V6, 128))
_METADATA = (
    (IPv4Address("169.254.0.0"), 16),
    (IPv6Address("fe80::"), 10),
    (IPv6Address("fd00:ec2::254"), 128),
)
"""Link-local addresses, and where clouds tell a machine its credentials."""


@frozen
class Mount:
    """A file, or a directory, that another one hides inside."""

    source: Path
    target: Path


@frozen
class Door:
    """A socket that is opened inside, and served outside."""

    name: str
    family: int
    kind: int
    address: tuple[str, int]

    @property
    def host(self) -> str:
        return self.address[0]


def _doors() -> tuple[Door, ...]:
    made = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        made += [
            Door("entrance", family, socket.SOCK_STREAM, (host, ENTRANCE_PORT)),
            Door("dns-tcp", family, socket.SOCK_STREAM, (host, _DNS_PORT)),
            Door("dns-udp", family, socket.SOCK_DGRAM, (host, _DNS_PORT)),
            Door("sink", family, socket.SOCK_DGRAM, (host, _SINK_PORT)),
        ]
    return tuple(made)


_DOORS = _doors()


@frozen
class Plan:
    """Everything that the processes inside have to know; they are forked with it."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    mounts: tuple[Mount, ...]
    doors: tuple[Door, ...]
    rules: bytes
    families: tuple[int, ...]
    """Those of addresses: a kernel may do without IPv6."""

    @classmethod
    def of(
        cls,
        command: Iterable[str],
        environ: Mapping[str, str],
        *,
        mounts: tuple[Mount, ...] = (),
        doors: tuple[Door, ...] = (),
        rules: bytes | None = None,
    ) -> Plan:
        """A plan for this system, with its own doors before these."""
        families = (socket.AF_INET, *((socket.AF_INET6,) if _has_ipv6() else ()))
        every = (door for door in (*_DOORS, *doors) if door.family in families)
        whole = ruleset() if rules is None else rules
        return cls(tuple(command), environ, mounts, tuple(every), whole, families)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def links(families: Iterable[int]) -> list[bytes]:
    """The messages that make the network: ``lo`` with every address there is."""
    own = [OWN_V6 if family == socket.AF_INET6 else OWN_V4 for family in families]
    return [netlink.link_up(), *map(netlink.address, own), *map(netlink.to_all, own)]


def ruleset(allowed: Iterable[tuple[str, int]] = (), on_host: Iterable[int] = ()) -> bytes:
    """The rules: whatever does not end inside is redirected to buffr, or refused.

    ``allowed`` are addresses and ports at which a refused protocol may pass.
    ``on_host`` are ports that something listens on outside, on loopback: it is
    told if the command looks for one of them.

    A packet that is refused is logged, and goes nowhere: its client waits until
    buffr knows its program, and has it told.
    """
    is_tcp, is_udp = netlink.is_protocol(_TCP), netlink.is_protocol(_UDP)
    accept, drop, back = (
        [netlink.verdict(code)] for code in (netlink.ACCEPT, netlink.DROP, netlink.RETURN)
    )
    dns = netlink.destination_port(_DNS_PORT)
    own = [netlink.destination(one, prefix) for one, prefix in _OWN]
    log = {
        name: netlink.logged(LOG_GROUP, name) for name in ("port", "metadata", "udp", "other", "lo")
    }
    reset = [*netlink.tcp_reset_of_syn(), *netlink.source_port_in(_ON_HOST)]
    passing = (
        [*netlink.destination(ip_address(host)), *is_tcp, *netlink.destination_port(port), *accept]
        for host, port in allowed
    )
    metadata = (
        [*netlink.destination(one, prefix), log["metadata"], *drop] for one, prefix in _METADATA
    )
    guard = netlink.Chain(
        "guard",
        "filter",
        "output",
        -150,
        [
            [*is_tcp, *netlink.translated(), *accept],
            [*netlink.marked(MARK), *accept],
            [*reset, log["lo"], *drop],
            *([*one, *accept] for one in own),
            [*is_tcp, *dns, *accept],
            [*is_udp, *dns, *accept],
            *passing,
            *metadata,
            [*is_tcp, *netlink.destination_port_in(_SERVER_FIRST), log["port"], *drop],
            [*is_tcp, *accept],
            [*is_udp, log["udp"], *accept],
            [log["other"], *accept],
        ],
    )
    # Every address is one of this machine's here; it is not to answer in the place of others.
    arrival = netlink.Chain(
        "arrival",
        "filter",
        "input",
        0,
        [[*is_tcp, *accept], *([*one, *accept] for one in own), drop],
    )
    redirect = netlink.Chain(
        "redirect",
        "nat",
        "output",
        -100,
        [
            [*is_udp, *dns, *netlink.redirected(_DNS_PORT)],
            [*is_tcp, *dns, *netlink.redirected(_DNS_PORT)],
            *([*one, *back] for one in own),
            [*is_tcp, *netlink.redirected(ENTRANCE_PORT)],
            [*is_udp, *netlink.redirected(_SINK_PORT)],
        ],
    )
    sets = {_SERVER_FIRST: tuple(SERVER_FIRST), _ON_HOST: tuple(on_host)}
    return netlink.rules(_TABLE, (guard, redirect, arrival), sets)
