"""Requests in HTTP/2 as the requests that the rest of buffr knows (RFC 9113 8).

What comes out has passed every check that a head in HTTP/1.1 passes, so it can
be written as one: an engine's checks are its library's, and stop short of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from buffr.errors import BadRequest
from buffr.message import CHUNKED, OF_A_CONNECTION, Headers, Request
from buffr.wire.http1_body import NOT_IN_TRAILERS
from buffr.wire.http1_head import (
    HeadLimits,
    check_expectation,
    check_host,
    content_length,
    percent_encoded,
    too_large,
    too_many_fields,
)
from buffr.wire.http2.interface import NeverIndexed

__all__ = ["PREFACE_START", "checked", "request_of", "trailers_of"]

PREFACE_START = b"PRI * HTTP/2.0\r\n"
"""How a client's connection in HTTP/2 begins (RFC 9113 3.4); in HTTP/1.1 it is no request."""

_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_PATH = re.compile(rb"/[\x21\x22\x24-\x7e\x80-\xff]*")
_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_HAVE_BODIES = frozenset((b"POST", b"PUT", b"PATCH"))
"""Methods for which some servers refuse a request without a length (RFC 9110 8.6)."""
_FIELD_BYTES = 4
"""What a field's colon, space and line end take in HTTP/1.1."""


def request_of(
    fields: Headers, *, ended: bool, limits: HeadLimits, new_key: Callable[[], bytes]
) -> Request:
    """The request in these fields; ``ended`` says that it has no body.

    ``Host`` stands where ``:authority`` stood, and the crumbs of ``cookie`` are
    joined (8.2.3). A body without a length is ``CHUNKED``, with the field that
    says so. An extended CONNECT for a WebSocket becomes the handshake of
    HTTP/1.1, with a key from ``new_key`` (RFC 8441 5). Raises ``BadRequest``
    with 400, 417, 431 or 501.
    """
    pseudo, rest = _split(fields, limits)
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise BadRequest("malformed :method")
    protocol = pseudo.get(b":protocol")
    tunnel = method == b"CONNECT" and protocol is None
    target, scheme = (b"", b"") if tunnel else _target(pseudo, method)
    headers, host = _with_host(checked(rest), pseudo.get(b":authority"))
    if tunnel:
        if b":scheme" in pseudo or b":path" in pseudo or b":authority" not in pseudo:
            raise BadRequest("CONNECT has :authority, and neither :scheme nor :path")
        check_host(headers, 1, host)
        return Request(method, host, headers, major=2)
    check_host(headers, 1, None)
    if protocol is not None:
        return _handshake(method, protocol, target, scheme, headers, new_key)
    length = content_length(headers)
    if ended:
        if length:
            raise BadRequest("a Content-Length, and no body")
        if length is None and method in _HAVE_BODIES:
            headers += ((b"content-length", b"0"),)
        length = 0
    elif length is None:
        headers += ((b"transfer-encoding", b"chunked"),)
        length = CHUNKED
    return Request(
        method,
        target,
        headers,
        major=2,
        scheme=scheme,
        body_length=length,
        expects_continue=check_expectation(headers, 1),
    )


def trailers_of(fields: Headers) -> Headers:
    """The trailers in these fields, without those that mean something elsewhere.

    Raises ``BadRequest`` for malformed ones.
    """
    return tuple([field for field in checked(fields) if field[0] not in NOT_IN_TRAILERS])


def _split(fields: Headers, limits: HeadLimits) -> tuple[dict[bytes, bytes], Headers]:
    """The pseudo-header fields, and the others after them (8.3)."""
    if len(fields) > limits.count:
        raise too_many_fields(limits)
    if sum([len(name) + len(value) + _FIELD_BYTES for name, value in fields]) > limits.size_bytes:
        raise too_large(limits)
    pseudo: dict[bytes, bytes] = {}
    for at, (name, value) in enumerate(fields):
        if not name.startswith(b":"):
            return pseudo, fields[at:]
        if name in pseudo or name not in _PSEUDO:
            raise BadRequest("a pseudo-header field that is repeated or unknown")
        pseudo[name] = value
    return pseudo, ()


def checked(fields: Headers) -> Headers:
    """The fields, each valid in HTTP/1.1 too, and the crumbs of a cookie joined.

    Raises ``BadRequest`` that names what is wrong.
    """
    crumbs = []
    for name, value in fields:
        if not _NAME.fullmatch(name):
            raise BadRequest("a malformed field name")
        if not _VALUE.fullmatch(value):
            raise BadRequest("a field value with control characters, or white space around it")
        if name in OF_A_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise BadRequest(f"the field {name.decode('ascii')} in HTTP/2")
        if name == b"cookie":
            crumbs.append(value)
    if len(crumbs) < 2:
        return fields
    joined: list[tuple[bytes, bytes]] = []
    for field in fields:
        if field[0] != b"cookie":
            joined.append(field)
        elif crumbs:
            value, crumbs = b"; ".join(crumbs), []
            secret = type(field) is NeverIndexed
            joined.append(NeverIndexed(b"cookie", value) if secret else (b"cookie", value))
    return tuple(joined)


def _target(pseudo: dict[bytes, bytes], method: bytes) -> tuple[bytes, bytes]:
    """The path and the scheme. Bytes beyond ASCII are percent-encoded, as in HTTP/1.1."""
    path, scheme = pseudo.get(b":path", b""), pseudo.get(b":scheme", b"").lower()
    if scheme not in (b"http", b"https"):
        raise BadRequest("a :scheme other than http and https")
    if path == b"*" and method == b"OPTIONS":
        return path, scheme
    if not _PATH.fullmatch(path):
        if b"#" in path:
            raise BadRequest("a :path with a fragment (#)", hint="write # as %23")
        raise BadRequest(
            "a :path that does not begin with /, or has white space or a control character",
            hint="percent-encode it: a space is %20",
        )
    return (path if path.isascii() else percent_encoded(path)), scheme


def _with_host(headers: Headers, authority: bytes | None) -> tuple[Headers, bytes]:
    """The fields with one ``host``, and its value (8.3.1)."""
    hosts = [value for name, value in headers if name == b"host"]
    if authority is None:
        return headers, hosts[0] if hosts else b""
    if any(host.lower() != authority.lower() for host in hosts):
        raise BadRequest("a Host other than :authority")
    others = [field for field in headers if field[0] != b"host"] if hosts else headers
    return ((b"host", authority), *others), authority


def _handshake(
    method: bytes,
    protocol: bytes,
    target: bytes,
    scheme: bytes,
    headers: Headers,
    new_key: Callable[[], bytes],
) -> Request:
    if method != b"CONNECT" or target == b"*":
        raise BadRequest("a :protocol without CONNECT")
    if protocol.lower() != b"websocket":
        raise BadRequest(
            "an extended CONNECT for a protocol other than websocket",
            status=501,
            reason=b"Not Implemented",
        )
    if content_length(headers):
        raise BadRequest("a WebSocket handshake with a body")
    kept = [field for field in headers if field[0] != b"sec-websocket-key"]
    switching = (
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-key", new_key()),
    )
    return Request(
        b"GET", target, (*kept, *switching), major=2, scheme=scheme, upgrade=b"websocket"
    )
