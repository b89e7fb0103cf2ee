"""Parent proxies: the one set for a route, or those in buffr's environment."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Literal
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from buffr.config.problems import Problems, shown
from buffr.origin import Origin
from buffr.policy.access import reached_address
from buffr.policy.bypass import Bypass

__all__ = [
    "ParentProxies",
    "ParentProxy",
    "Via",
    "is_this_machine",
    "read_no_proxy",
    "read_parents",
]


@frozen
class ParentProxy:
    """A proxy behind buffr. ``authorization`` is the value of ``Proxy-Authorization``."""

    origin: Origin
    authorization: bytes | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> ParentProxy:
        """Parse ``http://[USER:PASSWORD@]HOST[:PORT]``; ``ValueError`` explains what is wrong.

        User and password are percent-encoded where necessary. The error
        does not repeat any part of the text.
        """
        scheme, slashes, rest = text.partition("://")
        if not slashes or scheme.lower() not in {"http", "https"}:
            raise ValueError("does not begin with http:// or https://")
        user_info, at, address = rest.rpartition("@")
        origin = Origin.parse(f"{scheme}://{address}")
        if origin.base_path or re.search("[/?#]", user_info):
            raise ValueError("has a path, which a proxy cannot have; write / in a password as %2F")
        return cls(origin, _basic(user_info) if at else None)

    @property
    def url(self) -> str:
        """The URL without user and password."""
        return self.origin.url


def _basic(user_info: str) -> bytes:
    if not user_info.isascii():
        raise ValueError("has a user name or password that must be percent-encoded")
    user, _, password = user_info.partition(":")
    raw_user, raw_password = unquote_to_bytes(user), unquote_to_bytes(password)
    if b":" in raw_user:
        raise ValueError("has a colon in its user name")  # RFC 7617 2
    return b"Basic " + b64encode(raw_user + b":" + raw_password)


Via = ParentProxy | Literal["none"]
"""The parent proxy set for a route: this one, or none."""


@frozen(kw_only=True)
class ParentProxies:
    """The parent proxies set in the environment, for routes that set none."""

    http: ParentProxy | None = None
    https: ParentProxy | None = None
    bypass: Bypass = Bypass()

    def of(self, origin: Origin, via: Via | None = None) -> ParentProxy | None:
        """The parent proxy for an origin: from its route, or from the environment.

        The environment's parents apply to other machines only: nothing on a
        loopback address, or in ``NO_PROXY``, is reached through them.
        """
        if via is not None:
            return None if via == "none" else via
        parent = self.https if origin.tls else self.http
        if parent is None or is_this_machine(origin.host):
            return None
        return None if self.bypass.matches(origin.host, origin.port) else parent


def is_this_machine(host: str) -> bool:
    """Whether a host is ``localhost``, a subdomain of it, or a loopback address."""
    address = reached_address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def read_parents(
    environ: Mapping[str, str], no_proxy: tuple[str, ...], problems: Problems
) -> ParentProxies:
    """The proxies in ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY``, lower case first.

    One that cannot be used is reported, without its value, and skipped.
    """
    return ParentProxies(
        http=_parent("http_proxy", environ, problems),
        https=_parent("https_proxy", environ, problems),
        bypass=Bypass.of(no_proxy),
    )


def _parent(name: str, environ: Mapping[str, str], problems: Problems) -> ParentProxy | None:
    for one in (name, name.upper(), "all_proxy", "ALL_PROXY"):
        text = environ.get(one, "").strip()
        if text:
            try:
                return ParentProxy.parse(text if "://" in text else f"http://{text}")
            except ValueError as error:
                problems.warn(one, "", f"{error}; not used as a parent proxy")
                return None
    return None


def read_no_proxy(environ: Mapping[str, str], problems: Problems) -> tuple[str, ...]:
    """The entries of ``NO_PROXY`` and ``no_proxy``; invalid ones are reported and skipped."""
    entries: dict[str, None] = {}
    for name in ("NO_PROXY", "no_proxy"):
        for word in environ.get(name, "").replace(",", " ").split():
            try:
                Bypass.of([word])
            except ValueError as error:
                problems.warn(name, "", f"{shown(word)} {error}; skipped")
            else:
                entries[word] = None
    return tuple(entries)
