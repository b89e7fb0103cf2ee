"""URLs in a request's fields that name its own server (RFC 4918 10.3 and 10.4).

These are WebDAV's ``Destination`` and the resources in ``If``. A server
accepts them only if they have its own authority, so they are rewritten like
``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buffr.message import Headers, has_any

__all__ = ["has_references", "path_at", "with_references"]

_FIELDS = frozenset((b"destination", b"if"))
_ORIGIN = re.compile(rb"(https?)://([^/?#]*)", re.IGNORECASE)
_CONDITION_OR_RESOURCE = re.compile(rb'\((?:[^()"]|"[^"]*")*\)|<([^<>]*)>')
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}

Change = Callable[[bytes], bytes]


def has_references(headers: Headers) -> bool:
    """Whether there are fields with such URLs."""
    return has_any(headers, _FIELDS)


def with_references(headers: Headers, change: Change) -> Headers:
    """The fields with each such URL changed; the same object if there is none."""
    if not has_references(headers):
        return headers
    return tuple([(name, _changed(name.lower(), value, change)) for name, value in headers])


def _changed(name: bytes, value: bytes, change: Change) -> bytes:
    if name == b"destination":
        return change(value)
    if name == b"if":
        return _CONDITION_OR_RESOURCE.sub(
            lambda found: found[0] if found[1] is None else b"<%b>" % change(found[1]), value
        )
    return value


def path_at(url: bytes, host: bytes) -> int | None:
    """Where the path begins in a URL of this ``Host``, or in one that is only a path.

    ``None`` for a URL of another server, and for anything that is not a URL.
    """
    if url.startswith(b"/"):
        return None if url.startswith(b"//") else 0
    origin = _ORIGIN.match(url)
    if origin is None:
        return None
    port = _DEFAULT_PORTS[origin[1].lower()]
    same = origin[2].lower().removesuffix(port) == host.lower().removesuffix(port)
    return origin.end() if same and host else None
