"""The WebSocket handshake (RFC 6455 4), between a client, buffr and an upstream."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

from buffr.errors import BadRequest, BadUpstreamAnswer
from buffr.message import Headers, Request, ResponseHead, end_to_end, first_value, has_token

__all__ = [
    "accept_for",
    "asks_websocket",
    "check_answer",
    "check_request",
    "for_next_hop",
    "switching",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_VERSION = b"13"
_OF_THIS_SESSION = frozenset((b"sec-websocket-accept", b"sec-websocket-extensions"))
_OF_THIS_HOP = frozenset((b"connection", b"upgrade"))


def asks_websocket(request: Request) -> bool:
    """Whether the client asks to switch to the WebSocket protocol (RFC 6455 4.1)."""
    return (
        bool(request.upgrade)
        and request.method == b"GET"
        and has_token(request.headers, b"upgrade", b"websocket")
    )


def accept_for(key: bytes) -> bytes:
    """The ``Sec-WebSocket-Accept`` of a ``Sec-WebSocket-Key``."""
    return b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def check_request(request: Request) -> bytes:
    """Validate a client's handshake. Returns its key. Raises ``BadRequest`` with 400 or 426."""
    if request.body_length:
        raise BadRequest("a WebSocket handshake with a body")
    versions = _values(request.headers, b"sec-websocket-version")
    if versions != [_VERSION]:
        error = BadRequest(
            "a WebSocket handshake of another version",
            status=426,
            reason=b"Upgrade Required",
            hint="Sec-WebSocket-Version must be 13",
        )
        error.headers = (
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Version", _VERSION),
        )
        raise error
    keys = _values(request.headers, b"sec-websocket-key")
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise BadRequest(
            "a WebSocket handshake without one valid key",
            hint="Sec-WebSocket-Key must be 16 random bytes in base64",
        )
    return keys[0]


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


def for_next_hop(headers: Headers) -> Headers:
    """A handshake's fields for the next hop, with ``Upgrade: websocket`` for that hop."""
    seen: set[bytes] = set()
    kept = []
    for name, value in end_to_end(headers, keep=_OF_THIS_HOP):
        lower = name.lower()
        if lower in _OF_THIS_HOP:
            if lower in seen:
                continue
            seen.add(lower)
            wanted = b"Upgrade" if lower == b"connection" else b"websocket"
            value = value if value.lower() == wanted.lower() else wanted  # noqa: PLW2901
        kept.append((name, value))
    return tuple(kept)


def check_answer(head: ResponseHead, key: bytes) -> None:
    """Validate an upstream's 101 (RFC 6455 4.1). Raises ``BadUpstreamAnswer``."""
    if not has_token(head.headers, b"upgrade", b"websocket") or not has_token(
        head.headers, b"connection", b"upgrade"
    ):
        raise BadUpstreamAnswer("the upstream switched to a protocol other than WebSocket")
    if first_value(head.headers, b"sec-websocket-accept") != accept_for(key):
        raise BadUpstreamAnswer("the upstream's Sec-WebSocket-Accept does not match the key")


def switching(headers: Headers, key: bytes, extension: bytes | None) -> ResponseHead:
    """The 101 of a recording, as the answer to a live handshake.

    ``extension`` is the field value that accepts permessage-deflate.
    """
    fields = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", accept_for(key)),
    ]
    if extension is not None:
        fields.append((b"Sec-WebSocket-Extensions", extension))
    fields += [field for field in end_to_end(headers) if field[0].lower() not in _OF_THIS_SESSION]
    return ResponseHead(101, b"Switching Protocols", tuple(fields))
