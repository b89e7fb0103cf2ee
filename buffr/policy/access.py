"""Who may use a proxy's port, which addresses are private, and which are relayed or refused."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

from attrs import field, frozen

from buffr.errors import AccessDenied, ProxyKeyNeeded
from buffr.policy.bypass import Bypass
from buffr.policy.hosts import EVERY_HOST, HostTable, plain_host

__all__ = [
    "SCOPE_IS",
    "Access",
    "Address",
    "Destinations",
    "Network",
    "address_of",
    "is_loopback",
    "is_private",
    "is_scope",
    "reached_address",
]

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_SCOPE = re.compile(rb"[A-Za-z0-9._~-]{1,64}")
SCOPE_IS = "at most 64 letters, digits and . _ ~ -"
"""The syntax of a scope's name, for messages."""

_HINT = "give the proxy's URL as http://NAME:KEY@HOST:PORT"


@frozen
class Access:
    """Admits clients to a proxy's port: by the key, or by their network.

    ``on_loopback``: the port listens on a loopback address, so clients on this
    machine need neither. ``require_scope``: every client must name a scope.
    """

    key: bytes | None = field(default=None, repr=False)
    allow: tuple[Network, ...] = ()
    on_loopback: bool = False
    require_scope: bool = False

    def admit(self, client: str, authorization: bytes | None) -> str:
        """The scope given as the client's user name, or an empty string.

        ``client`` is an IP address, and ``authorization`` the value of
        ``Proxy-Authorization``: ``Basic`` with user name and key (RFC 7617),
        or ``Bearer`` with the key (RFC 6750). Raises ``ProxyKeyNeeded`` if
        better credentials would help, otherwise ``AccessDenied``.
        """
        scope, key = _credentials(authorization)
        if not self.knows(client) and not self._is_key(key):
            if self.key is None:
                raise AccessDenied("the client's network is not allowed to use this proxy")
            what = "this proxy requires its key" if key is None else "the proxy's key is wrong"
            raise ProxyKeyNeeded(what, hint=_HINT)
        return scope

    def lets_in(self, client: str, authorization: bytes | None) -> bool:
        """Whether ``admit`` raises nothing."""
        try:
            self.admit(client, authorization)
        except AccessDenied:
            return False
        return True

    def check_scope(self, scope: str) -> None:
        """Raise ``ProxyKeyNeeded``, which asks for a user name, if a required scope is missing."""
        if self.require_scope and not scope:
            raise ProxyKeyNeeded("this proxy requires a user name, which names a scope", hint=_HINT)

    @property
    def is_open(self) -> bool:
        """Whether neither a key nor networks are set."""
        return self.key is None and not self.allow

    def knows(self, client: str) -> bool:
        """Whether the client's address alone admits it."""
        address = address_of(client)
        if address is None:
            return False
        if self.on_loopback and address.is_loopback:
            return True
        return any(address in network for network in self.allow)

    def _is_key(self, key: bytes | None) -> bool:
        return self.key is not None and key is not None and hmac.compare_digest(key, self.key)


def is_scope(name: bytes) -> bool:
    """Whether this is a valid name of a scope; it may become part of a file name."""
    return _SCOPE.fullmatch(name) is not None


def _credentials(authorization: bytes | None) -> tuple[str, bytes | None]:
    """The user name and the key that a client sent."""
    if authorization is None:
        return "", None
    scheme, _, rest = authorization.partition(b" ")
    value = rest.strip(b" ")
    match scheme.lower():
        case b"bearer" if value:
            return "", value
        case b"basic":
            return _basic(value)
    raise ProxyKeyNeeded("Proxy-Authorization is neither Basic nor Bearer", hint=_HINT)


def _basic(value: bytes) -> tuple[str, bytes]:
    try:
        decoded = b64decode(value, validate=True)
    except ValueError:
        raise ProxyKeyNeeded("Proxy-Authorization is not base64", hint=_HINT) from None
    user, colon, key = decoded.partition(b":")
    if not colon:
        raise ProxyKeyNeeded("Proxy-Authorization has no colon", hint=_HINT)
    if user and not is_scope(user):
        raise ProxyKeyNeeded(f"the user name names a scope, and must be {SCOPE_IS}")
    return user.decode("ascii"), key


@lru_cache(maxsize=1024)
def address_of(text: str) -> Address | None:
    """The address; an IPv4-mapped IPv6 address becomes its IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def reached_address(text: str) -> Address | None:
    """The address that a connection to this one reaches: loopback, if it is unspecified."""
    address = address_of(text)
    if address is None or not address.is_unspecified:
        return address
    return IPv4Address("127.0.0.1") if address.version == 4 else IPv6Address("::1")


def is_loopback(address: str) -> bool:
    """Whether this is ``localhost`` or a loopback address."""
    parsed = address_of(address)
    return address == "localhost" if parsed is None else parsed.is_loopback


# IANA's special-purpose addresses (RFC 6890), and metadata addresses that look public.
_PRIVATE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # RFC 6598; 100.100.100.200 is the metadata address of Alibaba's cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata address
        "169.254.0.0/16",  # 169.254.169.254 is the metadata address of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# The only range of global unicast addresses in IPv6 (RFC 4291 2.4).
_UNICAST_V6 = IPv6Network("2000::/3")
_PRIVATE_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4, which hides an IPv4 address
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def is_private(address: str) -> bool:
    """Whether an address is not public.

    That is private, shared, link-local, loopback, unspecified, multicast,
    reserved, or a cloud's metadata address. An address that embeds an IPv4
    address (mapped, or by NAT64, RFC 6052) is judged by that one. A string
    that is not an address counts as private.
    """
    parsed = address_of(address)
    if isinstance(parsed, IPv6Address) and parsed in _NAT64:
        parsed = IPv4Address(int(parsed) & 0xFFFFFFFF)
    if isinstance(parsed, IPv4Address):
        return any(parsed in network for network in _PRIVATE_V4)
    if parsed is None or parsed not in _UNICAST_V6:
        return True
    return any(parsed in network for network in _PRIVATE_V6)


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
