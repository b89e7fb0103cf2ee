"""The gateway: one port, and a route for each first path segment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import Protocol

from attrs import evolve, frozen

from buffr.errors import BadRequest, NoSuchRoute
from buffr.exchanges.engine import Engine
from buffr.exchanges.route import Route
from buffr.listeners.client import ClientSink
from buffr.listeners.gateway_addresses import Outside, WayBack, inner_target, is_below, leads_out
from buffr.listeners.hit_memo import key_guard
from buffr.listeners.request_target import named_origin, scoped
from buffr.listeners.rewriting import RewritingSink, inner_url, way_back_of
from buffr.message import Headers, Request, first_value
from buffr.origin import Origin
from buffr.policy.key_gate import Admitted, KeyGate
from buffr.redaction.for_log import target_for_log
from buffr.redaction.pseudonym import STAND_IN
from buffr.redaction.rules import RedactionRules
from buffr.transport.memo import Memo
from buffr.transport.streams import BodyStream
from buffr.wire.references import with_references

__all__ = ["Gateway", "GatewayRoute", "OwnPages"]

_SLASH = 0x2F
_LONGEST_NAME = 64
_LONGEST_PATH = 200
_MAY_BE_A_KEY = re.compile(rb"(?<=/)(?=[^/]*[0-9])[^/]{20,}")


@frozen(eq=False)
class GatewayRoute:
    """A route, and how its clients see it."""

    outside: Outside
    route: Route


@frozen(eq=False)
class _Inside:
    """A request as its route gets it. Requests with equal heads share one."""

    request: Request
    scope: str
    found: GatewayRoute | None
    way_back: WayBack | None


class OwnPages(Protocol):
    """The gateway's own pages, below a name that is not a route's."""

    name: bytes

    async def answer(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer a request, whose target still has the name. Raises ``BuffrError``."""


class Gateway:
    """Answers ``/NAME/path?query`` with the route of that name.

    The host of an absolute URL selects the route whose name or target's host
    it is. Access is checked first: without the key nobody learns the names.
    """

    def __init__(
        self,
        engine: Engine,
        gate: KeyGate,
        routes: Mapping[bytes, GatewayRoute],
        own_pages: OwnPages | None = None,
    ) -> None:
        self._engine = engine
        self._gate = gate
        self._routes = routes
        self._outsides = tuple(route.outside for route in routes.values())
        self._own_pages = own_pages
        self._known: Memo[Admitted, _Inside] = Memo(entries=4096, size_bytes=8 << 20)

    async def handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer a request. Raises ``BuffrError``."""
        origin = None
        if request.target[0] != _SLASH:
            origin, request = named_origin(request)
        if sink.memorable:
            sink.guard = key_guard(self._gate, request)
        admitted = self._gate.admit(request, sink.client_address)
        inside = self._known.get(admitted)
        if inside is None:
            inside = self._inside(admitted, origin)
            self._known.put(admitted, inside, admitted.request.head_bytes)
        if inside.found is None:
            await self._own_answer(inside.request, body, sink)
            return
        assert inside.way_back is not None
        seen = RewritingSink(sink, inside.way_back)
        await self._engine.handle(inside.found.route, inside.request, body, seen, inside.scope)

    async def _own_answer(
        self, request: Request, body: bytes | BodyStream, sink: ClientSink
    ) -> None:
        pages = self._own_pages
        if pages is None or _split(request.target)[0] != pages.name:
            raise self._no_such_route(request)
        await pages.answer(request, body, sink)

    def _no_such_route(self, request: Request) -> NoSuchRoute:
        """An error that names the path, and the route that may have been meant."""
        name = _split(request.target)[0][:_LONGEST_NAME].decode("ascii", "replace")
        known = [route.decode("ascii") for route in self._routes]
        near = get_close_matches(name, known, 1)
        meant = f"did you mean /{near[0]}? " if near else ""
        return NoSuchRoute(
            f"{_path_for_log(request.path)}: the first segment names no route of this gateway",
            hint=f"{meant}Ask for /NAME/PATH, with a NAME of its settings",
        )

    def _inside(self, admitted: Admitted, origin: Origin | None) -> _Inside:
        request, scope = scoped(admitted.request)
        target = request.target
        by_host = None if origin is None else self._by_host(origin, target)
        if origin is None or by_host is None:
            name, rest = _split(target)
            at = base = b""
        else:
            name, base = by_host
            rest, at = target[len(base) :], origin.root
        found = self._routes.get(name)
        if found is None:
            if origin is not None:
                # The host of an absolute URL counts, whatever Host says (RFC 9112 3.2.2).
                request = evolve(request, headers=_with_host(request.headers, origin.authority))
            return _Inside(request, scope, None, None)
        outside = found.outside
        if leads_out(outside, rest):
            raise BadRequest("the path leads above the target of its route")
        host = first_value(request.headers, b"host") or b""
        prefix = base if at else b"/" + name
        headers = with_references(request.headers, partial(inner_url, outside, prefix, host))
        inner = evolve(request, target=inner_target(outside, rest), headers=headers)
        way_back = way_back_of(outside, self._outsides, rest, admitted, self._gate.access.key)
        if at:
            way_back = evolve(way_back, routes=(), at=at, base=base)
        return _Inside(inner, scope, found, way_back)

    def _by_host(self, origin: Origin, target: bytes) -> tuple[bytes, bytes] | None:
        """The name of the route that an absolute URL's host selects, and the path to it.

        That is the route named like the host, otherwise one whose target has
        the host; among several, the one with the longest matching base path.
        """
        best: tuple[bytes, bytes] | None = None
        for one in self._outsides:
            if one.name.lower() == origin.authority:
                return one.name, b""
            base = one.target.base_path_bytes
            fits = _is_host_of(one.target, origin) and is_below(target, base)
            if fits and (best is None or len(base) > len(best[1])):
                best = one.name, base
        return best


def _is_host_of(target: Origin, origin: Origin) -> bool:
    """Whether clients mean the target. They may write http:// for https://, as buffr adds TLS."""
    same_port = target.port == origin.port or {target.port, origin.port} == {80, 443}
    return target.host == origin.host and same_port


def _with_host(headers: Headers, host: bytes) -> Headers:
    return ((b"Host", host), *(field for field in headers if field[0].lower() != b"host"))


def _path_for_log(path: bytes) -> str:
    """A path without what may be a key: clients may send one that is not needed."""
    named = target_for_log(path, RedactionRules())
    shown = _MAY_BE_A_KEY.sub(STAND_IN, named).decode("ascii", "replace")
    return shown if len(shown) <= _LONGEST_PATH else f"{shown[:_LONGEST_PATH]}..."


def _split(target: bytes) -> tuple[bytes, bytes]:
    """The first segment, and everything after it, including its slash or question mark."""
    for end in range(1, len(target)):
        if target[end] in b"/?":
            return target[1:end], target[end:]
    return target[1:], b""
