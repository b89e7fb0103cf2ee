"""What a listener rewrites so that clients stay behind it: URLs in requests, heads of answers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from buffr.errors import BadRequest
from buffr.exchanges.hit import Hit
from buffr.exchanges.known_relay import KnownRelay
from buffr.listeners.client import ClientSink
from buffr.listeners.gateway_addresses import Outside, WayBack, inner_target, is_below, leads_out
from buffr.message import Headers, ResponseHead
from buffr.policy.key_gate import Admitted
from buffr.transport.duplex import Duplex
from buffr.wire.references import path_at

__all__ = ["RewritingSink", "inner_url", "way_back_of"]


def inner_url(outside: Outside, prefix: bytes, host: bytes, url: bytes) -> bytes:
    """A URL of the listener, with its path at the route's upstream.

    The client's paths to the route begin with ``prefix``. Raises
    ``BadRequest`` for a URL that is not below it.
    """
    at = path_at(url, host)
    if at is None:
        return url
    path = url[at:]
    if not is_below(path, prefix) or leads_out(outside, path[len(prefix) :]):
        raise BadRequest(
            "Destination or If names a URL that is not below the route of the request",
            hint="one upstream cannot copy or move to another",
        )
    return url[:at] + inner_target(outside, path[len(prefix) :])


def way_back_of(
    own: Outside,
    routes: Sequence[Outside],
    rest: bytes,
    admitted: Admitted,
    key: bytes | None,
) -> WayBack:
    """Redirects lead to paths with the key in the same place as in this request."""
    segment = b"" if key is None else b"/" + key
    return WayBack(
        own,
        routes,
        rest,
        before=segment if admitted.segment == 0 else b"",
        after=segment if admitted.segment == 1 else b"",
        query=b"key=" + key if key is not None and admitted.in_query else b"",
    )


class RewritingSink:
    """A client's sink that rewrites the upstream's addresses in heads to those of a listener."""

    def __init__(self, sink: ClientSink, way_back: WayBack) -> None:
        self.connection = sink.connection
        self._sink = sink
        self._way_back = way_back
        self.write = sink.write
        self.flush = sink.flush
        self.abort = sink.abort
        self.drain = sink.drain

    @property
    def half_closed(self) -> bool:
        return self._sink.half_closed

    @property
    def memorable(self) -> bool:
        return self._sink.memorable

    @property
    def volatile(self) -> Sequence[bytes]:
        return self._sink.volatile

    def remember(self, hit: Hit) -> None:
        self._sink.remember(hit)

    def remember_relay(self, relay: KnownRelay) -> None:
        relay.way_back = self._way_back.head
        relay.sink_for = partial(RewritingSink, way_back=self._way_back)
        self._sink.remember_relay(relay)

    def inform(self, head: ResponseHead) -> None:
        self._sink.inform(self._way_back.head(head))

    def answer(
        self, head: ResponseHead, body: bytes, sizes: Sequence[int], trailers: Headers
    ) -> None:
        self._sink.answer(self._way_back.head(head), body, sizes, trailers)

    def begin(self, head: ResponseHead) -> None:
        self._sink.begin(self._way_back.head(head))

    def end(self, trailers: Headers) -> None:
        self._sink.end(trailers)

    def switch(self, head: ResponseHead) -> Duplex:
        return self._sink.switch(self._way_back.head(head))
