"""Hosts in settings and requests: their canonical spelling, and the matching row of a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

__all__ = ["EVERY_HOST", "HasHost", "HostTable", "host_name", "host_pattern", "plain_host"]

EVERY_HOST = "*"

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


class HasHost(Protocol):
    """A row of a table of hosts."""

    @property
    def host(self) -> str: ...


HostRow = TypeVar("HostRow", bound=HasHost)


class HostTable(Generic[HostRow]):
    """Finds the row that applies to a host.

    A row's host is a name or an IP literal, ``*.example.com`` for the
    subdomains of a name (not the name itself), or ``*``, in the spelling of
    ``host_pattern``. Of several rows for one host, the first applies.
    """

    def __init__(self, rows: Iterable[HostRow]) -> None:
        self._exact: dict[str, HostRow] = {}
        self._below: dict[str, HostRow] = {}
        self._every: HostRow | None = None
        for row in rows:
            if row.host == EVERY_HOST:
                self._every = self._every or row
            elif row.host.startswith("*."):
                self._below.setdefault(row.host[2:], row)
            else:
                self._exact.setdefault(row.host, row)

    def find(self, host: str) -> HostRow | None:
        """The row of exactly this host, else of the longest ``*.suffix``, else of ``*``."""
        name = plain_host(host)
        found = self._exact.get(name)
        if found is None and self._below and ":" not in name:
            rest = name.partition(".")[2]
            while rest and found is None:
                found = self._below.get(rest)
                rest = rest.partition(".")[2]
        return self._every if found is None else found


def plain_host(host: str) -> str:
    """A request's host in canonical spelling.

    That is in lower case, without the dot at the end of an absolute name, and
    an IPv6 literal in its shortest form and without brackets. Text that is
    not a host never equals a host.
    """
    name = host.lower()
    if ":" not in name:
        return name.removesuffix(".")
    try:
        return str(IPv6Address(name.removeprefix("[").removesuffix("]")))
    except AddressValueError:
        return name


def host_pattern(text: str) -> str:
    """A row's host in canonical spelling. ``ValueError`` explains what is wrong with it."""
    if text == EVERY_HOST:
        return text
    if not text.startswith("*."):
        return host_name(text)
    name = host_name(text[2:])
    if ":" in name or _is_number(name):
        raise ValueError("has an address after its *, which is for names only")
    return f"*.{name}"


def host_name(text: str) -> str:
    """A name or an IP literal in canonical spelling. ``ValueError`` explains what is wrong."""
    name = text.lower()
    if not name.isascii():
        raise ValueError("is not in ASCII; write an international name as xn--...")
    if "/" in name:
        raise ValueError("has a slash; give the host alone")
    if name.startswith("[") or name.count(":") > 1:
        return _ipv6(name)
    if ":" in name:
        raise ValueError("has a port; a host covers all its ports")
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name):
        raise ValueError("is not a host name")
    # Resolvers accept 127.1 and 0x7f000001 as addresses, so only four plain numbers are allowed.
    if _is_number(name):
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            raise ValueError("is not an IPv4 address") from None
    return name


def _ipv6(name: str) -> str:
    bracketed = name.startswith("[") and name.endswith("]")
    try:
        # A zone (%eth0) is only meaningful on one machine.
        return str(IPv6Address("" if "%" in name else name[1:-1] if bracketed else name))
    except AddressValueError:
        pass
    if name.startswith("[") and "]:" in name:
        raise ValueError("has a port; a host covers all its ports")
    raise ValueError("is not an IPv6 address")


def _is_number(name: str) -> bool:
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None
