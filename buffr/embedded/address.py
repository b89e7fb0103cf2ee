"""Resolves the host in the settings to a listener's address."""

from __future__ import annotations

import socket
from ipaddress import ip_address

__all__ = ["listening_address"]


def listening_address(host: str) -> str:
    """The IP address itself, or the first one of a name; IPv4 before IPv6. Blocks.

    Raises ``OSError`` for a name that has none.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise OSError(f"server.host {host}: has no address: {error.strerror}") from error
    addresses = sorted(found, key=lambda one: one[0] != socket.AF_INET)
    return str(addresses[0][4][0])
