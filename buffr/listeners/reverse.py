"""A reverse port: all its requests have the same route."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from buffr.exchanges.engine import Engine
from buffr.exchanges.route import Route
from buffr.listeners.client import ClientSink, Handler
from buffr.listeners.gateway_addresses import Outside
from buffr.listeners.hit_memo import key_guard
from buffr.listeners.request_target import origin_form, scoped
from buffr.listeners.rewriting import RewritingSink, way_back_of
from buffr.message import Request
from buffr.policy.key_gate import Admitted, KeyGate
from buffr.transport.streams import BodyStream

__all__ = ["reverse_handler"]

_SLASH = 0x2F


def reverse_handler(
    engine: Engine, route: Route, gate: KeyGate | None = None, outside: Outside | None = None
) -> Handler:
    """The handler of a reverse port. Without a ``gate``, every client is admitted.

    ``outside`` is given if addresses in answers are rewritten to the port's.
    """

    def handle(
        request: Request, body: bytes | BodyStream, sink: ClientSink
    ) -> Coroutine[Any, Any, None]:
        if request.target[0] != _SLASH:
            request = origin_form(request)
        admitted = None
        if gate is not None:
            if sink.memorable:
                sink.guard = key_guard(gate, request)
            admitted = gate.admit(request, sink.client_address)
            request = admitted.request
        scope = ""
        if request.is_for_buffr:
            request, scope = scoped(request)
        if outside is None:
            return engine.handle(route, request, body, sink, scope)
        key = None if gate is None else gate.access.key
        way = way_back_of(outside, (), request.target, admitted or Admitted(request), key)
        return engine.handle(route, request, body, RewritingSink(sink, way), scope)

    return handle
