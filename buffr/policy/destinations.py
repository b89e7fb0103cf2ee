"""Destinations of a forward proxy's clients: which are relayed unread, which are refused."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from buffr.errors import AccessDenied
from buffr.policy.access import address_of, is_private
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import EVERY_HOST, HostTable, plain_host

__all__ = ["Destinations"]


@frozen(eq=False)
class Destinations:
    """Covers all hosts, whether or not they have a route yet.

    ``bypass`` lists hosts that are relayed unread. If ``private_denied``,
    private addresses are refused, except for destinations named in the settings:
    a row of ``rows`` or an entry of ``named`` other than ``*``, or one of the
    ``targets`` (host and port) of other listeners.
    """

    bypass: Bypass
    private_denied: bool
    rows: HostTable[Any]
    named: Bypass
    targets: frozenset[tuple[str, int]]

    def bypassed(self, host: str, port: int) -> bool:
        """Whether connections to a destination are relayed unread."""
        return self.bypass.matches(host, port)

    def denies_private(self, host: str, port: int) -> bool:
        """Whether a destination is refused if it has a private address."""
        if not self.private_denied:
            return False
        row = self.rows.find(host)
        if (row is not None and row.host != EVERY_HOST) or self.named.names(host, port):
            return False
        return (plain_host(host), port) not in self.targets

    def check(self, host: str, port: int) -> None:
        """Raise ``AccessDenied`` for a private address that is refused.

        The address of a host name is checked when it is dialled.
        """
        name = plain_host(host)
        if address_of(name) is not None and self.denies_private(host, port) and is_private(name):
            raise AccessDenied(
                "private addresses are not served", hint="forward.deny_private sets it"
            )
