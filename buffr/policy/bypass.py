"""Which hosts are bypassed: lists in the syntax of ``NO_PROXY``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
)

from attrs import field, frozen

from buffr.policy.hosts import EVERY_HOST, host_name, plain_host

__all__ = ["Bypass"]

_ANY_PORT = 0
_MAPPED = IPv6Network("::ffff:0:0/96")

_Network = IPv4Network | IPv6Network
_Ports = dict[str, set[int]]


class _Rules:
    """The parsed entries: names to ports, ranges with ports."""

    def __init__(self) -> None:
        self.everywhere: set[int] = set()
        self.exact: _Ports = {}
        self.below: _Ports = {}
        self.ranges: list[tuple[_Network, int]] = []

    @property
    def are_loopback(self) -> bool:
        names = {*self.exact, *self.below}
        ranges = (network.is_loopback for network, _ in self.ranges)
        return not self.everywhere and names <= {"localhost"} and all(ranges)

    def add(self, entry: str) -> None:
        if "://" in entry:
            raise ValueError("is a URL; give the host alone")
        if "/" in entry:
            self.ranges.append((_range(entry), _ANY_PORT))
            return
        host, port = _split(entry)
        if host == EVERY_HOST:
            self.everywhere.add(port)
            return
        below_only = host.startswith("*.")
        within = host.startswith(".")
        name = host_name(host[2 if below_only else 1 if within else 0 :])
        address = _address(name)
        if address is None:
            self.below.setdefault(name, set()).add(port)
            if not below_only:
                self.exact.setdefault(name, set()).add(port)
        elif below_only or within:
            raise ValueError("has an address where only a name is allowed")
        else:
            self.ranges.append((_only(address), port))


def _rules_of(bypass: Bypass) -> _Rules:
    rules = _Rules()
    for entry in bypass.entries:
        rules.add(entry)
    return rules


@frozen
class Bypass:
    """A list of hosts.

    An entry is ``example.com`` or ``.example.com`` (the host and its
    subdomains), ``*.example.com`` (only subdomains), an IP literal, any of these
    with ``:port``, a range such as ``10.0.0.0/8``, or ``*``. An IPv6 literal
    with a port is in brackets. Case and a dot at the end make no difference.
    Names are not resolved: a range matches literals only.
    """

    entries: tuple[str, ...] = ()
    _rules: _Rules = field(init=False, eq=False, repr=False)

    @_rules.default
    def _default_rules(self) -> _Rules:
        return _rules_of(self)

    @classmethod
    def of(cls, entries: Iterable[str]) -> Bypass:
        """From a list; ``ValueError`` explains the first invalid entry."""
        return cls(tuple(entries))

    def of_loopback(self) -> tuple[str, ...]:
        """The entries that are for ``localhost`` and loopback addresses alone."""
        return tuple(entry for entry in self.entries if _rules_of(Bypass((entry,))).are_loopback)

    def matches(self, host: str, port: int) -> bool:
        """Whether any entry matches a host and port."""
        return self._has(self._rules.everywhere, port) or self.names(host, port)

    def names(self, host: str, port: int) -> bool:
        """Whether any entry other than ``*`` matches."""
        rules = self._rules
        name = plain_host(host)
        address = _address(name)
        if address is not None:
            return any(
                wanted in {_ANY_PORT, port} and address in network
                for network, wanted in rules.ranges
            )
        if self._has(rules.exact.get(name), port):
            return True
        rest = name.partition(".")[2]
        while rest:
            if self._has(rules.below.get(rest), port):
                return True
            rest = rest.partition(".")[2]
        return False

    @staticmethod
    def _has(ports: set[int] | None, port: int) -> bool:
        return ports is not None and (_ANY_PORT in ports or port in ports)


def _split(entry: str) -> tuple[str, int]:
    """The host and the port, 0 if there is none."""
    if entry.startswith("["):
        host, bracket, rest = entry.partition("]")
        host += bracket
    elif entry.count(":") == 1:
        host, colon, digits = entry.partition(":")
        rest = colon + digits
    else:
        host, rest = entry, ""
    if not rest:
        return host, _ANY_PORT
    digits = rest[1:]
    if rest[0] != ":" or not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        raise ValueError("has a port that is not a number")
    port = int(digits)
    if not 1 <= port <= 65535:
        raise ValueError("has a port that is not from 1 to 65535")
    return host, port


def _range(entry: str) -> _Network:
    address, _, _ = entry.partition("/")
    try:
        if ":" not in address:
            return IPv4Network(entry, strict=False)
        network = IPv6Network(entry, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise ValueError("is not an address range") from None
    if network.subnet_of(_MAPPED):
        mapped = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return IPv4Network((mapped, network.prefixlen - 96))
    return network


@lru_cache(maxsize=1024)
def _address(name: str) -> IPv4Address | IPv6Address | None:
    """The address of a literal; an IPv4-mapped IPv6 address becomes its IPv4 address."""
    if ":" not in name and not name[-1:].isdigit():
        return None
    try:
        if ":" not in name:
            return IPv4Address(name)
        address = IPv6Address(name)
    except AddressValueError:
        return None
    return address.ipv4_mapped or address


def _only(address: IPv4Address | IPv6Address) -> _Network:
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)
