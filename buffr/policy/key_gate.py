"""buffr's own key in a request: found, checked, and removed before it is passed on."""

from __future__ import annotations

import hmac
import re
from functools import partial
from urllib.parse import unquote_to_bytes

from attrs import evolve, field, frozen

from buffr.errors import AccessDenied, KeyNeeded
from buffr.message import Headers, Request
from buffr.policy.access import Access
from buffr.transport.memo import Memo
from buffr.wire.references import with_references

__all__ = ["Admitted", "KeyGate"]

_FIELDS = frozenset((b"x-buffr-key", b"x-api-buddy-key"))
_ORIGIN = re.compile(rb"[^:/?#]*://[^/?#]*")


@frozen(eq=False)
class Admitted:
    """A request without the key. ``segment`` is its position in the path: 0, 1 or ``None``."""

    request: Request
    segment: int | None = None
    in_query: bool = False


@frozen(eq=False)
class _Found:
    admitted: Admitted
    has_key: bool


@frozen(eq=False)
class KeyGate:
    """Admits the requests of a listener: by the key, or by their client's network.

    The key may be the value of ``X-Buffr-Key`` or ``X-API-Buddy-Key``, a
    bearer token (RFC 6750), a field ``key`` of the query, and with
    ``in_path`` one of the path's first two segments. Values there
    that are not the key reach the upstream byte for byte, except the first
    two. The key is removed from the same positions of the URLs in ``Referer``
    and in WebDAV's ``Destination`` and ``If``.
    """

    access: Access
    in_path: bool = False
    _known: Memo[Request, _Found] = field(
        init=False, repr=False, factory=lambda: Memo(entries=4096, size_bytes=8 << 20)
    )

    def admit(self, request: Request, client: str) -> Admitted:
        """The request to pass on. Raises ``KeyNeeded``, or ``AccessDenied`` if no key is set.

        Equal requests give the same object, with everything cached on it.
        """
        found = self._known.get(request)
        if found is None:
            found = self._taken_off(request)
            self._known.put(request, found, request.head_bytes)
        if found.has_key or self.access.is_open or self.access.knows(client):
            return found.admitted
        if self.access.key is None:
            raise AccessDenied("the client's network is not allowed here")
        raise KeyNeeded("this port requires its key, and the request has none, or a wrong one")

    def lets_in(self, request: Request, client: str) -> bool:
        """Whether ``admit`` raises nothing."""
        try:
            self.admit(request, client)
        except (AccessDenied, KeyNeeded):
            return False
        return True

    def _taken_off(self, request: Request) -> _Found:
        key = self.access.key
        if key is None:
            headers, _ = _without_fields(request.headers, b"")
            same = len(headers) == len(request.headers)
            request = request if same else evolve(request, headers=headers)
            return _Found(Admitted(request), has_key=False)
        headers, in_headers = _without_fields(request.headers, key)
        target, segment, in_query = _without_key(request.target, key, in_path=self.in_path)
        headers = tuple(_referring(one, key, in_path=self.in_path) for one in headers)
        headers = with_references(headers, partial(_url_without, key, in_path=self.in_path))
        if target != request.target or headers != request.headers:
            request = evolve(request, target=target, headers=headers)
        has_key = in_headers or in_query or segment is not None
        return _Found(Admitted(request, segment, in_query), has_key)


def _is_key(value: bytes, key: bytes) -> bool:
    return hmac.compare_digest(value, key)


def _without_fields(headers: Headers, key: bytes) -> tuple[Headers, bool]:
    """The fields to pass on, and whether the key was in the others."""
    left, found = [], False
    for one in headers:
        name = one[0].lower()
        if name in _FIELDS:
            found = _is_key(one[1], key) or found
        elif name == b"authorization" and key and _is_key(_bearer(one[1]), key):
            found = True
        else:
            left.append(one)
    return tuple(left), found


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    return token.strip(b" ") if scheme.lower() == b"bearer" else b""


def _without_key(target: bytes, key: bytes, *, in_path: bool) -> tuple[bytes, int | None, bool]:
    """A target without the key, its first position in the path, and whether it was in the query."""
    path, mark, query = target.partition(b"?")
    segment = None
    if in_path:
        path, segment = _without_segments(path, key)
    fields = query.split(b"&")
    left = [one for one in fields if not _is_key_field(one, key)]
    target = path + (mark + b"&".join(left) if mark and left else b"")
    return target, segment, len(left) < len(fields)


def _referring(one: tuple[bytes, bytes], key: bytes, *, in_path: bool) -> tuple[bytes, bytes]:
    """A request field; ``Referer`` holds a URL of ours, which may contain the key, too."""
    if one[0].lower() != b"referer":
        return one
    return one[0], _url_without(key, one[1], in_path=in_path)


def _url_without(key: bytes, url: bytes, *, in_path: bool) -> bytes:
    begins = _ORIGIN.match(url)
    end = 0 if begins is None else begins.end()
    return url[:end] + _without_key(url[end:], key, in_path=in_path)[0]


def _is_key_field(text: bytes, key: bytes) -> bool:
    name, _, value = text.partition(b"=")
    return unquote_to_bytes(name) == b"key" and _is_key(unquote_to_bytes(value), key)


def _without_segments(path: bytes, key: bytes) -> tuple[bytes, int | None]:
    """The path without the key in its first two segments, and the first position of it."""
    segments = path.split(b"/")
    place, first = 1, None
    while place < min(3, len(segments)):
        if _is_key(unquote_to_bytes(segments[place]), key):
            del segments[place]
            first = place - 1 if first is None else first
        else:
            place += 1
    return b"/".join(segments) or b"/" if first is not None else path, first
