"""An origin: the address of an upstream, independent of how it is reached."""

from __future__ import annotations

import ipaddress
import re

from attrs import frozen

__all__ = ["Origin", "host_and_port"]

_DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?P<colon>:(?P<port>[0-9]{0,8}))?")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_PATH = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")


def host_and_port(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 literal (RFC 3986 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@frozen
class Origin:
    """An upstream's address, as a URL in the settings names it.

    ``scheme`` is ``http`` or ``https``. ``host`` is a lower-case name, or an
    IP literal without brackets. ``base_path`` is empty, or begins with a
    slash; a request's target is appended to it unchanged, so the URL's final
    slash is removed.
    """

    scheme: str
    host: str
    port: int
    base_path: str = ""

    @classmethod
    def parse(cls, text: str) -> Origin:
        """The origin that a URL names. Raises ``ValueError`` with what is wrong with the URL."""
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(_why_no_url(text))
        if "@" in match["authority"]:
            raise ValueError("contains a user name; clients send their own credentials")
        scheme = match["scheme"].lower()
        host, port = _host_and_port(match["authority"])
        if not _PATH.fullmatch(match["path"]):
            raise ValueError("contains a character in its path that must be percent-encoded")
        return cls(scheme, host, port or _DEFAULT_PORTS[scheme], match["path"].removesuffix("/"))

    @property
    def base_path_bytes(self) -> bytes:
        return self.base_path.encode("ascii")

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> bytes:
        """The value of ``Host``: brackets around an IPv6 literal, no default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != _DEFAULT_PORTS[self.scheme]:
            host = f"{host}:{self.port}"
        return host.encode("ascii")

    @property
    def root(self) -> bytes:
        """Scheme and authority, the beginning of a URL."""
        return self.scheme.encode("ascii") + b"://" + self.authority

    @property
    def url(self) -> str:
        return f"{self.root.decode('ascii')}{self.base_path}"


def _why_no_url(text: str) -> str:
    scheme, mark, _ = text.partition("://")
    if not mark or scheme.lower() not in _DEFAULT_PORTS:
        return "does not begin with http:// or https://"
    return "has a query or a fragment, which belong to a request"


def _host_and_port(authority: str) -> tuple[str, int]:
    """The lower-case host without brackets, and the port, which is 0 if none is given."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("has an invalid host or port")
    port = int(match["port"] or 0)
    if match["colon"] and not 1 <= port <= 65535:
        raise ValueError("has a port that is not from 1 to 65535")
    return _host(match["host"].lower()), port


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1] if "%" not in host else ""))
        except ValueError:
            raise ValueError("has a host that is not an IPv6 address") from None
    if not _NAME.fullmatch(host):
        raise ValueError("has an invalid host name (outside ASCII, write it as xn--...)")
    # Resolvers accept 127.1 and 0x7f000001 as addresses; four plain numbers are certainly one.
    if _NUMBERS.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("has a host that is not an IPv4 address") from None
    return host
