"""What may pass between inside and outside as it is: allowed services, published ports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import frozen

from buffr.origin import host_and_port

__all__ = ["Allowed", "Published", "host_services"]

_PORT = r"(\d{1,5})"
_ALLOWED = re.compile(rf"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):{_PORT}")
_PUBLISHED = re.compile(rf"{_PORT}(?::{_PORT})?")
_LISTENS = "0A"


@frozen
class Allowed:
    """A host and port to which connections are relayed as they are, and not recorded."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """Read ``HOST:PORT``, with brackets around an IPv6 address. Raises ``ValueError``."""
        found = _ALLOWED.fullmatch(text)
        port = 0 if found is None else int(found[3])
        if found is None or not 0 < port < 65536:
            raise ValueError(f"{text!r} must be HOST:PORT")
        host = found[1] or found[2].lower().rstrip(".")
        if found[1]:
            host = str(IPv6Address(found[1]))
        return cls(host, port)

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host, if it is an address."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether it is a service of the machine outside, at its own loopback address."""
        address = self.address
        return self.host == "localhost" if address is None else address.is_loopback

    def __str__(self) -> str:
        return host_and_port(self.host, self.port)


@frozen
class Published:
    """A port of the command's that can be reached from outside, at a port of 127.0.0.1."""

    outside: int
    inside: int

    @classmethod
    def parse(cls, text: str) -> Published:
        """Read ``PORT`` or ``OUTSIDE:INSIDE``. Raises ``ValueError``."""
        found = _PUBLISHED.fullmatch(text)
        if found is not None:
            outside, inside = int(found[1]), int(found[2] or found[1])
            if 0 <= outside < 65536 and 0 < inside < 65536:
                return cls(outside, inside)
        raise ValueError(f"{text!r} must be PORT, or OUTSIDE:INSIDE")


def host_services() -> tuple[int, ...]:
    """The ports that something listens on here at a loopback address, or at all addresses."""
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            text = Path("/proc/net", table).read_text("ascii")
        except OSError:
            continue
        ports |= set(_listening(text))
    return tuple(sorted(ports))


def _listening(table: str) -> Iterator[int]:
    for line in table.splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        address, port = local.split(":")
        if state == _LISTENS and _reaches_loopback(bytes.fromhex(address)):
            yield int(port, 16)


def _reaches_loopback(raw: bytes) -> bool:
    """Whether an address, in words of the machine's own order of bytes, is one to be reached so."""
    words = (raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    one = ip_address(b"".join(words))
    mapped = one.ipv4_mapped if isinstance(one, IPv6Address) else None
    return (mapped or one).is_loopback or one.is_unspecified
