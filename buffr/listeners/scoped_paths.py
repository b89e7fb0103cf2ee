"""A forward proxy's port whose paths lead to upstreams too: for clients that take a base URL."""

from __future__ import annotations

from typing import Protocol

from attrs import evolve, frozen

from buffr.errors import NoSuchRoute
from buffr.listeners.client import ClientSink
from buffr.listeners.forward import ForwardProxy
from buffr.listeners.request_target import scoped
from buffr.message import Request
from buffr.origin import Origin
from buffr.transport.streams import BodyStream

__all__ = ["ScopedPaths"]

_HOST = b"127.0.0.1"


class Paths(Protocol):
    """Knows the first segments of paths, each of which stands for an upstream in a scope."""

    def led_to(self, segment: bytes) -> tuple[str, Origin] | None:
        """The scope and the upstream of a segment."""


@frozen(eq=False)
class ScopedPaths:
    """Takes the first segment off a path that leads to an upstream; else it is the proxy's."""

    proxy: ForwardProxy
    paths: Paths

    async def handle(self, request: Request, body: bytes | BodyStream, sink: ClientSink) -> None:
        """Answer a request. Raises ``BuffrError``."""
        target, listener = request.target, self.proxy.listener
        assert listener is not None
        # A client that uses the proxy for everything asks it for its own paths, too.
        target = target.removeprefix(b"http://%b:%d" % (_HOST, listener.address[1]))
        if target[:1] != b"/" or request.method == b"CONNECT":
            await self.proxy.handle(request, body, sink)
            return
        segment, slash, rest = target[1:].partition(b"/")
        segment, mark, query = segment.partition(b"?")
        found = self.paths.led_to(segment)
        if found is None:
            raise NoSuchRoute(
                "no test has opened this path", hint="ask buffr_url for the URL in the test"
            )
        scope, origin = found
        sink.memorable = False  # the path leads nowhere when its scope has ended
        request, scope = scoped(request, scope)
        path = slash + rest if slash else b"/" + mark + query
        request = evolve(request, target=origin.base_path_bytes + path)
        await self.proxy.answer(evolve(origin, base_path=""), request, body, sink, scope)
