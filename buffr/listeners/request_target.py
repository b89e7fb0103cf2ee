"""The four forms of a request-target (RFC 9112 3.2), and the fields meant for buffr itself."""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import evolve

from buffr.errors import BadRequest
from buffr.message import Request, first_value
from buffr.origin import Origin
from buffr.policy.access import SCOPE_IS, is_scope

__all__ = ["absolute_form", "authority_form", "named_origin", "origin_form", "scoped"]

_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+):[0-9]{1,5}")
_LAST_DOT = re.compile(rb"(?<=[A-Za-z0-9_-])\.(?=(?::[0-9]*)?\Z)")
_WEBSOCKET_URL = re.compile(rb"wss?://", re.IGNORECASE)
_ASTERISK_METHODS = (b"OPTIONS", b"M-SEARCH")
_SLASH = 0x2F


def origin_form(request: Request) -> Request:
    """The request with its target in origin-form, or ``*``.

    Raises ``BadRequest`` for a target that names no resource of one origin.
    """
    if request.target[0] == _SLASH:
        return request
    if request.method == b"CONNECT":
        raise BadRequest(
            "CONNECT on a port without tunnels", hint="send it to a forward proxy port"
        )
    if request.target == b"*" and request.method in _ASTERISK_METHODS:
        return request
    request = _with_http_scheme(request)
    matched = _ABSOLUTE.fullmatch(request.target)
    if matched is None or not matched[1].lower().startswith((b"http://", b"https://")):
        raise BadRequest("malformed request target")
    if len(matched[1]) <= len(b"https://"):
        raise BadRequest("a request target without a host")
    return evolve(request, target=_path(matched[2]))


def _with_http_scheme(request: Request) -> Request:
    """The request with http(s) in place of ws(s) in its target (RFC 6455 3)."""
    if request.upgrade and _WEBSOCKET_URL.match(request.target):
        return evolve(request, target=b"http" + request.target[2:])
    return request


def _path(rest: bytes) -> bytes:
    return rest if rest.startswith(b"/") else b"/" + rest


@lru_cache(maxsize=256)
def absolute_form(request: Request) -> tuple[Origin, Request]:
    """The origin that a proxied request names, and the request in origin-form.

    Equal requests get the same object, with its cached properties. Raises
    ``BadRequest``.
    """
    if request.scheme:
        # HTTP/2 has the parts of an absolute URL in fields of their own (RFC 9113 8.3.1).
        host = first_value(request.headers, b"host") or b""
        return _origin(request.scheme + b"://" + host), origin_form(request)
    request = _with_http_scheme(request)
    matched = _ABSOLUTE.fullmatch(request.target)
    if matched is None:
        raise BadRequest(
            "this port is a forward proxy: it takes CONNECT and absolute URLs",
            hint="set it as HTTP_PROXY and HTTPS_PROXY, not as a base URL",
        )
    return _origin(matched[1]), origin_form(request)


def named_origin(request: Request) -> tuple[Origin | None, Request]:
    """The origin if the target is an absolute URL, and the request in origin-form.

    A server accepts both forms (RFC 9112 3.2.2). Raises ``BadRequest``.
    """
    try:
        return absolute_form(request)
    except BadRequest:
        return None, origin_form(request)


def authority_form(request: Request) -> tuple[str, int]:
    """Host and port of a CONNECT request (RFC 9110 9.3.6). Raises ``BadRequest``."""
    if not _AUTHORITY.fullmatch(request.target):
        raise BadRequest(
            "malformed CONNECT target",
            hint="it is HOST:PORT, a name beyond ASCII as xn--..., an IPv6 address in brackets",
        )
    for name, value in request.headers:
        if _frames_a_body(name.lower(), value):
            raise BadRequest("CONNECT with a body")
    origin = _origin(b"https://" + request.target)
    return origin.host, origin.port


def _frames_a_body(name: bytes, value: bytes) -> bool:
    """Whether a field announces a body; some clients announce an empty one."""
    return name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")


@lru_cache(maxsize=1024)
def _origin(url: bytes) -> Origin:
    """The origin of a URL without a path, without the final dot of an absolute name."""
    try:
        return Origin.parse(_LAST_DOT.sub(b"", url).decode("ascii"))
    except ValueError as error:
        raise BadRequest(f"the request target {error}") from error


def scoped(request: Request, otherwise: str = "") -> tuple[Request, str]:
    """The request without ``X-Buffr-Scope`` and ``X-Buffr-Via``, and its scope.

    The scope is ``otherwise`` if the request names none. Raises ``BadRequest``
    for an invalid name, and for more than one.
    """
    if not request.is_for_buffr:
        return request, otherwise
    names = request.scopes
    if not names:
        return request.for_others, otherwise
    if len(names) > 1:
        raise BadRequest("X-Buffr-Scope is given more than once", hint="name one scope")
    if not is_scope(names[0]):
        raise BadRequest("X-Buffr-Scope is not a valid scope", hint=f"a scope has {SCOPE_IS}")
    return request.for_others, names[0].decode("ascii")
