"""Rewrites the addresses in an upstream's answers for a client of a listener.

Redirects, links and cookies name paths of the upstream. The client of the
gateway reaches them below the route's name, that of a reverse port on its port.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from attrs import frozen

from buffr.message import ResponseHead
from buffr.origin import Origin

__all__ = ["Outside", "WayBack", "inner_target", "is_below", "leads_out"]

_URL_FIELDS = frozenset((b"location", b"content-location"))
_FIELDS = _URL_FIELDS | {b"link", b"set-cookie"}
_LINK_URL = re.compile(rb"<([^<>]*)>(?=\s*(?:;|,|$))")
_HOST_COOKIE = b"__host-"
_CLIMBS = re.compile(r"(?:^|/)\.\.(?:/|$)")


@frozen
class Outside:
    """A route as its clients see it: what lies below ``target`` is below ``/name``.

    A route without a name has a port of its own, and all paths.
    """

    name: bytes
    target: Origin

    @property
    def path(self) -> bytes:
        """Where its paths begin for clients, without a slash at the end."""
        return b"/" + self.name if self.name else b""


def inner_target(route: Outside, rest: bytes) -> bytes:
    """The upstream's target for what follows the name in the client's target, byte for byte."""
    base = route.target.base_path_bytes
    return base + rest if base or rest.startswith(b"/") else b"/" + rest


def leads_out(route: Outside, rest: bytes) -> bool:
    """Whether an upstream could read the target as one above the route's own path.

    Upstreams differ in what they decode, merge and cut off before they resolve ``..``.
    """
    path = rest.partition(b"?")[0]
    if not route.target.base_path_bytes or not (b"." in path or b"%2" in path):
        return False
    depth = 0
    for segment in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            depth -= 1
        elif name not in (b"", b"."):
            depth += 1
        if depth < 0:
            return True
    return False


@frozen
class WayBack:
    """Rewrites the heads of one exchange.

    ``before`` and ``after`` surround a route's name: the segment with the key
    that the client has in its paths, with its slash, or nothing. ``query`` is
    the key's field in the query. ``rest`` is the client's target after the name.

    For a client that asked for an absolute URL, ``at`` (scheme and authority)
    and ``base`` (the path below it) stand in place of the name.
    """

    own: Outside
    routes: Sequence[Outside]
    rest: bytes
    before: bytes = b""
    after: bytes = b""
    query: bytes = b""
    at: bytes = b""
    base: bytes = b""

    def head(self, head: ResponseHead) -> ResponseHead:
        """The head as the client gets it; the same object if nothing changes."""
        if _FIELDS.isdisjoint(head.names):
            return head
        headers = tuple((name, self._value(name.lower(), value)) for name, value in head.headers)
        if headers == head.headers:
            return head
        return ResponseHead(head.status, head.reason, headers, head.minor)

    def _value(self, name: bytes, value: bytes) -> bytes:
        if name in _URL_FIELDS:
            return self.url(value)
        if name == b"link":
            return _LINK_URL.sub(lambda found: b"<" + self.url(found[1]) + b">", value)
        return self._cookie(value) if name == b"set-cookie" else value

    def _path(self, route: Outside) -> bytes:
        return self.before + (self.base if self.at else route.path) + self.after

    def url(self, value: bytes) -> bytes:
        """A URL or relative reference of the upstream, for the client (RFC 3986 4.1)."""
        try:
            text = value.decode("ascii")
            parts = urlsplit(text)
            inside = not parts.scheme and not parts.netloc
            if inside and not text.startswith("/"):
                if text.startswith("#") or not (_CLIMBS.search(parts.path) or self._is_bare):
                    return value
                text = urljoin(self._inner_url, text)
            elif inside or not parts.scheme:
                text = urljoin(self._inner_url, text)
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            return value
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            return value
        reached = Origin(parts.scheme, (parts.hostname or "").lower(), port or _port(parts.scheme))
        path_at = text.find("/", text.find("//") + 2)
        rest = text[len(parts.scheme) + 3 + len(parts.netloc) :] if path_at < 0 else text[path_at:]
        return self._mapped(reached, rest.encode("ascii")) or text.encode("ascii")

    @property
    def _is_bare(self) -> bool:
        """Whether the client's URL ends with the name, which relative references then drop."""
        return not self.rest.startswith(b"/")

    @property
    def _inner_url(self) -> str:
        target = self.own.target
        inner = inner_target(self.own, self.rest).decode("ascii", "replace")
        return f"{target.scheme}://{target.authority.decode('ascii')}{inner}"

    def _mapped(self, reached: Origin, rest: bytes) -> bytes | None:
        """What the client has to ask for; ``None`` if no route leads there."""
        best: tuple[int, Outside] | None = None
        for route in (self.own, *self.routes):
            target, base = route.target, route.target.base_path_bytes
            if (target.scheme, target.host, target.port) != (
                reached.scheme,
                reached.host,
                reached.port,
            ):
                continue
            if is_below(rest, base) and (best is None or len(base) > best[0]):
                best = len(base), route
        if best is None:
            return None
        length, route = best
        path = self._path(route) + rest[length:]
        if not (self.at or path.startswith(b"/")):
            path = b"/" + path
        return self._with_key(self.at + path)

    def _with_key(self, target: bytes) -> bytes:
        if not self.query:
            return target
        whole, mark, fragment = target.partition(b"#")
        return whole + (b"&" if b"?" in whole else b"?") + self.query + mark + fragment

    def _cookie(self, value: bytes) -> bytes:
        """A cookie for this host, below this route (RFC 6265 5.2)."""
        pair, *attributes = value.split(b";")
        kept, has_path = [pair], False
        for attribute in attributes:
            name, equals, text = attribute.partition(b"=")
            match name.strip().lower():
                case b"domain":
                    continue
                case b"path" if equals and text.strip().startswith(b"/"):
                    has_path = True
                    if not pair.lower().startswith(_HOST_COOKIE):
                        start = name + equals + text[: len(text) - len(text.lstrip())]
                        attribute = start + self._cookie_path(text.strip())  # noqa: PLW2901
            kept.append(attribute)
        if not has_path and self._is_bare:
            kept.append(b" Path=" + self._path(self.own))
        return b";".join(kept)

    def _cookie_path(self, path: bytes) -> bytes:
        base, own = self.own.target.base_path_bytes, self._path(self.own)
        if is_below(path, base):
            rest = path[len(base) :]
            return own + (b"" if rest == b"/" else rest) or b"/"
        # A wider path covers all of the route; one beside it never comes back to the upstream.
        return (own or b"/") if is_below(base, path.removesuffix(b"/")) else path


def is_below(target: bytes, base: bytes) -> bool:
    """Whether a target's path is the base path, or is below it."""
    return target.startswith(base) and target[len(base) : len(base) + 1] in (b"", b"/", b"?", b"#")


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
