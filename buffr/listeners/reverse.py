"""A reverse port: every request on it has one route."""

from __future__ import annotations

import re
from collections.abc import Coroutine
from typing import Any

from attrs import evolve

from buffr.engine import Engine
from buffr.errors import BadRequest, NotServed
from buffr.listeners.listener import Handler
from buffr.listeners.sink import ClientSink
from buffr.message import Request
from buffr.route import Route
from buffr.streams import BodyStream

__all__ = ["reverse_handler"]

_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://[^/?#]+")
_ASTERISK_METHODS = (b"OPTIONS", b"M-SEARCH")


def reverse_handler(engine: Engine, route: Route) -> Handler:
    """Answers each request of a listener by the one route."""

    def handle(
        request: Request, body: bytes | BodyStream, sink: ClientSink
    ) -> Coroutine[Any, Any, None]:
        if request.target[0] != 0x2F or request.upgrade:
            request = _origin_form(request)
        return engine.handle(route, request, body, sink)

    return handle


def _origin_form(request: Request) -> Request:
    """The request with its target in origin-form or ``*`` (RFC 9112 3.2)."""
    if b"websocket" in request.upgrade:
        raise NotServed("WebSocket is not served yet")
    target = request.target
    if target.startswith(b"/"):
        return request
    if request.method == b"CONNECT":
        raise BadRequest("CONNECT on a reverse port", hint="a forward proxy port takes tunnels")
    if target == b"*" and request.method in _ASTERISK_METHODS:
        return request
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise BadRequest("malformed request target")
    rest = target[absolute.end() :]
    return evolve(request, target=rest if rest.startswith(b"/") else b"/" + rest)
