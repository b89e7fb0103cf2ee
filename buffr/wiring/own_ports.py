"""Recognises connections to buffr's own ports."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from buffr.policy.access import Address, address_of, reached_address

__all__ = ["OwnPorts"]


class OwnPorts:
    """Detects a connection that leads back to the service that made it.

    ``listening`` gives the addresses and ports of its listeners, and
    ``is_local`` whether an address is one of this machine's.
    """

    def __init__(
        self,
        listening: Callable[[], Iterable[tuple[str, int]]],
        is_local: Callable[[Address], bool] | None = None,
    ) -> None:
        self._listening = listening
        self._is_local = _is_local if is_local is None else is_local

    def has(self, host: str, port: int) -> bool:
        """Whether the peer address and port of a connection are one of these."""
        peer = reached_address(host)
        if peer is None:
            return False
        for own_host, own_port in self._listening():
            own = address_of(own_host)
            if port != own_port or own is None:
                continue
            if peer == own or (own.is_unspecified and (peer.is_loopback or self._is_local(peer))):
                return True
        return False


def _is_local(address: Address) -> bool:
    """Whether it is an address of this machine: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
