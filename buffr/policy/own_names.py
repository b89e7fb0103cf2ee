"""The host names under which browsers may use buffr's own pages.

A page on any site can make its own host name resolve to this machine (DNS
rebinding), or submit a form to it: ``Host`` reveals the one, ``Origin`` the
other. Neither can pose as an IP address that is not its own.
"""

from __future__ import annotations

import re

from attrs import field, frozen

from buffr.message import Headers
from buffr.policy.access import address_of
from buffr.policy.hosts import EVERY_HOST, HostTable, plain_host

__all__ = ["OwnNames"]

_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]@/?#\\\s]+)(?::[0-9]*)?")
_ORIGIN = re.compile(r"https?://(?P<authority>[^/]+)")


@frozen
class _Name:
    host: str


@frozen
class OwnNames:
    """Distinguishes buffr's own names from foreign ones.

    Its own are loopback names and addresses, the listen address, and
    ``names``, in the syntax of ``HostTable``. If it listens on every address,
    all addresses are its own, since it cannot know which of them lead here.
    """

    listen: str
    names: tuple[str, ...] = ()
    _table: HostTable[_Name] = field(init=False, eq=False, repr=False)

    @_table.default
    def _default_table(self) -> HostTable[_Name]:
        return HostTable(_Name(name) for name in self.names)

    def foreign(self, headers: Headers) -> tuple[str, str] | None:
        """The first field of a request with a foreign name, and its value, if any.

        A request without ``Host`` is HTTP/1.0, and does not come from a browser.
        """
        for name, value in headers:
            lower = name.lower()
            if lower not in (b"host", b"origin"):
                continue
            text = value.decode("latin-1")
            authority: str | None = text
            if lower == b"origin":
                origin = _ORIGIN.fullmatch(text)
                authority = None if origin is None else origin["authority"]
            if authority is None or not self._is_own(authority):
                return name.decode("ascii"), text
        return None

    def _is_own(self, authority: str) -> bool:
        if EVERY_HOST in self.names:
            return True
        found = _AUTHORITY.fullmatch(authority)
        if found is None:
            return False
        host = plain_host(found["host"])
        address = address_of(host)
        if address is None:
            loopback = host == "localhost" or host.endswith(".localhost")
            return loopback or self._table.find(host) is not None
        own = address_of(self.listen)
        if address.is_loopback or address.is_unspecified or address == own:
            return True
        return (own is not None and own.is_unspecified) or self._table.find(host) is not None
